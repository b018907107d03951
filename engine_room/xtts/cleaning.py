"""Text without what no voice can say: control characters, emoji, markup.

Knows no limits and no engine; `text` cuts what is left and makes each piece ready to be spoken.
"""

import html
import re
import unicodedata
from collections.abc import Iterator

ENDS = ".!?…。｡．！？؟۔।॥‼⁇⁈⁉"
CLAUSES = ",;:，、；：،؛—–"
MARKS = ENDS + CLAUSES
# “ and « open in some languages and close in others; after a mark without a space they close.
CLOSERS = "\"'”’“‘»«›‹)]}）］｝」』】》〉"
OPENERS = "([{（［｛「『【《〈¿¡"
COMMAS = {"zh-cn": "，", "ja": "、", "ar": "،"}
# Unicode counts these among the pictures, but they are spoken, or written for an apostrophe.
SPOKEN_SYMBOLS = "°^`´"
# Letters by Unicode's book that nobody sees, or marks that choose how a character is drawn.
INVISIBLE = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0]")
ARROWS = re.compile("[\u2190-\u21ff\u27f0-\u27ff\u2900-\u297f\u2b00-\u2bff™℠ℹ]")
FRACTION_SLASH = "\u2044"  # in what Unicode makes of ½
# Stands where a picture stood, until it is known whether a gap is needed there. Control
# characters of the input are gone by then.
PICTURE = "\0"
PICTURES = re.compile(rf" ?{PICTURE}[ {PICTURE}]*")
ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z]\w{1,30});")
TAG = re.compile(r"</?([A-Za-z][\w:-]*)(?:\s[^<>]*)?/?>|<[!?][^<>]*>")
BLOCK_TAGS = "p br div li ul ol tr table h1 h2 h3 h4 h5 h6 s".split()
INLINE_TAGS = "b i u em strong small sub sup span a font prosody emphasis phoneme voice".split()
# What a line may begin with in Markdown: a heading, a quotation, an item.
LINE_START = re.compile(r"\s*(?:(?:#{1,6}|[>•·‣*+–—-])(?:\s+|$))*")
LINK = re.compile(r"!?\[([^\[\]]*)\]\([^()\s]*\)")
EMPHASIS = re.compile(r"[*_`~|\\<>]+")
# Read out as one number no longer one understands, and num2words fails on the longest of them.
LONG_NUMBER = re.compile(r"\d{16,}|\d{1,3}(?:[.,]\d{3}){5,}(?!\d)")
REPEATED = re.compile(r"([^\w\s])\1{3,}")


def cleaned(text: str, language: str) -> str:
    """The text in paragraphs, one a line, each with single spaces between its words.

    Lines of a paragraph are joined, with a comma where one ends without a mark. Tags leave their
    text, links their name. Letters of odd width or font become plain ones, all digits become 0-9.
    """
    text = ENTITY.sub(lambda entity: html.unescape(entity[0]), text)
    text = text.replace("\r\n", "\n").replace("\r", "\n").translate(_CHARACTERS)
    text = re.sub(" {2,}", " ", text)
    text = PICTURES.sub(_gap_for_picture, text)
    text = LINK.sub(r"\1", TAG.sub(_gap_for_tag, text))
    text = unicodedata.normalize("NFC", REPEATED.sub(r"\1\1\1", text))
    text = LONG_NUMBER.sub(lambda number: " ".join(filter(str.isdigit, number[0])), text)
    paragraphs = (_one_line(block, language) for block in re.split(r"\n *\n\s*", text))
    return "\n".join(filter(None, paragraphs))


def has_words(text: str) -> bool:
    """Whether there is a letter or a digit to say."""
    return any(map(str.isalnum, text))


class _Characters(dict[int, str]):
    """What becomes of a character, for str.translate; found once and kept."""

    def __missing__(self, code: int) -> str:
        self[code] = _plain(chr(code))
        return self[code]


def _plain(char: str) -> str:
    category = unicodedata.category(char)
    if char in "\n\v\f\x85\u2028\u2029":
        return "\n"
    if category == "Cf" or category == "Me" or INVISIBLE.match(char) or ord(char) >= 0xE0000:
        return ""
    if char.isspace() or category[0] == "C":
        return " "
    if category == "Nd":
        return str(unicodedata.decimal(char))
    compatible = unicodedata.normalize("NFKC", char)
    if category[0] in "LN" and not ARROWS.match(char):
        return compatible.replace(FRACTION_SLASH, "/")
    if category in ("So", "Sk") or ARROWS.match(char):
        if char in SPOKEN_SYMBOLS:
            return char
        # ㎏ is a picture of two letters, a smiley is none.
        is_word = has_words(compatible) and not ARROWS.match(char)
        return compatible if is_word else PICTURE
    return char


_CHARACTERS = _Characters()


def _gap_for_picture(found: re.Match[str]) -> str:
    return "" if found.string[found.end() : found.end() + 1] in MARKS else " "


def _gap_for_tag(tag: re.Match[str]) -> str:
    name = (tag[1] or "").lower()
    if name in BLOCK_TAGS:
        return "\n"
    return "" if name in INLINE_TAGS else " "


def _one_line(block: str, language: str) -> str:
    lines = (_without_markup(line) for line in block.split("\n"))
    return " ".join(_with_commas([line for line in lines if line], language))


def _without_markup(line: str) -> str:
    line = line[LINE_START.match(line).end() :]  # type: ignore[union-attr]  # matches everything
    return " ".join(EMPHASIS.sub(_gap_for_emphasis, line).split())


def _gap_for_emphasis(found: re.Match[str]) -> str:
    before = found.string[max(0, found.start() - 1) : found.start()]
    after = found.string[found.end() : found.end() + 1]
    return " " if before.isalnum() and after.isalnum() else ""


def _with_commas(lines: list[str], language: str) -> Iterator[str]:
    """The lines, where one stops without a mark and the next begins anew, with a comma after it."""
    for line, following in zip(lines, [*lines, ""][1:], strict=True):
        ends = line.rstrip(CLOSERS)[-1:] in MARKS or not has_words(line)
        goes_on = not following or following[0].islower()
        yield line if ends or goes_on else line + COMMAS.get(language, ",")
