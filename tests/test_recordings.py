"""The newest speech is kept under readable names; nobody else's file is ever touched."""

import os
import re
from pathlib import Path
from typing import Any

import pytest

from engine_room.errors import NotFound
from engine_room.recordings import Recordings
from engine_room.settings import Settings


def kept(folder: Path, *items: tuple[Any, ...], **changes: Any) -> list[str]:
    """What lies in a folder after these were kept there, oldest first."""
    recordings = Recordings(Settings(_env_file=None, audio_dir=folder, **changes))
    recordings.open()
    for item in items:
        recordings.keep(*item)
    recordings.close()
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def speech(text: str, num_bytes: int = 10) -> tuple[bytes, str, str, str]:
    return (b"x" * num_bytes, "alloy", text, "mp3")


def words(names: list[str]) -> list[str]:
    return [name[20:] for name in names]


def test_a_file_says_when_in_which_voice_and_what(tmp_path: Path) -> None:
    (name,) = kept(tmp_path, (b"sound", "alloy", "Hello, this is a test message.", "mp3"))
    assert re.fullmatch(r"20\d{6}-\d{6}-\d{3}_alloy_hello-this-is-a-test-message\.mp3", name)
    assert (tmp_path / name).read_bytes() == b"sound"


@pytest.mark.parametrize(
    ("voice", "text", "expected"),
    [
        ("my voice.wav", "Hi", "my-voice.wav_hi.mp3"),
        ("../../etc", "../../passwd", "..-..-etc_passwd.mp3"),
        ("a\0b/c\\d", "x\0y/z:?*", "a-b-c-d_x-y-z.mp3"),
        ("alloy", "?!", "alloy_.mp3"),
        ("alloy", "Größe 漢字", "alloy_größe-漢字.mp3"),
        ("alloy", "word " * 50, "alloy_word-word-word-word-word-word-word.mp3"),
        ("語" * 80, "𠀀" * 60, f"{'語' * 20}_{'𠀀' * 35}.mp3"),
    ],
)
def test_any_voice_and_text_make_a_name_inside_the_folder(
    tmp_path: Path, voice: str, text: str, expected: str
) -> None:
    names = kept(tmp_path / "audio", (b"x", voice, text, "mp3"))
    assert words(names) == [expected]
    assert os.listdir(tmp_path) == ["audio"]


def test_files_of_any_name_we_give_are_removed_in_their_turn(tmp_path: Path) -> None:
    strange = [(b"x", voice, text, "wav") for voice in ("a.b-c", "a 漢") for text in ("?", "ß 漢")]
    assert words(kept(tmp_path, *strange, speech("last"), audio_keep_files=1)) == ["alloy_last.mp3"]


def test_the_newest_files_are_kept(tmp_path: Path) -> None:
    names = kept(tmp_path, *map(speech, "abcde"), audio_keep_files=3)
    assert words(names) == ["alloy_c.mp3", "alloy_d.mp3", "alloy_e.mp3"]


def test_files_of_an_earlier_run_count_too(tmp_path: Path) -> None:
    kept(tmp_path, *map(speech, "abc"))
    assert words(kept(tmp_path, speech("d"), audio_keep_files=2)) == ["alloy_c.mp3", "alloy_d.mp3"]


def test_the_oldest_go_when_the_megabytes_are_used_up(tmp_path: Path) -> None:
    items = [speech(text, 400_000) for text in "abcd"]
    assert words(kept(tmp_path, *items, audio_keep_mb=1)) == ["alloy_c.mp3", "alloy_d.mp3"]


@pytest.mark.parametrize("limit", ["audio_keep_files", "audio_keep_mb"])
def test_zero_keeps_nothing_and_touches_nothing(tmp_path: Path, limit: str) -> None:
    earlier = kept(tmp_path, speech("earlier"))
    assert kept(tmp_path, speech("a"), **{limit: 0}) == earlier
    assert kept(tmp_path / "none", speech("a"), **{limit: 0}) == []


def test_a_users_own_file_is_never_removed_or_counted(tmp_path: Path) -> None:
    own = ["README.md", "song.mp3", "20260101_alloy_hi.mp3", "0.wav", ".hidden", ".x.mp3.partial"]
    for name in own:
        (tmp_path / name).write_bytes(bytes(2_000_000))
        os.utime(tmp_path / name, (0, 0))
    (tmp_path / "folder").mkdir()
    names = kept(tmp_path, speech("a"), speech("b"), audio_keep_files=1, audio_keep_mb=1)
    assert set(own) | {"folder"} < set(names)
    assert words(sorted(set(names) - {*own, "folder"})) == ["alloy_b.mp3"]


