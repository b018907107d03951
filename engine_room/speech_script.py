"""The text of a request as lines that are spoken one after the other, each with its voice, pace and pause.

Understands `[pause:1.5s]`, `[voice:nova]` and the part of SSML that is safe to take from anybody. Knows no
voice and no engine. No XML parser reads the text: one of those can be made to fill the memory by a few
entities; here one pattern is matched once over the text, and what it does not find stays text.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from num2words import CONVERTER_CLASSES, num2words

from engine_room.errors import InvalidRequest, UnsupportedValue, quoted
from engine_room.speech_markdown import readable, without_thoughts

MAX_PAUSE_S, MAX_PAUSES_S = 60.0, 600.0
MIN_PACE_RATIO, MAX_PACE_RATIO = 0.25, 4.0
MAX_NUMBER_DIGITS = 15  # more have no name that anybody knows
PACES = {"x-slow": 0.5, "slow": 0.75, "medium": 1.0, "default": 1.0, "fast": 1.25, "x-fast": 1.6}
BREAKS_S = {"none": 0, "x-weak": 0.15, "weak": 0.3, "medium": 0.5, "strong": 0.8, "x-strong": 1.2}
# Each alternative begins with a sign of its own and stops at the next of that sign, so that no text is
# scanned twice. A command after "\" or before "(" (a link of markdown) is text; so is everything in code.
TAG_REST = r"""(?:[^<>"']|"[^"<]*"|'[^'<]*')*"""
COMMAND = re.compile(
    rf"""^[ ]{{0,3}}(?P<fence>`{{3,}}|~{{3,}})
    | (?<!`)(?P<ticks>`{{1,2}})(?!`)[^`\n]*(?P=ticks)(?!`)
    | <!--(?:.*?-->|.*)
    | (?<!\\)\[pause:(?P<pause>[^][\n]*)\](?!\()
    | (?<!\\)\[(?:(?P<voice_end>/voice)|voice:(?P<voice>[^][\n]*))\](?!\()
    | <break(?P<break>\b(?!-){TAG_REST})>
    | <prosody(?P<prosody>\b(?!-){TAG_REST})>
    | (?P<prosody_end></prosody\s*>)
    | <(?P<element>sub|say-as)(?P<attributes>\b(?!-){TAG_REST})>(?P<content>[^<]*)</(?P=element)\s*>
    """,
    re.VERBOSE | re.MULTILINE | re.DOTALL | re.IGNORECASE,
)
ATTRIBUTE = re.compile(r"""([\w:-]+)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'/>]+))""")
TIME = re.compile(r"\+?(\d+\.?\d*|\.\d+)\s*(ms|milliseconds?|s|secs?|seconds?)?", re.ASCII | re.I)
RATE = re.compile(r"([+-]?)(\d+\.?\d*|\.\d+)\s*(%?)", re.ASCII)
SEPARATORS = re.compile(r"[\s()./,-]+")
DATE_ORDERS = {"mdy": (2, 0, 1), "dmy": (2, 1, 0), "ymd": (0, 1, 2), "ydm": (0, 2, 1)}


@dataclass(frozen=True, slots=True)
class Line:
    """What one voice says at one pace, and the silence after it. Without a text it is only the silence.

    `voice` is the name in the text; empty: the request's. `pace_ratio` multiplies the request's speed.
    """

    text: str
    voice: str = ""
    pace_ratio: float = 1.0
    pause_s: float = 0.0


def script(text: str, language: str = "en") -> list[Line]:
    """The lines of a text, readable. Without commands it is one line; where there is nothing to say there
    are none, or only pauses.

    `language` is what numbers in `say-as` are written out in. Raises InvalidRequest for a time or a rate
    that is none, or that is out of bounds.
    """
    writer = _Writer(language)
    for found in _parts(without_thoughts(text)):
        writer.write(found) if isinstance(found, str) else writer.obey(found)
    return _lines(writer.drafts, code_alone=False) or _lines(writer.drafts, code_alone=True)


def _parts(text: str) -> Iterator[str | re.Match[str]]:
    """The text in order: commands, and what is between them."""
    start, fence = 0, ""
    for found in COMMAND.finditer(text):
        marks = found["fence"]
        if fence:
            fence = "" if marks and marks.startswith(fence) else fence
        elif marks:
            fence = marks
        elif found.lastgroup not in (None, "ticks"):
            yield text[start : found.start()]
            yield found
            start = found.end()
    yield text[start:]


@dataclass(slots=True)
class _Draft:
    """A line that is being written, not yet readable."""

    voice: str
    pace_ratio: float
    parts: list[str] = field(default_factory=list)
    pause_s: float = 0.0


class _Writer:
    """Takes text and commands in order. A command that changes nothing begins no new line."""

    def __init__(self, language: str) -> None:
        self.drafts: list[_Draft] = []
        self._language = language
        self._voice = ""
        self._paces = [1.0]
        self._pauses_s = 0.0

    def write(self, text: str) -> None:
        if text:
            self._draft(is_blank=text.isspace()).parts.append(text)

    def obey(self, command: re.Match[str]) -> None:
        kind = command.lastgroup
        if kind == "pause":
            self._pause(_seconds(command["pause"]))
        elif kind == "break":
            self._pause(_break_s(_attributes(command["break"])))
        elif kind in ("voice", "voice_end"):
            self._voice = (command["voice"] or "").strip()
        elif kind == "prosody":
            if not command["prosody"].endswith("/"):
                self._paces.append(_pace(_attributes(command["prosody"]), self._paces[-1]))
        elif kind == "prosody_end":
            del self._paces[max(1, len(self._paces) - 1) :]  # the request's own stays
        elif command["element"].lower() == "sub":
            self.write(_attributes(command["attributes"]).get("alias") or command["content"])
        else:
            attributes = _attributes(command["attributes"])
            self.write(_said_as(command["content"], attributes, self._language))

    def _pause(self, pause_s: float) -> None:
        self._pauses_s += pause_s
        if self._pauses_s > MAX_PAUSES_S:
            raise _refused(f"The pauses in input make more than {MAX_PAUSES_S:g} seconds in all")
        if pause_s:
            self._draft(is_blank=True).pause_s += pause_s

    def _draft(self, *, is_blank: bool) -> _Draft:
        """The line to go on with; what is blank goes with whatever is there."""
        last = self.drafts[-1] if self.drafts else None
        manner = (self._voice, self._paces[-1], 0.0)
        if last and (is_blank or (last.voice, last.pace_ratio, last.pause_s) == manner):
            return last
        self.drafts.append(_Draft(*manner[:2]))
        return self.drafts[-1]


def _lines(drafts: list[_Draft], *, code_alone: bool) -> list[Line]:
    """What is readable of the drafts; what is not leaves its pause."""
    lines: list[Line] = []
    for draft in drafts:
        text = readable("".join(draft.parts), code_alone=code_alone)
        line = Line(text, draft.voice, draft.pace_ratio, draft.pause_s)
        last = lines[-1] if lines else None
        if last and not text:
            lines[-1] = replace(last, pause_s=last.pause_s + line.pause_s)
        elif last and replace(last, text=text, pause_s=line.pause_s) == line and not last.pause_s:
            lines[-1] = replace(line, text=f"{last.text}\n{text}")
        elif text or line.pause_s:
            lines.append(line)
    return lines if any(line.text for line in lines) or code_alone else []


def _attributes(tag: str) -> dict[str, str]:
    """The attributes of a tag, what is not one left out."""
    return {
        found[1].lower(): next(filter(None, found.groups()[1:]), "").strip()
        for found in ATTRIBUTE.finditer(tag)
    }


def _seconds(time: str) -> float:
    found = TIME.fullmatch(time.strip())
    if not found:
        raise _refused(
            f"The pause {quoted(time)} in input is not a time; write seconds or milliseconds, as in "
            "[pause:1.5s], [pause:500ms]"
        )
    seconds = float(found[1]) / (1000 if (found[2] or "s").lower().startswith("m") else 1)
    if seconds > MAX_PAUSE_S:
        raise _refused(
            f"The pause {quoted(time)} in input is longer than {MAX_PAUSE_S:g} seconds, the most for one"
        )
    return seconds


def _break_s(attributes: dict[str, str]) -> float:
    if time := attributes.get("time"):
        return _seconds(time)
    strength = attributes.get("strength") or "medium"
    if strength.lower() not in BREAKS_S:
        raise UnsupportedValue("input", f'<break strength="{strength}">', BREAKS_S)
    return BREAKS_S[strength.lower()]


def _pace(attributes: dict[str, str], pace_ratio: float) -> float:
    """The pace that a prosody tag asks for, at a pace: a word is absolute, a number multiplies."""
    rate = attributes.get("rate")
    if not rate:
        return pace_ratio
    if rate.lower() in PACES:
        return PACES[rate.lower()]
    found = RATE.fullmatch(rate)
    if not found or (found[1] == "-" and not found[3]):
        raise _refused(
            f"The prosody rate {quoted(rate)} in input is none; write one of {', '.join(PACES)}, or a "
            "number as in 1.2, 120%, +20%, -10%"
        )
    sign, number, percent = found.groups()
    ratio = float(number) / (100 if percent else 1)
    # "+0.2" without a percent sign is taken for a number of its own, as SSML 1.0 has it for "+20%".
    pace_ratio *= 1 + ratio * (-1 if sign == "-" else 1) if sign else ratio
    if not MIN_PACE_RATIO <= pace_ratio <= MAX_PACE_RATIO:
        raise _refused(
            f"The prosody rate {quoted(rate)} in input makes a pace of {pace_ratio:.3g}; from "
            f"{MIN_PACE_RATIO:g} to {MAX_PACE_RATIO:g} times can be spoken"
        )
    return round(pace_ratio, 6)


def _refused(message: str) -> InvalidRequest:
    return InvalidRequest(f"{message}.", param="input")


def _said_as(content: str, attributes: dict[str, str], language: str) -> str:
    """What is between the tags of a say-as, written so that it is read like that."""
    match attributes.get("interpret-as", "").lower():
        case "characters" | "spell-out" | "verbatim":
            return " ".join("".join(content.upper().split()))
        case "digits":
            return " ".join("".join(content.split()))
        case "telephone":
            groups = filter(None, SEPARATORS.split(content))
            return ", ".join(" ".join(group).replace("+ ", "+") for group in groups)
        case "cardinal" | "number":
            return _in_words(content, language, "cardinal")
        case "ordinal":
            return _in_words(content, language, "ordinal")
        case "date":
            return _date(content, attributes.get("format", "").lower())
    return content  # the engine's own reading of numbers knows times, units and the like


def _in_words(number: str, language: str, kind: str) -> str:
    """A whole number in words, or as it was where there are none."""
    digits = number.strip().replace(",", "")
    code = re.split("[-_]", language.lower())[0]
    is_whole = re.fullmatch(rf"-?\d{{1,{MAX_NUMBER_DIGITS}}}", digits, re.ASCII)
    if not is_whole or code not in CONVERTER_CLASSES or (kind == "ordinal" and digits[0] == "-"):
        return number
    try:
        return str(num2words(int(digits), lang=code, to=kind))
    except (NotImplementedError, OverflowError):  # some languages have no ordinals
        return number


def _date(date: str, order: str) -> str:
    """A date as year-month-day, which engines read whatever their country."""
    numbers = [part for part in SEPARATORS.split(date) if part]
    if order not in DATE_ORDERS or len(numbers) != 3 or not all(map(str.isdecimal, numbers)):
        return date
    year, month, day = (numbers[at] for at in DATE_ORDERS[order])
    return f"{year:0>4}-{month:0>2}-{day:0>2}"
