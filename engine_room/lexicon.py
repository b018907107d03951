"""How words are to be pronounced: the user's own list, in `voice_clones/lexicon.tsv`.

A line is a word (or several), a tab, how it is spoken, and, if it is for one language only, a tab and the
language. Lines that begin with `#` are comments. The file is read again when it has changed.
"""

import hashlib
import logging
import re
import stat
import sys
import threading
import unicodedata
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

log = logging.getLogger(__name__)
FILE = "lexicon.tsv"  # in voice_clones/
MAX_ENTRY_TOKENS = 32
MAX_WARNINGS = 20  # of one version of the file, whose lines may all be wrong
LANGUAGE = re.compile(r"[a-z]{2,3}(?:[-_][a-z0-9]+)*", re.IGNORECASE)
# Written without spaces, so that words have no visible bounds: Thai to Khmer, kana, Chinese characters.
UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff"
)

Tokens = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Entries:
    """What the file says, of one language or of all."""

    exact: dict[Tokens, str] = field(default_factory=dict)
    any_case: dict[Tokens, str] = field(default_factory=dict)
    # The most tokens of an entry that begins so (in lower case).
    longest: dict[str, int] = field(default_factory=dict)

    def add(self, tokens: Tokens, spoken: str, *, is_exact: bool) -> None:
        folded = _any_case(tokens)
        if is_exact:
            self.exact[tokens] = spoken
        else:
            self.any_case[folded] = spoken
        first = folded[0]
        self.longest[first] = max(self.longest.get(first, 0), len(tokens))

    def find(self, tokens: Tokens) -> str | None:
        return self.exact.get(tokens) or self.any_case.get(_any_case(tokens))


class Lexicon:
    """The list at a path; no list where there is no file. Any thread may use it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._state: tuple[int, int] | None = None
        self._version = ""
        self._entries: dict[str, _Entries] = {}

    @property
    def version(self) -> str:
        """A hash of what the file says now, for the keys of caches; empty where there is none."""
        return self._read()[0]

    def spoken(self, text: str, language: str) -> str:
        """The text with the words of the list as they are spoken in a language ("en", "de-AT", or "" if
        nobody knows). Longer entries go before shorter ones, those of the language before those of all.
        """
        _, by_language = self._read()
        languages = dict.fromkeys((_main_language(language), ""))
        wanted = [by_language[each] for each in languages if each in by_language]
        return _replaced(text, wanted) if wanted else text

    def _read(self) -> tuple[str, dict[str, _Entries]]:
        with self._lock:
            state = self._current_state()
            if state != self._state:
                self._version, self._entries = self._loaded() if state else ("", {})
                self._state = state
            return self._version, self._entries

    def _current_state(self) -> tuple[int, int] | None:
        try:  # a link may lead out of the folder, a pipe would be waited for
            found = self._path.lstat()
        except OSError:
            return None
        return (found.st_mtime_ns, found.st_size) if stat.S_ISREG(found.st_mode) else None

    def _loaded(self) -> tuple[str, dict[str, _Entries]]:
        try:
            content = self._path.read_bytes()
        except OSError as error:
            log.warning("%s is not used: %s", self._path, error.strerror)
            return "", {}
        entries: dict[str, _Entries] = {}
        wrong = []
        for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").splitlines(), 1):
            if fault := _add(line, entries):
                wrong.append((number, fault))
        for number, fault in wrong[:MAX_WARNINGS]:
            log.warning("%s, line %d is skipped: %s", self._path, number, fault)
        if len(wrong) > MAX_WARNINGS:
            log.warning("%s: %d more lines are wrong", self._path, len(wrong) - MAX_WARNINGS)
        return hashlib.sha256(content).hexdigest()[:16], entries


def _add(line: bytes, entries: dict[str, _Entries]) -> str:
    """Adds a line to the entries; what is wrong with it, or empty."""
    try:
        columns = [column.strip() for column in line.decode().split("\t")]
    except UnicodeDecodeError:
        return "it is not UTF-8"
    if columns == [""] or columns[0].startswith("#"):
        return ""
    if not 2 <= len(columns) <= 3:
        return f"it has {len(columns)} columns, not a word, its spoken form and perhaps a language"
    word, spoken, language = [*columns, ""][:3]
    tokens = tuple(_key(found) for found in _token().findall(word))
    if not tokens or not spoken:
        return f"it has no {'spoken form' if tokens else 'word'}"
    if len(tokens) > MAX_ENTRY_TOKENS:
        return f"its entry has {len(tokens)} words and signs; {MAX_ENTRY_TOKENS} are the most"
    if language and not LANGUAGE.fullmatch(language):
        return f"{language!r} is no language code such as en, de or pt-BR"
    of_language = entries.setdefault(_main_language(language), _Entries())
    of_language.add(tokens, spoken, is_exact=word != word.lower())
    return ""


def _replaced(text: str, entries: list[_Entries]) -> str:
    written = _token().findall(text)
    keys = [_key(token) for token in written]
    said, at = [], 0
    while at < len(keys):
        first = keys[at].casefold()
        longest = max(each.longest.get(first, 0) for each in entries)
        for length in range(min(longest, len(keys) - at), 0, -1):
            tokens = tuple(keys[at : at + length])
            found = next(filter(None, (each.find(tokens) for each in entries)), None)
            if found is not None:
                said.append(found)
                at += length
                break
        else:
            said.append(written[at])
            at += 1
    return "".join(said)


def _any_case(tokens: Tokens) -> Tokens:
    return tuple(map(str.casefold, tokens))


def _main_language(language: str) -> str:
    return re.split("[-_]", language.lower())[0]


def _key(token: str) -> str:
    """A token as it is compared: accents composed, one kind of apostrophe, one kind of space."""
    if token.isspace():
        return " "
    return unicodedata.normalize("NFC", token).replace("’", "'")


@cache
def _token() -> re.Pattern[str]:
    """Matches a word with its marks, a character of a script without spaces, space, or any other sign.

    `\\w` alone would end a Hindi word before each vowel sign.
    """
    marks = "".join(
        chr(code)
        for code in range(0x300, min(0x20000, sys.maxunicode))
        if unicodedata.category(chr(code)).startswith("M")
    )
    marks += "\U000e0100-\U000e01ef"
    word = rf"(?:(?![{UNSPACED}])[\w{marks}])+"
    return re.compile(rf"[{UNSPACED}][{marks}]*|{word}|\s+|.", re.DOTALL)
