"""What the start of the server promises beyond its routes."""

import importlib.util
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from engine_room.llama_devices import free_gpu_bytes, multiplies_blocks
from engine_room.server import announce, listen, settings_of_command_line, suggest
from engine_room.settings import Settings
from tests.conftest import PROJECT_DIR


def test_small_writes_are_sent_at_once() -> None:
    with listen("127.0.0.1", 0) as listening:
        address = listening.getsockname()
        with socket.create_connection(address), listening.accept()[0] as accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.skipif(not importlib.util.find_spec("TTS"), reason="voice cloning is not installed")
def test_the_start_says_what_keeps_a_cloning_model_from_speaking(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def said(accepted: bool) -> str:
        caplog.clear()
        with listen("127.0.0.1", 0) as listening:
            settings = Settings(_env_file=None, models_dir=tmp_path, accept_xtts_license=accepted)
            announce(listening, settings)
        return caplog.text

    assert "Cloned voices" not in said(accepted=False)  # nobody wants them yet
    (tmp_path / "xtts_v2").mkdir()
    assert "has no config.json, model.pth, vocab.json" in said(accepted=True)
    for name in ("config.json", "model.pth", "vocab.json"):
        (tmp_path / "xtts_v2" / name).touch()
    assert "openai_api.py xtts-license" in said(accepted=False)
    assert "Cloned voices" not in said(accepted=True)


def test_a_language_that_no_voice_speaks_ends_the_program_at_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.argv", ["openai_api.py", "--xtts-language", "klingon"])
    with pytest.raises(SystemExit, match=r"xtts_language: language 'klingon' is none .* en \("):
        settings_of_command_line()
    monkeypatch.setattr("sys.argv", ["openai_api.py", "--xtts-language", "de-AT"])
    assert settings_of_command_line().xtts_language == "de-AT"


def test_the_start_names_a_better_chat_model_while_only_the_bundled_one_is_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")

    def said(**settings: str | bool) -> str:
        caplog.clear()
        suggest(Settings(_env_file=None, models_dir=tmp_path, **settings))  # type: ignore[arg-type]
        return caplog.text

    assert re.search(
        r"could run [\w.-]+ \(.* free.*\):\n.* openai_api.py models use [\w.-]+", said()
    )
    if multiplies_blocks() and not free_gpu_bytes():
        assert "openai_api.py models optimize smollm2-135m-instruct" in said()
    assert said(suggest_model=False) == said(chat_model="mine") == ""
    (tmp_path / "mine.gguf").write_bytes(b"GGUF")
    assert said() == ""


def test_a_running_server_says_so_in_its_log(tmp_path: Path) -> None:
    folders = [f"--{name}-dir={tmp_path}" for name in ("models", "audio", "voice-clones")]
    with subprocess.Popen(
        [sys.executable, "openai_api.py", "--port=0", "--chat-model=", *folders],
        cwd=PROJECT_DIR,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr
        assert any("openai_api.py models use" in line for line in process.stderr)  # waits for it
        process.terminate()
        process.stderr.read()
