"""A voice is kept whole or not at all, and deleted with what is its own."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from engine_room.clips import clean_path, prepared
from engine_room.clone_store import Clip, CloneStore, NewVoice
from engine_room.clones import Clones
from engine_room.encoding import Sound, encode
from engine_room.errors import CannotStore, InvalidAudio, InvalidRequest, VoiceExists
from tests.test_clips import RATE_HZ, silence, speech, wav

GOOD = wav(speech(8))


def new(name: str = "Grandma", *clips: Clip, **fields: str) -> NewVoice:
    return NewVoice(name, clips or (Clip("rec.wav", GOOD),), **fields)


def tree(folder: Path) -> set[str]:
    """Everything below a folder, hidden things too."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_a_voice_is_kept_as_sent_made_ready_and_with_what_was_said_of_it(tmp_path: Path) -> None:
    mp3 = encode(Sound(speech(4), RATE_HZ), "mp3")
    clips = (Clip("one.MP3", mp3), Clip("../two", GOOD))
    said = {"language": "de", "description": "Oma", "consent": "cons_1"}
    assert CloneStore(tmp_path).keep(new("Grandma", *clips, **said)) == "Grandma"
    assert tree(tmp_path) == {
        "Grandma",
        *("Grandma/clip-1.mp3", "Grandma/clip-1.mp3.clean.wav", "Grandma/voice.json"),
        *("Grandma/clip-2.audio", "Grandma/clip-2.audio.clean.wav"),
    }
    assert (tmp_path / "Grandma" / "clip-1.mp3").read_bytes() == mp3
    note = json.loads((tmp_path / "Grandma" / "voice.json").read_text(encoding="utf-8"))
    assert note.pop("created_at") > 1_700_000_000
    sent_as = {"clip-1.mp3": "one.MP3", "clip-2.audio": "../two"}
    assert note == {"name": "Grandma", "clips": sent_as, **said}
    (voice,) = Clones(tmp_path).all()
    assert [path.name for path in voice.paths] == ["clip-1.mp3", "clip-2.audio"]
    assert (voice.language, voice.description) == ("de", "Oma")
    assert prepared(voice.paths[1]).duration_s == pytest.approx(8, abs=0.7)
    clean = clean_path(voice.paths[1])
    made_ns = clean.stat().st_mtime_ns
    clean.write_bytes(wav(speech(4)))
    os.utime(clean, ns=(made_ns, made_ns))
    assert prepared(voice.paths[1]).duration_s == 4


def test_the_folder_is_made_when_it_is_not_there(tmp_path: Path) -> None:
    CloneStore(tmp_path / "a" / "b").keep(new())
    assert len(Clones(tmp_path / "a" / "b").all()) == 1


@pytest.mark.parametrize(
    ("voice", "error"),
    [
        (new("../out"), InvalidRequest),
        (new("bad", Clip("a.wav", b"")), InvalidAudio),
        (new("bad", Clip("a.wav", wav(silence(9)))), InvalidAudio),
        (new("bad", Clip("a.wav", wav(speech(1)))), InvalidAudio),
        (new("bad", Clip("a.wav", GOOD), Clip("b.wav", b"PK\3\4")), InvalidAudio),
    ],
)
def test_of_what_is_refused_nothing_is_kept(
    tmp_path: Path, voice: NewVoice, error: type[Exception]
) -> None:
    store = CloneStore(tmp_path / "voices")
    store.keep(new())
    before = tree(tmp_path)
    with pytest.raises(error):
        store.keep(voice)
    assert tree(tmp_path) == before


def test_a_name_that_is_there_as_a_voice_a_file_or_a_link_is_taken(tmp_path: Path) -> None:
    store = CloneStore(tmp_path)
    store.keep(new())
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path.parent / "outside")
    for name in ("Grandma", "file", "link"):
        with pytest.raises(VoiceExists, match=name):
            store.keep(new(name))
    assert not (tmp_path.parent / "outside").exists()
    store.keep(new("grandma"))


def test_of_two_that_come_at_once_under_one_name_one_is_kept(tmp_path: Path) -> None:
    store = CloneStore(tmp_path)

    def keep(description: str) -> str:
        try:
            store.keep(new("Bob", description=description))
        except VoiceExists:
            return ""
        return description

    with ThreadPoolExecutor(4) as pool:
        winners = [winner for winner in pool.map(keep, "abcd") if winner]
    (voice,) = Clones(tmp_path).all()
    assert winners == [voice.description]
    assert {path.name for path in tmp_path.iterdir()} == {"Bob"}


def test_a_disk_that_takes_no_more_is_said_so_and_nothing_is_left(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="limits what a process may write")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(CannotStore, match="could not be written") as caught:
            CloneStore(tmp_path).keep(new())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.status == 507
    assert "VOICE_CLONES_DIR" in caught.value.message
    assert tree(tmp_path) == set()


def test_a_folder_that_cannot_be_written_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CannotStore, match="Not a directory"):
        CloneStore(tmp_path / "file").keep(new())


def test_a_deleted_voice_takes_its_own_files_along_and_no_others(tmp_path: Path) -> None:
    store, clones = CloneStore(tmp_path), Clones(tmp_path)
    store.keep(new("Uploaded"))
    for name in ("Mum.wav", "Mum.wav.clean.wav", "Mum.txt", "Mumble.wav", "Dad/1.wav", "Dad/x.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    for name in ("Uploaded", "Mum", "Dad"):
        store.delete(clones.find(name)[0])
    assert tree(tmp_path) == {"Mum.txt", "Mumble.wav", "Dad", "Dad/x.txt"}


def test_a_voice_named_as_a_clip_made_ready_is_none(tmp_path: Path) -> None:
    store, clones = CloneStore(tmp_path), Clones(tmp_path)
    (tmp_path / "a.wav").write_bytes(GOOD)
    store.keep(new("a.wav.clean.wav"))
    assert prepared(tmp_path / "a.wav").duration_s == pytest.approx(8, abs=0.7)
    store.delete(clones.find("a")[0])
    assert [voice.id for voice in clones.all()] == ["a.wav.clean.wav"]


def test_deleting_a_link_leaves_what_it_leads_to_and_deleting_twice_is_fine(tmp_path: Path) -> None:
    store, clones = CloneStore(tmp_path), Clones(tmp_path)
    (tmp_path / "real.wav").write_bytes(b"x")
    (tmp_path / "link.wav").symlink_to(tmp_path / "real.wav")
    link = clones.find("link")[0]
    store.delete(link)
    store.delete(link)
    assert tree(tmp_path) == {"real.wav"}


def test_what_a_crash_left_is_tidied_at_the_start_and_what_others_write_is_not(
    tmp_path: Path,
) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    leftovers = [f".voice-{pid}-0a.partial" for pid in (dead.pid, os.getpid(), "x")]
    running, old = f".voice-{os.getppid()}-0b.partial", f".voice-{os.getppid()}-0c.partial"
    for name in (*leftovers, running, old, ".voice-mine", "voice-1-2.partial"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "clip-1.wav").touch()
    os.utime(tmp_path / old, (1, 1))
    CloneStore(tmp_path).tidy()
    assert {path.name for path in tmp_path.iterdir()} == {
        *(running, ".voice-mine", "voice-1-2.partial")
    }
    CloneStore(tmp_path / "none").tidy()
