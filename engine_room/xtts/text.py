"""Text cut into pieces that one call of XTTS speaks whole, and each made ready to be spoken.

Knows no model: how many tokens a text makes is asked of a function.
"""

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import IntEnum

from engine_room.errors import NothingToSay
from engine_room.xtts.cleaning import (
    CLAUSES,
    CLOSERS,
    COMMAS,
    ENDS,
    MARKS,
    OPENERS,
    cleaned,
    has_words,
)
from engine_room.xtts.languages import LANGUAGES, check_script
from engine_room.xtts.numbers import readable

# A token more than the model's 402 would fail; the library's own cleaners may add one at each end.
MAX_TOKENS = 400


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of the cleaned text, and the silence after it; none after the last."""

    text: str
    pause_s: float


class Rank(IntEnum):
    """How good a place to cut is; a higher one is cut at first."""

    LETTER = 1
    WORD = 2
    CLAUSE = 3
    SENTENCE = 4
    PARAGRAPH = 5


# XTTS ends a sentence with some silence of its own; these make up what it has inside a piece.
PAUSES_S = {
    Rank.LETTER: 0.0,
    Rank.WORD: 0.0,
    Rank.CLAUSE: 0.1,
    Rank.SENTENCE: 0.25,
    Rank.PARAGRAPH: 0.6,
}
# Scripts that put no space between words: kana, Han, Thai, Lao, Burmese, Khmer.
UNSPACED = (
    "\u3005-\u3007\u3041-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff\u0e01-\u0eff\u1000-\u109f\u1780-\u17ff"
)
# What belongs to the character before it: small kana, repetition and length marks.
NEVER_FIRST = "ぁぃぅぇぉっゃゅょゎァィゥェォッャュョヮヵヶー々ゝゞヽヾ"
MARK_RUN = rf"[{re.escape(MARKS)}]+(?:[{re.escape(CLOSERS)}]|\s»(?=\s|$))*"
BREAK = re.compile(
    rf"(?P<marks>{MARK_RUN}(?:\s+{MARK_RUN})*)(?P<gap>\s*)"
    r"|(?P<space>\s+)"
    rf"|(?<![{re.escape(OPENERS)}\s])(?:(?<=[{UNSPACED}])|(?=[{UNSPACED}]))"
    rf"(?![{re.escape(MARKS + CLOSERS)}{NEVER_FIRST}\s])"
)
IS_UNSPACED = re.compile(f"[{UNSPACED}]")
# These end something even where no space follows.
WIDE_MARKS = "。｡．！？，、；：—…।॥"
TOKEN_BEFORE_MARK = re.compile(rf"[^\s{re.escape(OPENERS + CLOSERS + CLAUSES)}]+$")
MAX_TOKEN_CHARS = 12
ABBREVIATIONS = {
    language: frozenset(words.split())
    for language, words in {
        "en": "mr mrs ms dr prof st jr sr vs no etc approx dept est inc ltd co corp gen col capt lt sgt "
        "rev hon gov sen rep fig vol tel jan feb mar apr jun jul aug sep sept oct nov dec mt ave",
        "es": "sr sra srta dr dra ud uds da av avda pág págs núm etc aprox ej prof ing lic tel",
        "fr": "mm mme mmes mlle dr pr me st ste av bd cf env ex art chap vol réf tél etc",
        "de": "dr prof nr str bzw usw ca vgl evtl ggf inkl zzgl mio mrd sog hr fr st abs art kap jh geb "
        "gest ing dipl bspw etc tel max min",
        "it": "sig sigg dott dottssa ing avv prof pag pagg ecc art cap tel geom rag sen on",
        "pt": "sr sra srta dr dra prof profa av pág etc núm tel eng art",
        "pl": "dr prof mgr inż ul np itp itd tzn tj godz św ok nr str tys mln mld hab pl al",
        "tr": "dr prof doç sn vb vs bkz cad sok no av alb yrd mah apt",
        "ru": "гг ул др проф см им руб тыс млн млрд стр гл кв акад напр тел обл",
        "nl": "dhr mevr mw dr prof ir ing mr drs bijv enz nr ca blz jl vgl incl excl tel evt",
        "cs": "dr ing mgr bc prof např tj atd apod ul str tzv resp mil tis doc mudr phdr čp",
        "ar": "أ.د",
        "hu": "dr prof ifj id kb pl stb tel ún ill vö özv szt krt",
        "hi": "डॉ श्री प्रो कु सु",
    }.items()
}
# Where a number of one or two digits and a dot is a date or an ordinal more often than an end.
DOTTED_ORDINALS = ("de", "cs", "hu", "pl", "tr")
# Pieces below this share of the limit are avoided: XTTS invents words after very short texts.
SHORT = 12
# Known complaints, all about a dot read out: Portuguese (coqui-ai/TTS#2952), Italian (#3445; also
# ebook2audiobook#342), French (in #3445), Spanish, whose "punto" is Italian's. The semicolon with a
# space before it is what ebook2audiobook settled on; dropping the dot changes the tone of the end.
DOT_IS_SPOKEN = ("es", "fr", "it", "pt")
SILENT_STOP = " ;"
STOPS = {"zh-cn": "。", "ja": "。", "hi": "।"} | dict.fromkeys(DOT_IS_SPOKEN, SILENT_STOP)
STRAIGHT = str.maketrans(
    # The library drops " itself, but for Japanese; after one that closes a text XTTS invents words.
    dict.fromkeys('"“”„‟«»「」『』《》〈〉', "")
    | dict.fromkeys("‘’‚‛´", "'")
    | {"…": "...", "‥": "..", "‼": "!!", "⁇": "??", "⁈": "?!", "⁉": "!?"}
)
ENDS_IN_A_ROW = re.compile("[.!?！？؟]{2,}")
REPEATED = re.compile(r"([,;:，、；：،؛。।—–-])\1+")
# What a piece neither begins nor ends with; but it may begin with an apostrophe.
EDGE = MARKS + CLOSERS + " _*/\\-"
BEGINNING = EDGE.replace("'", "")
BRACKETS = (("(", ")"), ("[", "]"), ("{", "}"), ("（", "）"), ("［", "］"), ("【", "】"))


def pieces(
    text: str, language: str, num_tokens: Callable[[str], int], max_tokens: int = MAX_TOKENS
) -> Iterator[Piece]:
    """The text in pieces that fit one call, cut at a paragraph, else a sentence, else a clause, else a
    word. The first is one sentence, or the beginning of a long one, so that the sound starts soon;
    the others are filled. Nothing that has a letter or a digit is lost.

    `language` is a code of LANGUAGES. `num_tokens` is asked about texts as `spoken` makes them.
    Raises NothingToSay, InvalidRequest at once, not at the first piece.
    """
    plain = cleaned(text, language)
    if not has_words(plain):
        raise NothingToSay
    check_script(plain)
    limit = _Limit(language, LANGUAGES[language].max_chars, num_tokens, max_tokens)
    return _with_pauses_between(_pieces(plain, limit))


def spoken(text: str, language: str) -> str:
    """A piece as XTTS speaks it best: one mark at its end, none repeated, straight quotes, no bracket
    left open, no number that the library fails on. Case is left to the library."""
    text = text.translate(STRAIGHT)
    text = REPEATED.sub(r"\1", ENDS_IN_A_ROW.sub(_one_end, text))
    text = _without_beginning(text)
    body = text.rstrip(EDGE + OPENERS)
    ending = text[len(body) :]
    for opening, closing in BRACKETS:
        if body.count(opening) != body.count(closing):
            body = body.replace(opening, "").replace(closing, "")
    body = " ".join(body.split())
    if language in DOT_IS_SPOKEN:
        body = _with_silent_stops(body, language)
    return readable(body + _last_mark(ending, language), language) if body else ""


def _one_end(run: re.Match[str]) -> str:
    return _strongest(run[0]) or "..."


def _strongest(marks: str) -> str:
    """The question mark of some marks, else the exclamation mark, else nothing."""
    asked_or_called = [mark for mark in marks if mark in "?？؟"] or [
        mark for mark in marks if mark in "!！"
    ]
    return asked_or_called[0] if asked_or_called else ""


def _without_beginning(text: str) -> str:
    rest = text.lstrip(BEGINNING)
    sign = text[: len(text) - len(rest)][-1:]
    return sign + rest if sign and sign in "-." and rest[:1].isdigit() else rest


def _last_mark(ending: str, language: str) -> str:
    """The one mark that says most of the ending. Without any, the text's end is its own sentence."""
    if mark := _strongest(ending):
        return mark
    stop = STOPS.get(language, ".")
    if "..." in ending and stop != SILENT_STOP:
        return "..."
    if any(mark in ENDS for mark in ending) or not any(mark in CLAUSES for mark in ending):
        return stop
    return COMMAS.get(language, ",")


