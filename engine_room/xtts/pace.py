"""How long a text takes to say, so that a voice that never stops is stopped, and nobody else.

Knows no voice: the bounds hold for slow speakers and for fast ones. The rates are those of people
who read aloud; digits and symbols are words when they are said, of which the bounds make allowance.
"""

import math
import re
from dataclasses import dataclass

# A token of XTTS is 1,024 samples at 22,050 Hz, whatever rate its vocoder writes.
TOKEN_S = 1024 / 22050
# The positions the model has: 27.9 s.
MAX_AUDIO_TOKENS = 602
# The fastest and the slowest voice, by the time of the likeliest.
FASTEST = 0.5
SLOWEST = 2.2
LETTERS_PER_S = {
    "en": 14.5,
    "es": 15.5,
    "fr": 15.5,
    "de": 14.5,
    "it": 15.0,
    "pt": 14.5,
    "pl": 14.0,
    "tr": 13.5,
    "ru": 13.5,
    "nl": 15.0,
    "cs": 13.0,
    "ar": 11.0,  # written without its short vowels
    "hu": 13.5,
    "hi": 12.5,
}
DEFAULT_LETTERS_PER_S = 14.0  # Latin letters among Chinese, Japanese, Korean


@dataclass(frozen=True, slots=True)
class Expected:
    """The seconds a text takes: at least, most likely, at most."""

    min_s: float
    likely_s: float
    max_s: float


# Characters that take other times than a letter of the language's own script.
HAN = re.compile("[\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
KANA = re.compile("[\u3041-\u30ff\u31f0-\u31ff]")
HANGUL = re.compile("[\uac00-\ud7af]")
# "7" is a word, "97" in French four; "1000000" may be two words or seven digits.
DIGIT = re.compile(r"\d")
SYMBOL = re.compile(r"[%$€£¥₹#@&°+=/^*~<>|\\§_]")
# Said letter by letter, perhaps.
CAPITALS = re.compile(r"\b[A-ZÀ-ÞА-Я]{2,6}\b")
PAUSE = re.compile(r"[.!?…。！？।؟,;:，、；：،؛—–]+(?!\d)")
LETTER = re.compile(r"[^\W\d_]")
# Combining vowels of Hindi and Arabic are letters to the ear.
VOWEL_SIGN = re.compile("[\u0900-\u0903\u093a-\u094f\u0951-\u0957]")
ONE_DIGIT = Expected(0.12, 0.4, 1.0)
ONE_SYMBOL = Expected(0.0, 0.3, 1.3)
ONE_CAPITAL = Expected(0.0, 0.15, 0.5)
ONE_PAUSE = Expected(0.0, 0.25, 0.8)
# Before the first sound and after the last; the most is that of a word that is drawn out.
EDGES = Expected(0.05, 0.3, 1.5)


def expected(text: str, language: str) -> Expected:
    """How long a piece takes, by its characters. `language` is XTTS's code."""
    letters_s = _letters_s(text, language)
    parts = (
        (Expected(FASTEST * letters_s, letters_s, SLOWEST * letters_s), 1),
        (ONE_DIGIT, len(DIGIT.findall(text))),
        (ONE_SYMBOL, len(SYMBOL.findall(text))),
        (ONE_CAPITAL, sum(map(len, CAPITALS.findall(text)))),
        (ONE_PAUSE, len(PAUSE.findall(text))),
        (EDGES, 1),
    )
    return Expected(
        sum(part.min_s * count for part, count in parts),
        sum(part.likely_s * count for part, count in parts),
        sum(part.max_s * count for part, count in parts),
    )


def max_audio_tokens(text: str, language: str) -> int:
    """How many audio tokens a piece may take before something is wrong; what the model has at most."""
    return min(MAX_AUDIO_TOKENS, math.ceil(expected(text, language).max_s / TOKEN_S))


def _letters_s(text: str, language: str) -> float:
    num_han, num_kana = len(HAN.findall(text)), len(KANA.findall(text))
    num_hangul = len(HANGUL.findall(text))
    num_others = len(LETTER.findall(text)) - num_han - num_kana - num_hangul
    num_others += len(VOWEL_SIGN.findall(text))
    # A Han character is one syllable in Chinese, about two in Japanese, whose syllables are shorter.
    return (
        num_han * 0.25
        + num_kana * 0.13
        + num_hangul * 0.18
        + num_others / LETTERS_PER_S.get(language, DEFAULT_LETTERS_PER_S)
    )
