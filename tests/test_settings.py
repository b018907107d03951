"""Settings come from flags, the environment, `.env` and defaults, in that order."""

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from engine_room.settings import PROJECT_DIR, Settings


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.lower() in Settings.model_fields:
            monkeypatch.delenv(name)


def env_file(folder: Path, text: str) -> Path:
    path = folder / ".env"
    path.write_text(text)
    return path


def test_without_any_setting_the_server_is_the_one_of_the_guide() -> None:
    settings = Settings(_env_file=None)
    assert settings.port == 8001
    assert settings.host == "0.0.0.0"
    assert settings.openai_api_keys == ()
    assert settings.max_upload_bytes == 25_000_000
    assert (settings.audio_keep_files, settings.audio_keep_mb) == (500, 500)
    assert settings.stop_timeout_s == 10
    assert settings.models_dir == PROJECT_DIR / "models"


def test_a_flag_wins_over_the_environment_and_that_over_the_env_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = env_file(tmp_path, "PORT=1\nMAX_QUEUED=1\nAUDIO_KEEP_MB=1\n")
    monkeypatch.setenv("PORT", "2")
    monkeypatch.setenv("MAX_QUEUED", "2")
    settings = Settings(_env_file=file, _cli_parse_args=["--port", "3"])
    assert (settings.port, settings.max_queued, settings.audio_keep_mb) == (3, 2, 1)


def test_flags_are_the_names_with_dashes_and_switches_can_be_negated() -> None:
    flags = ["--no-open-audio-lists", "--audio-keep-files=7", "--chat-model", "abc"]
    settings = Settings(_env_file=None, _cli_parse_args=flags)
    assert not settings.open_audio_lists
    assert settings.audio_keep_files == 7
    assert settings.chat_model == "abc"


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("", ()),
        (" , ,", ()),
        ("one", ("one",)),
        ("one, two ,", ("one", "two")),
        ('["one"]', ('["one"]',)),
    ],
)
def test_keys_are_separated_by_commas(
    text: str, keys: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEYS", text)
    assert Settings(_env_file=None).openai_api_keys == keys


def test_keys_are_read_from_the_env_file_and_from_a_flag_too(tmp_path: Path) -> None:
    file = env_file(tmp_path, "OPENAI_API_KEYS=one,two\n")
    assert Settings(_env_file=file).openai_api_keys == ("one", "two")
    flags = ["--openai-api-keys", "three,four"]
    settings = Settings(_env_file=file, _cli_parse_args=flags)
    assert settings.openai_api_keys == ("three", "four")


def test_a_relative_folder_is_meant_from_the_project_wherever_the_server_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = Settings(_env_file=None, models_dir=Path("m"), audio_dir=tmp_path / "a")
    assert settings.models_dir == PROJECT_DIR / "m"
    assert settings.audio_dir == tmp_path / "a"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", "70000"),
        ("port", "many"),
        ("max_queued", "0"),
        ("audio_keep_files", "-1"),
        ("chat_context_tokens", "63"),
        ("chat_context_tokens", "-1"),
        ("chat_gpu_layers", "-2"),
        ("chat_kv_type", "q5_0"),
        ("chat_flash_attention", "yes"),
        ("chat_rope_scaling", "ntk"),
        ("chat_rope_freq_base", "nan"),
        ("chat_rope_freq_scale", "2"),
        ("stop_timeout_s", "-1"),
        ("xtts_device", "cuda:x"),
        ("xtts_device", "gpu"),
        ("xtts_dtype", "half"),
    ],
)
def test_a_setting_out_of_range_is_refused_by_name(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name.upper(), value)
    with pytest.raises(ValidationError) as caught:
        Settings(_env_file=None)
    assert caught.value.errors()[0]["loc"] == (name,)


@pytest.mark.parametrize(
    ("flags", "name", "said"),
    [
        (
            ["--chat-kv-type=q4_0", "--chat-flash-attention=off"],
            "chat_kv_type",
            "q4_0 needs CHAT_FLASH_ATTENTION=auto or on",
        ),
        (
            ["--chat-rope-scaling=none", "--chat-rope-freq-scale=0.5"],
            "chat_rope_freq_scale",
            "a scale does nothing with CHAT_ROPE_SCALING=none",
        ),
    ],
)
def test_settings_that_exclude_each_other_are_refused_by_name(
    flags: list[str], name: str, said: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        Settings(_env_file=None, _cli_parse_args=flags)
    assert caught.value.errors()[0]["loc"] == (name,)
    assert said in caught.value.errors()[0]["msg"]


def test_the_env_file_may_hold_lines_for_other_programs(tmp_path: Path) -> None:
    assert Settings(_env_file=env_file(tmp_path, "HF_TOKEN=x\nPORT=9\n")).port == 9


def test_settings_never_change_once_read() -> None:
    settings = Settings(_env_file=None)
    with pytest.raises(ValidationError):
        settings.port = 1  # type: ignore[misc]


def test_every_setting_says_what_it_is_and_has_a_default() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert not field.is_required(), name