def _with_silent_stops(text: str, language: str) -> str:
    parts, start = [], 0
    for match in BREAK.finditer(text):
        if match["marks"] and match["marks"][0] == "." and _rank(match, language) == Rank.SENTENCE:
            parts.append(text[start : match.start()] + SILENT_STOP + match["gap"])
            start = match.end()
    return "".join([*parts, text[start:]])


@dataclass(frozen=True, slots=True)
class _Limit:
    """What one call of the library takes."""

    language: str
    max_chars: int
    num_tokens: Callable[[str], int]
    max_tokens: int

    def holds(self, text: str) -> bool:
        text = text.strip()
        if len(text) > self.max_chars:
            return False
        said = spoken(text, self.language)
        return len(said) <= self.max_chars and self.num_tokens(said) <= self.max_tokens


@dataclass(frozen=True, slots=True)
class _Break:
    """A place to cut: before the character `at`."""

    at: int
    rank: Rank


def _with_pauses_between(found: Iterator[Piece]) -> Iterator[Piece]:
    held = next(found)
    for piece in found:
        yield held
        held = piece
    yield replace(held, pause_s=0.0)


def _pieces(plain: str, limit: _Limit) -> Iterator[Piece]:
    is_first = True
    for paragraph in plain.split("\n"):
        for piece in _filled(paragraph, limit, is_first):
            if has_words(piece.text):
                yield piece
                is_first = False


