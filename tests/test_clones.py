"""What lies in `voice_clones/` is a voice each, under an id nobody can mistake."""

import json
import logging
import os
import time
import unicodedata
from pathlib import Path

import pytest

from engine_room.clones import ClonedVoice, Clones

NFC, NFD = "José", unicodedata.normalize("NFD", "José")


def kept(folder: Path, *names: str) -> Clones:
    """The voices of a folder with these clips."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"a clip")
    return Clones(folder)


def ids(clones: Clones) -> list[str]:
    return [voice.id for voice in clones.all()]


def old(path: Path) -> None:
    """A folder that was last changed long ago, so that it may be remembered."""
    os.utime(path, (1_000_000_000, 1_000_000_000))


def test_a_file_and_a_folder_of_clips_are_a_voice_each(tmp_path: Path) -> None:
    clones = kept(tmp_path, "Mum.wav", "Dad/2.mp3", "Dad/10.mp3", "Dad/notes.txt", "Empty/x.txt")
    assert clones.all() == (
        ClonedVoice("Dad", (tmp_path / "Dad" / "2.mp3", tmp_path / "Dad" / "10.mp3")),
        ClonedVoice("Mum", (tmp_path / "Mum.wav",)),
    )


def test_a_voice_is_seen_changed_and_gone_without_a_restart(tmp_path: Path) -> None:
    clones = kept(tmp_path)
    assert ids(clones) == []
    kept(tmp_path, "Dad/1.wav")
    old(tmp_path / "Dad")
    assert len(clones.all()[0].paths) == 1
    kept(tmp_path, "Dad/2.wav")
    assert len(clones.all()[0].paths) == 2
    assert len(clones.all()[0].paths) == 2
    for path in (tmp_path / "Dad").iterdir():
        path.unlink()
    assert ids(clones) == []


def test_a_note_says_language_and_description_also_when_it_is_edited(tmp_path: Path) -> None:
    clones = kept(tmp_path, "Dad/1.wav")
    note = tmp_path / "Dad" / "voice.json"
    note.write_text(json.dumps({"language": "de", "description": "Papa", "created_at": 5}))
    old(note)
    old(tmp_path / "Dad")
    for _ in range(2):
        (dad,) = clones.all()
        assert (dad.language, dad.description, dad.created_at) == ("de", "Papa", 5)
    note.write_text(json.dumps({"language": "fr"}))
    assert clones.all()[0].language == "fr"


@pytest.mark.parametrize("number", ["1e400", "true", "-5", "9" * 400, '"5"', "1.5"])
def test_a_note_whose_time_is_none_has_the_folders(tmp_path: Path, number: str) -> None:
    clones = kept(tmp_path, "Dad/1.wav")
    (tmp_path / "Dad" / "voice.json").write_text(f'{{"created_at": {number}}}')
    old(tmp_path / "Dad")
    assert clones.all()[0].created_at == 1_000_000_000


@pytest.mark.parametrize("note", [b"", b"{", b"[]", b"\xff", b'{"language": 7}', b"[" * 90_000])
def test_a_broken_note_says_nothing_and_harms_nothing(tmp_path: Path, note: bytes) -> None:
    clones = kept(tmp_path, "Dad/1.wav")
    (tmp_path / "Dad" / "voice.json").write_bytes(note)
    assert clones.all() == (ClonedVoice("Dad", (tmp_path / "Dad" / "1.wav",)),)


def test_what_is_hidden_unfinished_or_made_ready_is_no_clip(tmp_path: Path) -> None:
    clones = kept(
        tmp_path,
        *(".hidden.wav", "a.wav.part", "b.wav.crdownload", "c.txt", "wav", "._d.wav"),
        *("e.wav", "e.wav.clean.wav", ".f/1.wav", "g/.1.wav", "h/1.wav", "h/1.wav.clean.wav"),
        *("only.clean.wav", "k.wav", "k.wav.clean.wav/1.wav"),
    )
    assert ids(clones) == ["e", "h", "k", "k.wav.clean.wav", "only.clean"]
    assert [path.name for path in clones.find("h")[0].paths] == ["1.wav"]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["bob.wav", "bob/1.wav"], ["bob", "bob.wav"]),
        (["Bob/1.wav", "bob/1.wav"], ["Bob", "bob"]),
        (["Bob.wav", "bob.wav"], ["Bob.wav", "bob.wav"]),
        (["José.wav", "Jose.wav"], ["Jose.wav", "José.wav"]),
        (["alloy.wav", "Echo.mp3"], ["Echo.mp3", "alloy.wav"]),
        (["alloy/1.wav"], ["alloy~ec1cd2"]),
        ([f"{NFC}/1.wav", f"{NFD}/1.wav"], ["José~72c8d1", "José"]),
        ([f"{NFD}/1.wav"], ["José"]),
    ],
)
def test_names_that_could_be_mistaken_have_ids_that_cannot(
    tmp_path: Path, names: list[str], expected: list[str]
) -> None:
    clones = kept(tmp_path, *names)
    found = ids(clones)
    assert len(set(found)) == len(names)
    assert [id_.partition("~")[0] for id_ in found] == [id_.partition("~")[0] for id_ in expected]
    assert {unicodedata.is_normalized("NFC", id_) for id_ in found} == {True}
    for id_ in found:
        assert [voice.id for voice in clones.find(id_)] == [id_]
    assert "alloy" not in found


def test_a_name_is_found_in_any_case_form_and_without_accents_where_one_can_be_meant(
    tmp_path: Path,
) -> None:
    clones = kept(tmp_path, "José.wav", "Bob.wav", "bob.mp3", "Ann/1.wav")
    for name in (NFC, NFD, "jose", " JOSÉ ", "José.wav", f"{NFD}.wav", "jose.WAV"):
        assert [voice.id for voice in clones.find(name)] == ["José"]
    assert [voice.id for voice in clones.find("Bob")] == ["Bob.wav"]
    assert [voice.id for voice in clones.find("bob")] == ["bob.mp3"]
    assert [voice.id for voice in clones.find("BOB")] == ["Bob.wav", "bob.mp3"]
    assert [voice.id for voice in clones.find("ann")] == ["Ann"]
    for name in ("", " ", ".", "..", "Ann/1.wav", "../Ann", "Ann\0", "J"):
        assert clones.find(name) == []


def test_links_that_lead_outside_are_not_followed_and_those_inside_are(tmp_path: Path) -> None:
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    kept(outside, "secret.wav", "folder/1.wav")
    (outside / "voice.json").write_text('{"description": "secret"}')
    clones = kept(inside, "real.wav", "Dad/1.wav")
    (inside / "secret.wav").symlink_to(outside / "secret.wav")
    (inside / "folder").symlink_to(outside / "folder")
    (inside / "Dad" / "2.wav").symlink_to(outside / "secret.wav")
    (inside / "Dad" / "voice.json").symlink_to(outside / "voice.json")
    (inside / "gone.wav").symlink_to(inside / "nothing")
    (inside / "round.wav").symlink_to(inside / "round.wav")
    (inside / "other.wav").symlink_to(inside / "real.wav")
    assert ids(clones) == ["Dad", "other", "real"]
    (dad,) = clones.find("Dad")
    assert [path.name for path in dad.paths] == ["1.wav"]
    assert dad.description == ""


def test_the_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    kept(tmp_path / "real", "a.wav")
    (tmp_path / "real" / "b.wav").symlink_to("a.wav")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert ids(Clones(tmp_path / "link")) == ["a", "b"]


def test_a_folder_that_cannot_be_read_holds_no_voices_and_the_log_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    assert ids(Clones(tmp_path / "circle")) == []
    assert "cannot be read" in caplog.text
    assert ids(Clones(tmp_path / "none")) == []


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything"
)
def test_a_voice_without_permission_is_left_out_and_the_others_are_there(tmp_path: Path) -> None:
    clones = kept(tmp_path, "a.wav", "Dad/1.wav")
    (tmp_path / "Dad").chmod(0)
    try:
        assert ids(clones) == ["a"]
    finally:
        (tmp_path / "Dad").chmod(0o700)


@pytest.mark.slow
def test_ten_thousand_voices_are_listed_in_a_fifth_of_a_second(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    for number in range(5000):
        (tmp_path / f"voice {number}.wav").touch()
        folder = tmp_path / f"Stimme {number} für alle"
        folder.mkdir()
        (folder / "clip-1.wav").touch()
        (folder / "voice.json").write_text('{"language": "de"}')
        old(folder / "voice.json")
        old(folder)
    clones = Clones(tmp_path)
    assert len(clones.all()) == 10_000
    times_s = []
    for _ in range(5):
        start = time.perf_counter()
        clones.all()
        times_s.append(time.perf_counter() - start)
    assert min(times_s) < 0.2