def test_what_a_crash_left_half_written_is_removed_once_it_is_old(tmp_path: Path) -> None:
    old = tmp_path / ".20260101-120000-000_alloy_hi.mp3.partial"
    young = tmp_path / ".20260101-120000-001_alloy_hi.mp3.partial"
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    assert kept(tmp_path) == [young.name]


def test_no_half_written_file_has_its_final_name(tmp_path: Path) -> None:
    names = kept(tmp_path, *map(speech, "abc"))
    assert not any(name.startswith(".") or name.endswith(".partial") for name in names)


def test_a_folder_that_cannot_be_written_is_only_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / "audio"
    assert kept(folder, speech("a"), speech("b")) == []
    assert caplog.text.count("speech is not kept in") == 2


def test_what_the_disk_does_not_take_is_only_logged_and_the_next_is_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    resource = pytest.importorskip("resource", reason="limits what a process may write")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        names = kept(tmp_path, speech("a", 200_000), speech("b"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert words(names) == ["alloy_b.mp3"]
    assert "speech is not kept in" in caplog.text


def test_a_missing_folder_is_made(tmp_path: Path) -> None:
    assert words(kept(tmp_path / "a" / "b", speech("hi"))) == ["alloy_hi.mp3"]


def test_a_file_is_found_again_by_its_key_and_format(tmp_path: Path) -> None:
    recordings = Recordings(Settings(_env_file=None, audio_dir=tmp_path))
    assert recordings.found("ab" * 32, "mp3") is None
    recordings.open()
    for data, key, form in ((b"1", "ab", "mp3"), (b"2", "ab", "wav"), (b"3", "cd", "mp3")):
        recordings.keep(data, "alloy", "Hello", form, key * 32)
    recordings.keep(b"4", "alloy", "Hello", "mp3")
    recordings.close()
    assert recordings.found("ab" * 32, "mp3") == b"1"
    assert recordings.found("ab" * 32, "wav") == b"2"
    assert recordings.found("cd" * 32, "mp3") == b"3"
    assert recordings.found("ef" * 32, "mp3") is None


def test_keys_do_not_keep_old_files_from_being_removed(tmp_path: Path) -> None:
    recordings = Recordings(Settings(_env_file=None, audio_dir=tmp_path, audio_keep_files=1))
    recordings.open()
    for number in range(3):
        recordings.keep(b"x", "語" * 80, "𠀀" * 60, "flac", f"{number}" * 64)
    recordings.close()
    assert [path.name[-21:] for path in tmp_path.iterdir()] == ["2222222222222222.flac"]
    assert recordings.found("2" * 64, "flac") == b"x"
    assert recordings.found("1" * 64, "flac") is None


def test_what_is_kept_is_listed_by_its_names_the_newest_first(tmp_path: Path) -> None:
    (tmp_path / "mine.mp3").write_bytes(b"x")
    names = kept(
        tmp_path, (b"1", "bf_emma", "Hello, you!", "mp3", "ab" * 16), (b"22", "nova", "Ha", "wav")
    )
    recordings = Recordings(Settings(_env_file=None, audio_dir=tmp_path))
    second, first = recordings.all()
    assert (first.id, first.voice, first.words, first.format, first.size_bytes) == (
        names[0],
        "bf_emma",
        "hello you",
        "mp3",
        1,
    )
    assert (second.voice, second.words, second.size_bytes) == ("nova", "ha", 2)
    file = recordings.read(second.id)
    assert (file.data, file.media_type) == (b"22", "audio/wav")
    assert Recordings(Settings(_env_file=None, audio_dir=tmp_path / "none")).all() == []


@pytest.mark.parametrize("id_", ["mine.mp3", "../secret.txt", "20250101-000000-000_a_b.mp3", ""])
def test_only_what_was_kept_here_is_read(tmp_path: Path, id_: str) -> None:
    (tmp_path / "mine.mp3").write_bytes(b"x")
    with pytest.raises(NotFound):
        Recordings(Settings(_env_file=None, audio_dir=tmp_path)).read(id_)
