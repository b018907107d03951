"""What is set for a model is found by its name, read anew when it changes, and never half of it."""

import logging
import os
from pathlib import Path
from typing import Any

import pytest

from engine_room.errors import Unavailable
from engine_room.model_settings import Defaults, Loading, ModelSettings, Settled
from engine_room.settings import Settings

IDS = ["Qwen-7B-Q4_K_M", "Qwen-7B-Q8_0", "small"]


def of(folder: Path, text: str, **changes: Any) -> ModelSettings:
    (folder / "settings.toml").write_text(text, "utf-8")
    return ModelSettings(Settings(_env_file=None, models_dir=folder, **changes))


def settled(found: ModelSettings, *others: str) -> Settled:
    return found.settled(IDS, lambda: others)


def test_without_a_file_nothing_is_set(tmp_path: Path) -> None:
    found = settled(ModelSettings(Settings(_env_file=None, models_dir=tmp_path)))
    assert found.problems == ()
    assert {chosen.loading for chosen in found.by_id.values()} == {Loading()}
    assert found.by_id["small"].defaults == Defaults()


@pytest.mark.parametrize(
    ("name", "ids"),
    [
        ("small", ["small"]),
        ("SMALL.gguf", ["small"]),
        ("qwen-7b-q8_0", ["Qwen-7B-Q8_0"]),
        ("qwen-7b", ["Qwen-7B-Q4_K_M", "Qwen-7B-Q8_0"]),
        ("qwen", []),
        ("*", IDS),
    ],
)
def test_a_table_is_for_the_model_of_its_name_or_for_all_that_quantise_it(
    tmp_path: Path, name: str, ids: list[str]
) -> None:
    found = settled(of(tmp_path, f'["{name}"]\ngpu_layers = 3\n'))
    assert [id_ for id_ in IDS if found.by_id[id_].loading.gpu_layers == 3] == ids


def test_what_is_set_for_one_model_wins_over_what_is_set_for_all(tmp_path: Path) -> None:
    found = settled(
        of(
            tmp_path,
            '["*"]\ngpu_layers = 3\ncontext_tokens = 100\nsystem_prompt = "All."\n'
            "sampling = { temperature = 0.1, top_k = 7 }\n"
            '["small"]\ngpu_layers = 0\nsystem_prompt = ""\nsampling = { temperature = 0.9 }\n',
        )
    ).by_id
    assert found["small"].loading == Loading(gpu_layers=0, context_tokens=100)
    assert found["small"].defaults == Defaults("", {"temperature": 0.9, "top_k": 7})
    assert found["Qwen-7B-Q8_0"].defaults == Defaults("All.", {"temperature": 0.1, "top_k": 7})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            '["qwen-7b"]\n["Qwen-7B-Q8_0"]\n',
            'line 2, ["Qwen-7B-Q8_0"]: ["qwen-7b"] is for Qwen-7B-Q8_0 too; make them one table.',
        ),
        ('["small"]\n["SMALL"]\n', 'line 2, ["SMALL"]: ["small"] is for small too;'),
        (
            '["qwen-7b"]\naliases = ["q"]\n',
            'line 2, ["qwen-7b"] aliases: they would be Qwen-7B-Q4_K_M and Qwen-7B-Q8_0;',
        ),
        (
            '["small"]\naliases = ["x"]\n["gone"]\naliases = ["y", "X"]\n',
            'line 4, ["gone"] aliases: \'X\' is an alias of ["small"] already.',
        ),
        (
            '["small"]\naliases = ["small"]\n',
            "line 2, [\"small\"] aliases: 'small' is a model's own name already; choose another.",
        ),
        ('["small"]\naliases = ["qwen-7b-q8_0.gguf"]\n', "is a model's own name already"),
        ('["small"]\naliases = ["Whisper-1"]\n', "'Whisper-1' is a model's own name already"),
        ('["small"]\ntypo = 1\n', 'line 2, ["small"] typo: no such key'),
    ],
)
def test_what_contradicts_itself_is_said_and_nothing_is_set(
    tmp_path: Path, text: str, said: str
) -> None:
    found = settled(of(tmp_path, f'{text}["*"]\ngpu_layers = 3\n'), "whisper-1")
    assert [problem for problem in found.problems if said in problem] == list(found.problems)
    assert found.by_id == {}
    with pytest.raises(Unavailable, match="Mend that") as caught:
        found.check()
    assert said in caught.value.reason


def test_of_very_much_that_is_wrong_the_beginning_is_said(tmp_path: Path) -> None:
    keys = "".join(f"key{number} = 1\n" for number in range(9))
    with pytest.raises(Unavailable, match=r"key4.*And 4 more") as caught:
        settled(of(tmp_path, f'["small"]\n{keys}')).check()
    assert "key5" not in caught.value.message


def test_the_file_is_read_anew_when_it_changes_comes_or_goes(tmp_path: Path) -> None:
    found = of(tmp_path, '["small"]\ngpu_layers = 1\n')
    path = tmp_path / "settings.toml"

    def layers() -> int | None:
        return settled(found).by_id["small"].loading.gpu_layers

    assert layers() == 1
    before = path.stat()
    path.write_text('["small"]\ngpu_layers = 2\n', "utf-8")  # as long
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert layers() == 2
    path.unlink()
    assert layers() is None
    path.write_text('["small"]\ngpu_layers = 3\n', "utf-8")
    assert layers() == 3


def test_a_template_is_read_anew_when_its_file_changes_or_comes(tmp_path: Path) -> None:
    found = of(tmp_path, '["small"]\ntemplate = "own.jinja"\n')
    assert "the file 'own.jinja'" in settled(found).problems[0]
    for source in ("{{ 1 }}", "{{ 2 }}"):
        (tmp_path / "own.jinja").write_text(source, "utf-8")
        assert settled(found).by_id["small"].loading.template == source


def test_a_file_that_did_not_change_is_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = of(tmp_path, '["small"]\ngpu_layers = 1\n')
    first = settled(found).by_id["small"]
    assert settled(found).by_id["small"] is first


def test_a_model_that_is_not_here_is_a_warning_and_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = of(tmp_path, '["gone"]\ngpu_layers = 1\n')
    for _ in range(3):
        assert settled(found).problems == ()
    assert [
        (record.levelno, record.message.split("settings.toml")[1]) for record in caplog.records
    ] == [
        (
            logging.WARNING,
            ', line 1, ["gone"]: no chat model of this name is here, so nothing follows it.',
        )
    ]
