"""What lies in models/ is listed with all its files, and removed with those and no others."""

import os
import time
from pathlib import Path

import pytest

from engine_room.catalogue import Catalogue
from engine_room.errors import AmbiguousModel, CannotStore, Forbidden, ModelNotFound
from engine_room.installed import (
    by_id,
    by_name,
    installed,
    remove,
    tidy_downloads,
    unfinished,
)
from engine_room.settings import Settings
from tests.permissions import read_only

SPLIT = [f"big-Q8_0-0000{number}-of-00003.gguf" for number in (1, 2, 3)]


def catalogue(folder: Path) -> Catalogue:
    return Catalogue(Settings(_env_file=None, models_dir=folder, chat_model=""))


def with_files(folder: Path, *names: str) -> Catalogue:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"12345")
    return catalogue(folder)


def whisper(name: str) -> list[str]:
    return [f"{name}/{file}" for file in ("model.bin", "config.json", "vocabulary.txt")]


def test_models_are_listed_by_kind_with_their_sizes(tmp_path: Path) -> None:
    models = with_files(
        tmp_path, *SPLIT, "small.gguf", *whisper("faster-whisper-tiny"), "xtts_v2/config.json"
    )
    found = {model.id: model for model in installed(models, tmp_path)}
    assert {id_: (model.kind, model.is_ours) for id_, model in found.items()} == {
        "big-Q8_0-00001-of-00003": ("chat", False),
        "small": ("chat", False),
        "smollm2-135m-instruct": ("chat", True),
        "faster-whisper-base": ("transcription", True),
        "faster-whisper-tiny": ("transcription", False),
        "xtts_v2": ("voice cloning", False),
    }
    assert [path.name for path in found["big-Q8_0-00001-of-00003"].paths] == SPLIT
    assert found["big-Q8_0-00001-of-00003"].size_bytes == 15
    assert found["faster-whisper-tiny"].size_bytes == 15


def test_a_model_is_found_by_its_id_and_by_the_name_of_which_it_is_the_only_quantisation(
    tmp_path: Path,
) -> None:
    models = installed(
        with_files(tmp_path, "m-Q4_K_M.gguf", "n-Q4_0.gguf", "n-Q8_0.gguf"), tmp_path
    )
    found = {name: by_name(name, models) for name in ("M", "m-q4_k_m.gguf", "n", "n-Q8_0", "o", "")}
    assert {name: model.id if model else None for name, model in found.items()} == {
        "M": "m-Q4_K_M",
        "m-q4_k_m.gguf": "m-Q4_K_M",
        "n": None,
        "n-Q8_0": "n-Q8_0",
        "o": None,
        "": None,
    }
    assert by_id("m", models) is None


def test_of_files_that_differ_in_case_only_the_one_that_is_named_is_removed(
    tmp_path: Path,
) -> None:
    models = with_files(tmp_path, "a.gguf", "A.gguf", "b.gguf", "b.GGUF")
    for name in ("a.GGUF", "b", "B"):
        with pytest.raises(AmbiguousModel, match=r"may be any of: [AbB]\.(gguf|GGUF), [ab]\.gguf"):
            remove(name, models, tmp_path)
    remove("a", models, tmp_path)
    remove("b.GGUF", models, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["A.gguf", "b.gguf"]


@pytest.mark.parametrize(
    ("id_", "files"),
    [
        ("big-Q8_0-00001-of-00003", SPLIT),
        ("small.gguf", ["small.gguf"]),
        ("faster-whisper-tiny", whisper("faster-whisper-tiny")),
    ],
)
def test_a_removed_model_takes_its_own_files_with_it(
    tmp_path: Path, id_: str, files: list[str]
) -> None:
    others = ["bug-Q8_0-00002-of-00003.gguf", "big-Q8_0-00002-of-00004.gguf", "smaller.gguf"]
    others.append("big-Q8_0-x-00002-of-00003.gguf")
    remove(id_, with_files(tmp_path, *files, *others), tmp_path)
    left = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert sorted(path.name for path in left) == sorted(others)
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == []


def test_a_projector_goes_with_the_last_model_that_sees_by_it(tmp_path: Path) -> None:
    models = with_files(tmp_path, "m-Q4_0.gguf", "m-Q8_0.gguf", "n.gguf", "mmproj-m-F16.gguf")
    found = {model.id: model for model in installed(models, tmp_path)}
    assert [path.name for path in found["m-Q4_0"].all_paths] == ["m-Q4_0.gguf", "mmproj-m-F16.gguf"]
    assert (found["m-Q4_0"].size_bytes, found["n"].size_bytes) == (10, 5)
    remove("m-Q4_0", models, tmp_path)
    remove("n", models, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m-Q8_0.gguf", "mmproj-m-F16.gguf"]
    remove("m-Q8_0", models, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_came_with_the_install_or_is_not_there_is_not_removed(tmp_path: Path) -> None:
    models = with_files(tmp_path, "m-Q4_K_M.gguf")
    for id_ in ("smollm2-135m-instruct", "faster-whisper-base"):
        with pytest.raises(Forbidden, match="came with the install"):
            remove(id_, models, tmp_path)
    for id_ in ("m", "../m-Q4_K_M", "", "gpt-4", "n"):
        with pytest.raises(ModelNotFound, match="there are: m-Q4_K_M"):
            remove(id_, models, tmp_path)
    assert (tmp_path / "m-Q4_K_M.gguf").is_file()


def test_of_a_linked_model_the_link_is_removed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    with_files(tmp_path / "elsewhere", "m.gguf", *whisper("w"))
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "m.gguf").symlink_to(tmp_path / "elsewhere" / "m.gguf")
    (tmp_path / "models" / "w").symlink_to(tmp_path / "elsewhere" / "w")
    for id_ in ("m", "w"):
        remove(id_, catalogue(tmp_path / "models"), tmp_path / "models")
    assert list((tmp_path / "models").iterdir()) == []
    assert len([path for path in (tmp_path / "elsewhere").rglob("*") if path.is_file()]) == 4


def test_a_folder_that_lets_nothing_go_is_said(tmp_path: Path) -> None:
    models = with_files(tmp_path, "m.gguf")
    with read_only(tmp_path), pytest.raises(CannotStore, match="could not be removed"):
        remove("m", models, tmp_path)
    assert (tmp_path / "m.gguf").is_file()


def test_what_a_download_left_is_listed(tmp_path: Path) -> None:
    assert unfinished(tmp_path) == []
    with_files(tmp_path, ".downloads/ab-m.gguf.part", ".downloads/ab-m.gguf.lock")
    assert [path.name for path in unfinished(tmp_path)] == ["ab-m.gguf.part"]


def test_what_nobody_has_gone_on_with_for_a_month_is_removed(tmp_path: Path) -> None:
    tidy_downloads(tmp_path / "nowhere")
    folder = tmp_path / ".downloads"
    (folder / "xtts_v2.whole").mkdir(parents=True)
    days_ago = {"old.part": 31, "xtts_v2.whole": 31, "old": 31, "young.part": 29, "old.lock": 99}
    for name, days in days_ago.items():
        if not (folder / name).exists():
            (folder / name).write_bytes(b"a part")
        then = time.time() - days * 86_400
        os.utime(folder / name, (then, then))
    tidy_downloads(tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == ["old.lock", "young.part"]
