"""Voices: the standard thirteen, and the clips in `voice_clones/` under names nobody can mistake."""

import json
import pickle
import zipfile
from pathlib import Path

import pytest

from engine_room.errors import VoiceNotFound
from engine_room.jobs import Status
from engine_room.settings import Settings
from engine_room.standard_voices import STANDARD_VOICES, StandardVoice
from engine_room.voices import ClonedVoice, Voices, shown
from engine_room.xtts.folder import SPEAKERS
from engine_room.xtts.studio import StudioVoice

THIRTEEN = "alloy ash ballad cedar coral echo fable marin nova onyx sage shimmer verse".split()


def voices(folder: Path, *clips: str) -> Voices:
    """The voices with these clips in the folder."""
    for name in clips:
        (folder / name).write_bytes(b"a clip")
    settings = Settings(_env_file=None, voice_clones_dir=folder, models_dir=folder / "models")
    return Voices(settings)


def cloned_ids(found: Voices) -> list[str]:
    return [voice.id for voice in found.cloned()]


def test_all_thirteen_names_are_voices_with_a_description_each(tmp_path: Path) -> None:
    listed = voices(tmp_path).listed()
    assert [voice.id for voice in listed] == THIRTEEN
    assert all(voice.type == "standard" for voice in listed)
    assert len({voice.description for voice in listed}) == 13


@pytest.mark.parametrize("name", ["alloy", "Alloy", " ALLOY "])
def test_a_standard_voice_answers_in_any_case(tmp_path: Path, name: str) -> None:
    assert voices(tmp_path).get(name) is STANDARD_VOICES["alloy"]


def test_a_clip_is_a_voice_at_once_under_its_file_name(tmp_path: Path) -> None:
    found = voices(tmp_path)
    with pytest.raises(VoiceNotFound):
        found.get("Grandma")
    voices(tmp_path, "Grandma.wav")
    assert found.get("Grandma") == ClonedVoice("Grandma", (tmp_path / "Grandma.wav",))
    assert found.get("Grandma.wav") == found.get("Grandma")
    assert [voice.id for voice in found.listed()][:2] == ["Grandma", "alloy"]


def test_clips_of_every_promised_format_are_voices_and_nothing_else_is(tmp_path: Path) -> None:
    found = voices(
        tmp_path,
        *("a.wav", "b.MP3", "c.flac", "d.m4a", "e.ogg"),
        *("README.md", "f.txt", "g.wav.part", ".hidden.wav", "wav"),
    )
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "dangling.wav").symlink_to(tmp_path / "gone")
    assert cloned_ids(found) == ["a", "b", "c", "d", "e"]
    assert len(found.listed()) == 18


def test_names_with_spaces_dots_and_foreign_letters_are_names_like_any_other(
    tmp_path: Path,
) -> None:
    found = voices(tmp_path, "My Voice v1.2.wav", "Jürgen 漢字.mp3")
    assert cloned_ids(found) == ["Jürgen 漢字", "My Voice v1.2"]
    assert isinstance(found.get("My Voice v1.2"), ClonedVoice)


@pytest.mark.parametrize(
    ("clips", "ids"),
    [
        (["bob.wav", "bob.mp3"], ["bob.mp3", "bob.wav"]),
        (["Bob.wav", "bob.mp3"], ["Bob.wav", "bob.mp3"]),
        (["alloy.wav", "Echo.mp3"], ["Echo.mp3", "alloy.wav"]),
        (["bob.mp3", "bob.wav", "bob.wav.ogg"], ["bob.mp3", "bob.wav", "bob.wav.ogg"]),
    ],
)
def test_clips_that_could_be_mistaken_keep_their_suffix(
    tmp_path: Path, clips: list[str], ids: list[str]
) -> None:
    found = voices(tmp_path, *clips)
    assert cloned_ids(found) == ids
    for id_ in ids:
        assert found.get(id_) == ClonedVoice(id_, (tmp_path / id_,))


def test_a_clip_never_takes_a_standard_voices_name(tmp_path: Path) -> None:
    assert isinstance(voices(tmp_path, "alloy.wav").get("alloy"), StandardVoice)


@pytest.mark.parametrize("name", ["bob", "", "../secret", "/etc/passwd", "bob.flac", "a\0b"])
def test_an_unknown_voice_is_not_found_and_the_message_names_those_there_are(
    tmp_path: Path, name: str
) -> None:
    with pytest.raises(VoiceNotFound) as caught:
        voices(tmp_path, "Grandma.wav").get(name)
    assert repr(name) in caught.value.message
    assert "alloy, ash, ballad" in caught.value.message
    assert caught.value.message.endswith("verse, Grandma.")