def _filled(paragraph: str, limit: _Limit, is_first: bool) -> Iterator[Piece]:
    """The paragraph's parts, joined as far as they fit; but the first piece only until neither it nor
    the rest is short."""
    start = 0
    last: _Break | None = None
    shortest = limit.max_chars // SHORT
    for part_end in _part_ends(paragraph, limit, is_first):
        if last:
            is_enough = min(last.at - start, len(paragraph) - last.at) >= shortest
            if (is_first and is_enough) or not limit.holds(paragraph[start : part_end.at]):
                yield Piece(paragraph[start : last.at].strip(), PAUSES_S[last.rank])
                start, is_first = last.at, False
        last = part_end
    yield Piece(paragraph[start:].strip(), PAUSES_S[Rank.PARAGRAPH])


def _part_ends(paragraph: str, limit: _Limit, is_first: bool) -> Iterator[_Break]:
    """Where the sentences end, and where one that is too long for the limit is to be cut."""
    start = 0
    inner: list[_Break] = []
    for found in _breaks(paragraph, limit.language):
        if found.rank < Rank.SENTENCE:
            inner.append(found)
            continue
        if is_first and start == 0 and (opening := _opening(found.at, inner, limit)):
            yield opening
            start = opening.at
        yield from _cuts(paragraph, start, found.at, inner, limit)
        yield found
        start, inner = found.at, []


def _opening(end: int, inner: list[_Break], limit: _Limit) -> _Break | None:
    """The end of the first clause worth a piece of its own, if the first sentence is a long one."""
    if end <= limit.max_chars // 2:
        return None
    clauses = (found for found in inner if found.rank == Rank.CLAUSE)
    shortest, longest = limit.max_chars // SHORT, limit.max_chars // 2
    return next((found for found in clauses if shortest <= found.at <= longest), None)


