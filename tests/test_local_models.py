"""A model anywhere on this machine is taken in by a link, or refused with the reason."""

import os
from pathlib import Path

import pytest

from engine_room.catalogue import Catalogue
from engine_room.errors import ApiError, CannotStore, InvalidRequest, ModelExists
from engine_room.installed import remove
from engine_room.local_models import linked, local_path
from engine_room.settings import Settings

GGUF = b"GGUF" + bytes(100)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    for name in ("m-Q4_0.gguf", *(f"s-0000{number}-of-00002.gguf" for number in (1, 2))):
        (folder / name).write_bytes(GGUF)
    return folder


def test_a_path_is_told_from_a_name(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("HOME", str(elsewhere))
    monkeypatch.setenv("USERPROFILE", str(elsewhere))
    path = elsewhere / "m-Q4_0.gguf"
    for name in (
        str(path),
        "./m-Q4_0.gguf",
        "~/m-Q4_0.gguf",
        "m-Q4_0.gguf",
        "../elsewhere/m-Q4_0.gguf",
    ):
        assert local_path(name) == path
    (elsewhere / "me" / "mine").mkdir(parents=True)
    for name in ("me/mine", "m-Q4_0", "me/mine:Q8_0", "https://huggingface.co/me/mine", "no.gguf"):
        assert local_path(name) is None
    with pytest.raises(InvalidRequest, match=r"no file or folder .*no\.gguf"):
        local_path("./no.gguf")


def test_a_file_is_linked_whole_and_its_removal_leaves_it_where_it_is(
    elsewhere: Path, tmp_path: Path
) -> None:
    models = tmp_path / "models"
    catalogue = Catalogue(Settings(_env_file=None, models_dir=models))
    for name in ("m-Q4_0", "s-00001-of-00002"):
        for _ in range(2):  # the second time it is there
            assert linked(elsewhere / f"{name}.gguf", models) == name
        assert catalogue.chat(name).path == models / f"{name}.gguf"
    assert sorted(os.listdir(models)) == sorted(os.listdir(elsewhere))
    for name in ("m-Q4_0", "s-00001-of-00002"):
        remove(name, catalogue, models)
    assert (os.listdir(models), len(os.listdir(elsewhere))) == ([], 3)


def test_a_file_of_the_hubs_cache_is_linked_under_its_own_name(
    elsewhere: Path, tmp_path: Path
) -> None:
    snapshot = tmp_path / "cached-Q4_0.gguf"
    snapshot.symlink_to((elsewhere / "m-Q4_0.gguf").rename(elsewhere / "3e0039fd"))
    path = local_path(str(snapshot))
    assert path
    assert linked(path, tmp_path / "models") == "cached-Q4_0"
    assert (tmp_path / "models" / "cached-Q4_0.gguf").read_bytes() == GGUF


def test_a_file_of_models_itself_needs_no_link(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(GGUF)
    assert linked(tmp_path / "m.gguf", tmp_path) == "m"
    assert not (tmp_path / "m.gguf").is_symlink()


def test_folders_are_linked_when_they_hold_a_model(elsewhere: Path, tmp_path: Path) -> None:
    whisper, xtts = elsewhere / "faster-whisper-tiny", elsewhere / "my-xtts"
    for folder, names in (
        (whisper, ("model.bin", "config.json", "vocabulary.txt")),
        (xtts, ("config.json",)),
    ):
        folder.mkdir()
        for name in names:
            (folder / name).write_text('{"model": "xtts"}')
        assert linked(folder, tmp_path / "models") == folder.name
    catalogue = Catalogue(Settings(_env_file=None, models_dir=tmp_path / "models"))
    assert catalogue.whisper.find("tiny").id == "faster-whisper-tiny"
    assert "my-xtts" in [model.id for model in catalogue.everything()]


def test_what_is_no_model_or_would_take_anothers_place_is_refused(
    elsewhere: Path, tmp_path: Path
) -> None:
    (elsewhere / "text.gguf").write_text("hello")
    (elsewhere / "m.bin").write_bytes(GGUF)
    (tmp_path / "m-Q4_0.gguf").write_bytes(GGUF)
    kinds: dict[str, tuple[type[ApiError], str]] = {
        "text.gguf": (InvalidRequest, "is no GGUF file"),
        "m.bin": (InvalidRequest, "is no GGUF file"),
        "s-00002-of-00002.gguf": (InvalidRequest, "is a later part of a model"),
        "": (InvalidRequest, "is no folder of a model"),
        "m-Q4_0.gguf": (ModelExists, r"something else named m-Q4_0\.gguf"),
    }
    for name, (kind, said) in kinds.items():
        with pytest.raises(kind, match=said):
            linked(elsewhere / name, tmp_path)
    (elsewhere / "models").write_text("a file")
    with pytest.raises(CannotStore, match=r"could not be linked .* Move or copy it there"):
        linked(elsewhere / "m-Q4_0.gguf", elsewhere / "models")
