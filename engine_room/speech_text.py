"""Text cut into pieces that can be spoken, the first one short, after a check that they can be.

Knows no engine; the light voice speaks English, and what it cannot speak is refused here with the
reason.
"""

import re
import unicodedata
from collections.abc import Iterator
from functools import cache

from anyascii import anyascii

from engine_room.errors import InvalidRequest, NothingToSay
from engine_room.language_guess import guess

MAX_PIECE_CHARS = 300
# Below this many letters, or this probability, a guess at the language is too often wrong. Tried on 4,400
# English sentences and 3,100 snippets of two to five words: at 0.97 only a Czech name alone was refused.
MIN_LETTERS_TO_TELL = 16
SURE = 0.97
# Fewer candidates make the guess at a short text better; these are what people mostly speak, English first.
LANGUAGES = tuple(
    "en es fr de it pt pl tr ru nl cs ar zh hu ko ja hi sv da no fi ro el uk vi id ca".split()
)
# At most this share of letters of other scripts is read by its nearest Latin spelling ("Привет": Privet).
MAX_FOREIGN_SHARE = 0.5
WORD = re.compile(r"[^\W\d_]+")
LONE_GREEK = re.compile("[α-ωΑ-Ω]")
ABBREVIATION = re.compile(
    r"(?:^|\s)(?:\w|Mr|Mrs|Ms|Dr|Prof|St|Jr|Sr|vs|No|etc|e\.g|i\.e|a\.m|p\.m"
    r"|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept|Oct|Nov|Dec)\.$"
)
SENTENCE_END = re.compile(r"(?<=[.!?…])[\"'”’)\]]*\s+|\s*\n\s*")
CLAUSE_END = re.compile(r"(?<=[,;:—])\s+")
WORD_END = re.compile(r"\s+")


def speakable_english(text: str, language: str) -> str:
    """The text with letters of other scripts in Latin spelling. `language` is the request's, or empty.

    Raises InvalidRequest when there is nothing to say, or when it is not English.
    """
    letters = [char for char in text if char.isalpha()]
    if not letters and not any(char.isalnum() for char in text):
        raise NothingToSay
    if language and re.split(r"[-_]", language.lower())[0] not in ("en", "eng", "english", "auto"):
        raise _not_english(f"language {language!r} was asked for", "language")
    foreign = [char for char in letters if not _is_latin(char)]
    if len(foreign) > MAX_FOREIGN_SHARE * len(letters):
        raise _not_english(f"input is written in another script ({foreign[0]!r})", "input")
    if len(letters) >= MIN_LETTERS_TO_TELL:
        found = guess(text, LANGUAGES)
        if found.language != "en" and found.probability >= SURE:
            raise _not_english(f"input looks like another language ({found.language})", "input")
    return WORD.sub(_latin_spelling, text)


def _latin_spelling(word: re.Match[str]) -> str:
    """The word, if the voice can read it (as it can a lone Greek letter), else its Latin spelling."""
    letters = word.group()
    if all(map(_is_latin, letters)) or LONE_GREEK.fullmatch(letters):
        return letters
    return anyascii(letters)


def _not_english(why: str, param: str) -> InvalidRequest:
    return InvalidRequest(
        f"This voice speaks English only, and {why}. Cloned voices speak 17 languages, and so do the studio "
        "voices of XTTS (README: Speaking with your own voice).",
        param=param,
        code="unsupported_language",
    )


@cache
def _is_latin(char: str) -> bool:
    return unicodedata.name(char, "LATIN").startswith(
        ("LATIN", "MODIFIER", "FEMININE", "MASCULINE")
    )


def pieces(text: str, max_chars: int = MAX_PIECE_CHARS, by_sentence: bool = False) -> Iterator[str]:
    """The text in pieces of at most `max_chars`, none empty, cut at a sentence, else a clause, else a
    word, else anywhere. The first piece is one sentence, so that the sound starts soon, and with
    `by_sentence` so are all others."""
    held = ""
    is_first = True
    for sentence in _sentences(text):
        for part in _cut(sentence, max_chars):
            is_full = by_sentence or is_first or len(held) + 1 + len(part) > max_chars
            if held and is_full:
                yield held
                held, is_first = part, False
            else:
                held = f"{held} {part}" if held else part
    if held:
        yield held


def _sentences(text: str) -> Iterator[str]:
    start = 0
    for match in SENTENCE_END.finditer(text):
        candidate = text[start : match.end()].strip()
        if candidate and not ("\n" not in match.group() and ABBREVIATION.search(candidate)):
            yield candidate
            start = match.end()
    if rest := text[start:].strip():
        yield rest


def _cut(sentence: str, max_chars: int) -> Iterator[str]:
    while len(sentence) > max_chars:
        window = sentence[: max_chars + 1]
        ends = list(CLAUSE_END.finditer(window)) or list(WORD_END.finditer(window))
        at = min(ends[-1].end(), max_chars) if ends else max_chars
        yield sentence[:at].strip()
        sentence = sentence[at:].strip()
    if sentence:
        yield sentence