def _cuts(text: str, start: int, end: int, inner: list[_Break], limit: _Limit) -> Iterator[_Break]:
    while end - start > 1 and not limit.holds(text[start:end]):
        cut = _best_cut(text, start, end, inner, limit)
        yield cut
        start = cut.at


def _best_cut(text: str, start: int, end: int, inner: list[_Break], limit: _Limit) -> _Break:
    """The best place for a cut that leaves before it what the limit holds, one character at least."""
    room = limit.max_chars - len(SILENT_STOP)
    while True:
        stop = min(start + room, end - 1)
        low = bisect_right(inner, start, key=lambda found: found.at)
        high = bisect_right(inner, stop, key=lambda found: found.at)
        cut = _last_good(inner[low:high], start, end, room) or _anywhere(text, start, stop)
        if stop == start + 1 or limit.holds(text[start : cut.at]):
            return cut
        room = max(1, (stop - start) * 2 // 3)


def _last_good(found: list[_Break], start: int, end: int, room: int) -> _Break | None:
    """The last clause's end, else the last word's, that leaves enough on both sides; else the last."""
    for rank in (Rank.CLAUSE, Rank.WORD, Rank.LETTER):
        for place in reversed(found):
            if place.at - start < room // 4:
                break
            if place.rank >= rank and end - place.at >= room // SHORT:
                return place
    return found[-1] if found else None


def _anywhere(text: str, start: int, stop: int) -> _Break:
    """Inside of a word, but between what readers see as characters, unless there is but one."""
    for at in range(stop, start, -1):
        joins = unicodedata.combining(text[at - 1]) == 9  # a virama: the next letter is part of it
        if not joins and not unicodedata.category(text[at]).startswith("M"):
            return _Break(at, Rank.LETTER)
    return _Break(stop, Rank.LETTER)


def _breaks(text: str, language: str) -> list[_Break]:
    """Every place to cut a paragraph at, in order; the last is its end."""
    found: list[_Break] = []
    for match in BREAK.finditer(text):
        at = match.end()
        is_new = 0 < at < len(text) and not (found and found[-1].at == at)
        if is_new and (rank := _rank(match, language)):
            found.append(_Break(at, rank))
    return [*found, _Break(len(text), Rank.PARAGRAPH)]


def _rank(match: re.Match[str], language: str) -> Rank | None:
    text, marks = match.string, match["marks"]
    before = text[max(0, match.start() - 1) : match.start()]
    after = text[match.end() : match.end() + 1]
    if match["space"]:
        return Rank.WORD
    if marks is None:
        return None if unicodedata.category(after).startswith("M") else Rank.LETTER
    if after and not match["gap"] and not _ends_without_gap(marks, before, after):
        return None
    if not any(mark in ENDS for mark in marks):
        return Rank.CLAUSE
    if marks.rstrip(CLOSERS) == "." and _is_abbreviation(text, match.start(), language):
        return Rank.WORD
    return Rank.CLAUSE if after.islower() else Rank.SENTENCE


def _ends_without_gap(marks: str, before: str, after: str) -> bool:
    if before.isdigit() and after.isdigit():
        return False
    if any(mark in WIDE_MARKS for mark in marks):
        return True
    return bool(IS_UNSPACED.match(after) or IS_UNSPACED.match(before))


def _is_abbreviation(text: str, dot_at: int, language: str) -> bool:
    found = TOKEN_BEFORE_MARK.search(text, max(0, dot_at - MAX_TOKEN_CHARS), dot_at)
    if not found:
        return False
    token = found[0].casefold()
    if token.isdigit() and len(token) <= 2:  # "1. Wash your hands. 2. Dry them."
        is_item = text[max(0, found.start() - 2) : found.start()].strip()[-1:] in ("", *MARKS)
        return is_item or language in DOTTED_ORDINALS
    if token in ABBREVIATIONS["en"] or token in ABBREVIATIONS.get(language, ()):
        return True
    last = token.rpartition(".")[2]
    return len(last) == 1 and last.isalpha() and not IS_UNSPACED.match(last)
