"""Studio speakers are known before their model is loaded, and speak for OpenAI's names by a map."""

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest

from engine_room.errors import Unavailable
from engine_room.standard_voices import STANDARD_VOICES
from engine_room.xtts.folder import SPEAKERS, XttsFolder
from engine_room.xtts.studio import DEFAULT_MAP, MAP_FILE, speaker_names, studio_speaker


@pytest.mark.slow
def test_the_names_are_read_without_torch(
    xtts_folder: XttsFolder, studio_speakers: list[str]
) -> None:
    torch = pytest.importorskip("torch", reason="voice cloning is not installed")
    assert studio_speakers == list(torch.load(xtts_folder.path / SPEAKERS, weights_only=True))


class Harmful:
    def __reduce__(self) -> Any:
        return Path("harm").touch, ()


def test_a_broken_or_harmful_file_has_no_names_and_does_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert speaker_names(XttsFolder(tmp_path)) == []
    (tmp_path / SPEAKERS).write_bytes(b"no zip")
    assert speaker_names(XttsFolder(tmp_path)) == []
    with zipfile.ZipFile(tmp_path / SPEAKERS, "w") as archive:
        archive.writestr("speakers/data.pkl", pickle.dumps({"Ann": Harmful()}))
    assert speaker_names(XttsFolder(tmp_path)) == []
    assert not (tmp_path / "harm").exists()


def test_every_standard_voice_has_a_studio_speaker_that_a_user_may_change(tmp_path: Path) -> None:
    assert set(DEFAULT_MAP) == set(STANDARD_VOICES)
    assert studio_speaker("nova", tmp_path) == "Daisy Studious"
    (tmp_path / MAP_FILE).write_text("Nova\tClaribel Dervla\nbroken line\nalloy\t\n")
    assert studio_speaker("nova", tmp_path) == "Claribel Dervla"
    assert studio_speaker("alloy", tmp_path) == DEFAULT_MAP["alloy"]


def test_a_map_is_read_as_editors_write_it(tmp_path: Path) -> None:
    (tmp_path / MAP_FILE).write_bytes("\ufeffalloy\tAna Florence\r\n\r\nNova   Zoë X \r\n".encode())
    assert studio_speaker("alloy", tmp_path) == "Ana Florence"
    assert studio_speaker("nova", tmp_path) == "Zoë X"


def test_a_map_that_is_no_text_is_an_error_not_another_speaker(tmp_path: Path) -> None:
    (tmp_path / MAP_FILE).write_bytes("alloy\tZoë X\n".encode("utf-16"))
    with pytest.raises(Unavailable, match=r"studio_voices\.tsv, cannot be read.* Save it as UTF-8"):
        studio_speaker("alloy", tmp_path)


@pytest.mark.timeout(20)
def test_a_map_that_is_a_link_or_a_pipe_is_left_alone(tmp_path: Path) -> None:
    outside, folder = tmp_path / "map", tmp_path / "voices"
    folder.mkdir()
    outside.write_text("nova\tSecret\n")
    (folder / "studio_voices.tsv").symlink_to(outside)
    assert studio_speaker("nova", folder) == "Daisy Studious"
    (folder / "studio_voices.tsv").unlink()
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "studio_voices.tsv")
    assert studio_speaker("nova", folder) == "Daisy Studious"