def test_without_the_folder_there_are_the_standard_voices(tmp_path: Path) -> None:
    assert len(voices(tmp_path / "none").listed()) == 13


def test_a_listed_voice_fits_every_client(tmp_path: Path) -> None:
    (tmp_path / "Grandma.wav").touch()
    cloned, alloy = voices(tmp_path).listed()[:2]
    assert cloned.model_dump(exclude={"created_at"}) == {
        "id": "Grandma",
        "object": "audio.voice",
        "name": "Grandma.wav",
        "type": "cloned",
        "description": "Cloned voice",
        "value": "Grandma",
        "label": "Grandma.wav",
    }
    assert alloy.model_dump(exclude={"created_at", "description"}) == {
        "id": "alloy",
        "object": "audio.voice",
        "name": "Alloy",
        "type": "standard",
        "value": "alloy",
        "label": "Alloy",
    }
    assert alloy.created_at > 1_000_000_000
    assert shown(STANDARD_VOICES["alloy"]) == alloy


def test_voice_cloning_says_what_is_missing_and_how_to_get_it(tmp_path: Path) -> None:
    status = voices(tmp_path).cloning_status()
    assert status.state == "unavailable"
    assert status.reason
    assert status.mend


def test_every_character_is_another(tmp_path: Path) -> None:
    assert len({voice.character for voice in STANDARD_VOICES.values()}) == 13


def test_of_many_unknown_voices_fifty_are_named(tmp_path: Path) -> None:
    found = voices(tmp_path, *(f"{number}.wav" for number in range(100)))
    with pytest.raises(VoiceNotFound, match=r"alloy, ash, .* and 63 more\."):
        found.get("bob")


def test_a_name_that_may_mean_two_voices_is_answered_with_both(tmp_path: Path) -> None:
    with pytest.raises(VoiceNotFound, match=r"there are: Bob\.wav, bob\.mp3\."):
        voices(tmp_path, "Bob.wav", "bob.mp3", "Ann.wav").get("BOB")


def test_a_voice_of_thousands_of_clips_is_looked_at_in_part(tmp_path: Path) -> None:
    (tmp_path / "Dad").mkdir()
    found = voices(tmp_path, *(f"Dad/{number}.wav" for number in range(60)))
    details = found.details("Dad", Status("ready"))
    assert len(details.clips) == 50
    assert "60 clips" in details.findings[-1].message
    assert not details.ready


def test_the_list_as_json_is_the_list_and_follows_the_folder(tmp_path: Path) -> None:
    found = voices(tmp_path)
    for name in ("", "Grandma.wav", "Größe.wav"):
        if name:
            voices(tmp_path, name)
        listed = [voice.model_dump() for voice in found.listed()]
        assert json.loads(found.listed_json()) == {
            "object": "list",
            "data": listed,
            "voices": listed,
        }
    assert found.listed_json() is found.listed_json()


def test_a_cloned_voice_with_a_studio_speakers_name_is_the_one_of_that_name(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "xtts_v2"
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / SPEAKERS, "w") as archive:
        archive.writestr("speakers/data.pkl", pickle.dumps({"Ann": 0, "Bob": 0}))
    found = voices(tmp_path, "Ann.wav", "bob.wav")
    assert [voice.id for voice in found.listed() if voice.type != "standard"] == [
        "Ann",
        "bob",
        "Bob",
    ]
    assert isinstance(found.get("Ann"), ClonedVoice)
    assert found.get("Bob") == StudioVoice("Bob")
    assert isinstance(found.get("bob"), ClonedVoice)


@pytest.mark.parametrize("name", ["BOB", "bób", "Bob.WAV", "ann"])
def test_a_name_that_is_only_like_a_voices_deletes_nothing(tmp_path: Path, name: str) -> None:
    found = voices(tmp_path, "Bob.wav")
    (tmp_path / "Ann.v2").mkdir()
    voices(tmp_path, "Ann.v2/1.wav")
    with pytest.raises(VoiceNotFound, match=name):
        found.delete(name)
    assert cloned_ids(found) == ["Ann.v2", "Bob"]


@pytest.mark.parametrize("name", ["Zoë", "Zoe\u0308", "Zoë.wav"])
def test_a_voice_is_deleted_by_its_id_or_its_files_name(tmp_path: Path, name: str) -> None:
    found = voices(tmp_path, "Zoë.wav")
    assert found.delete(name) == "Zoë"
    assert cloned_ids(found) == []
