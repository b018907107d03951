"""The words of the user's list are spoken as it says, and no others are touched."""

import logging
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from engine_room.lexicon import FILE, Lexicon


def lexicon(folder: Path, content: str | bytes) -> Lexicon:
    path = folder / FILE
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return Lexicon(path)


@pytest.mark.parametrize(
    ("entry", "text", "spoken"),
    [
        ("nginx\tengine ex", "Nginx, NGINX and nginxes.", "engine ex, engine ex and nginxes."),
        ("Polish\tPole ish", "Polish shoes, polish them.", "Pole ish shoes, polish them."),
        ("C++\tsee plus plus", "C++ is not C+ or c++.", "see plus plus is not C+ or c++."),
        ("AT&T\tA T and T", "AT&T, AT & T", "A T and T, AT & T"),
        ("new  york\tbig apple", "New\nYork and new yorkers", "big apple and new yorkers"),
        ("café\tkaffay", "cafe\u0301, cafés", "kaffay, cafés"),
        ("straße\tstrasse", "STRASSE Straße", "strasse strasse"),
        ("हि\thi", "हि हिन्दी", "hi हिन्दी"),
        ("東京\tとうきょう", "東京は大きい", "とうきょうは大きい"),
        ("o'clock\tof the clock", "five o’clock", "five of the clock"),
        ("sql\tsequel\ten", "SQL", "sequel"),
        ("sql\tes ku el\tde", "SQL", "SQL"),
    ],
)
def test_whole_words_are_replaced(tmp_path: Path, entry: str, text: str, spoken: str) -> None:
    assert lexicon(tmp_path, entry).spoken(text, "en") == spoken


def test_the_longest_entry_wins_and_what_is_spoken_is_not_looked_up_again(tmp_path: Path) -> None:
    words = lexicon(tmp_path, "york\tyorrick\nnew york\tnew york city\nnew\told\n")
    assert words.spoken("New York, York, new", "en") == "new york city, yorrick, old"


def test_an_entry_of_the_language_goes_before_one_of_all(tmp_path: Path) -> None:
    words = lexicon(tmp_path, "jaguar\tjagwar\njaguar\tyaguar\tde\n")
    assert words.spoken("Jaguar", "de-AT") == "yaguar"
    assert words.spoken("Jaguar", "en") == "jagwar"
    assert words.spoken("Jaguar", "") == "jagwar"


def test_a_byte_order_mark_windows_lines_and_comments_do_no_harm(tmp_path: Path) -> None:
    words = lexicon(tmp_path, b"\xef\xbb\xbf# mine\r\n\r\nfoo\tbar\t\r\n  # more\tx\r\n")
    assert words.spoken("foo", "en") == "bar"


def test_without_a_file_nothing_is_replaced_and_the_version_is_empty(tmp_path: Path) -> None:
    words = Lexicon(tmp_path / FILE)
    assert words.spoken("foo", "en") == "foo"
    assert words.version == ""
    (tmp_path / FILE).mkdir()
    assert words.spoken("foo", "en") == "foo"


def test_a_changed_file_is_read_again_and_a_deleted_one_forgotten(tmp_path: Path) -> None:
    words = lexicon(tmp_path, "foo\tbar")
    first = words.version
    assert words.spoken("foo", "en") == "bar"
    lexicon(tmp_path, "foo\tbaz")
    os.utime(tmp_path / FILE, ns=(1, 1))
    assert words.spoken("foo", "en") == "baz"
    assert words.version not in ("", first)
    (tmp_path / FILE).unlink()
    assert words.spoken("foo", "en") == "foo"


def test_wrong_lines_are_named_once_and_skipped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content = b"alone\nfoo\tbar\n\tx\nx\t\na\tb\tc\td\na\tb\tde utsch\n\xff\xfe\tb\n"
    content += b"a " * 40 + b"\tb\n"
    words = lexicon(tmp_path, content)
    with caplog.at_level(logging.WARNING):
        assert words.spoken("foo", "en") == "bar"
        assert words.spoken("foo", "en") == "bar"
    said = [record.getMessage().removeprefix(f"{tmp_path / FILE}, ") for record in caplog.records]
    columns = "columns, not a word, its spoken form and perhaps a language"
    assert said == [
        f"line 1 is skipped: it has 1 {columns}",
        "line 3 is skipped: it has no word",
        "line 4 is skipped: it has no spoken form",
        f"line 5 is skipped: it has 4 {columns}",
        "line 6 is skipped: 'de utsch' is no language code such as en, de or pt-BR",
        "line 7 is skipped: it is not UTF-8",
        "line 8 is skipped: its entry has 79 words and signs; 32 are the most",
    ]


def test_a_file_of_wrong_lines_only_does_not_fill_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert lexicon(tmp_path, "x\n" * 1000).version
    assert len(caplog.records) == 21
    assert "980 more lines are wrong" in caplog.text


def test_ten_thousand_entries_are_looked_up_in_one_pass(tmp_path: Path) -> None:
    """In seconds; tried one after the other they would take hours."""
    entries = "".join(f"word{n} of many\tspoken {n}\n" for n in range(10_000))
    words = lexicon(tmp_path, entries)
    text = "word9999 of many, " * 20_000
    assert words.spoken(text, "en") == "spoken 9999, " * 20_000
    assert words.spoken("word1 " * 50_000, "en") == "word1 " * 50_000


def test_threads_share_one_list(tmp_path: Path) -> None:
    words = lexicon(tmp_path, "foo\tbar")
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: words.spoken("foo", "en"), range(200))) == {"bar"}
