"""What a request's `instructions` ask for in plain English, as far as any voice can do it.

A few words for pace, pitch and pauses are understood, with what makes them stronger, weaker or void; all
else is ignored. "Not too fast" is void, not slow: who wants it slow says so.
"""

import re
from dataclasses import dataclass

MIN_RATIO, MAX_RATIO = 0.5, 2.0
# Ratio: the words that ask for it; "_" joins the words of a phrase.
PACE = {
    0.75: "slow slowly slower take_your_time take_time drawl drawling",
    0.85: "unhurried unhurriedly leisurely sleepy sleepily tired weary drowsy whisper whispers whispering "
    "whispered measured deliberate deliberately meditative hypnotic",
    0.92: "calm calmly soothing soothingly relaxed sad sadly solemn solemnly somber sombre melancholic "
    "gentle gently thoughtful serious seriously bedtime_story",
    1.08: "cheerful cheerfully happy happily excited excitedly enthusiastic enthusiastically energetic "
    "energetically lively upbeat playful angry angrily joyful joyfully brisk briskly",
    1.3: "fast faster quick quickly quicker rapid rapidly hurried hurriedly hurry hurrying rush rushed "
    "rushing urgent urgently speed_up sports_commentator auctioneer",
}
PITCH = {
    0.85: "low-pitched lower-pitched deep-voiced baritone",
    0.92: "gruff gruffly husky gravelly sad sadly solemn somber sombre tired weary old_man",
    1.06: "cheerful cheerfully happy happily excited excitedly enthusiastic enthusiastically joyful "
    "joyfully playful surprised",
    1.2: "high-pitched higher-pitched squeaky childlike like_a_child like_a_kid little_girl "
    "little_boy falsetto",
}
PAUSE = {1.25: "pausing pause_often pause_between pauses_between pause_after pauses_after"}
# These count only near to one of the nouns: "a deep, warm voice", "Pitch: low", but not "deep sorrow".
PITCH_ADJECTIVES = {0.85: "deep deeper low lower lowered bass", 1.18: "high higher raised"}
PITCH_NOUNS = frozenset("voice tone pitch register".split())
PAUSE_ADJECTIVES = {
    1.6: "long longer lengthy dramatic extended generous",
    1.3: "frequent more many clear natural",
    0.7: "short shorter brief fewer minimal small quick few",
    0.5: "no",
}
PAUSE_NOUNS = frozenset("pause pauses break breaks silence silences gap gaps".split())
# How often a ratio is multiplied.
DEGREES = {
    1.6: "very really extremely super much so especially",
    0.5: "slightly somewhat little bit touch mildly moderately fairly",
}
NEGATIONS = frozenset(
    "not no never without avoid avoiding don't dont doesn't shouldn't isn't aren't won't can't cannot nor "
    "neither too less stop than".split()
)
STOPS = frozenset(".;:!?\n")
ENDS_OF_NEGATION = STOPS | {",", "and", "but", "instead", "just"}
# Words between a negation, a degree, a noun, and what it is about.
NEGATION_REACH, DEGREE_REACH, NOUN_REACH = 8, 3, 4
TOKEN = re.compile(r"[^\W\d_]+(?:['-][^\W\d_]+)*|[,.;:!?\n]")


@dataclass(frozen=True, slots=True)
class Manner:
    """How something is to be said: multiples of the voice's own pace, pitch and pauses, each 0.5…2."""

    pace_ratio: float = 1.0
    pitch_ratio: float = 1.0
    pause_ratio: float = 1.0


@dataclass(frozen=True, slots=True)
class _Phrase:
    """Words that ask for something, and, if not empty, the nouns that must follow soon."""

    words: tuple[str, ...]
    aspect: str
    ratio: float
    nouns: frozenset[str] = frozenset()


def manner(instructions: str) -> Manner:
    """The manner that is asked for. Of several words for one thing, as "slow and unhurried", the strongest
    counts; opposite ones balance."""
    words = TOKEN.findall(instructions.lower().replace("’", "'"))
    least = {"pace": 1.0, "pitch": 1.0, "pause": 1.0}
    most = dict(least)
    for at, word in enumerate(words):
        for phrase in PHRASES.get(word, ()):
            if _is_said(words, at, phrase):
                ratio = phrase.ratio ** _degree(words, at, phrase)
                least[phrase.aspect] = min(least[phrase.aspect], ratio)
                most[phrase.aspect] = max(most[phrase.aspect], ratio)
    ratios = (min(max(least[key] * most[key], MIN_RATIO), MAX_RATIO) for key in least)
    return Manner(*(round(ratio, 3) for ratio in ratios))


def _is_said(words: list[str], at: int, phrase: _Phrase) -> bool:
    end = at + len(phrase.words)
    if tuple(words[at:end]) != phrase.words:
        return False
    return not phrase.nouns or any(
        _is_near(near, phrase.nouns)
        for near in (words[end : end + NOUN_REACH], words[max(0, at - NOUN_REACH) : at][::-1])
    )


def _is_near(words: list[str], nouns: frozenset[str]) -> bool:
    """Whether one of the nouns comes before the sentence ends; a colon is no end, as in "Pitch: low"."""
    for word in words:
        if word in STOPS and word != ":":
            return False
        if word in nouns:
            return True
    return False


def _degree(words: list[str], at: int, phrase: _Phrase) -> float:
    """How much of it is meant: 1 as it says, 0 not at all."""
    degree = 1.0
    for distance, word in enumerate(reversed(words[max(0, at - NEGATION_REACH) : at]), 1):
        if word in ENDS_OF_NEGATION:
            break
        if word in NEGATIONS:
            return 0.0
        if distance <= DEGREE_REACH:
            degree = DEGREE_OF.get(word, degree)
    return degree


DEGREE_OF = {word: degree for degree, words in DEGREES.items() for word in words.split()}


def _phrases() -> dict[str, list[_Phrase]]:
    """Every phrase by its first word."""
    tables = [
        ("pace", PACE, frozenset()),
        ("pitch", PITCH, frozenset()),
        ("pitch", PITCH_ADJECTIVES, PITCH_NOUNS),
        ("pause", PAUSE, frozenset()),
        ("pause", PAUSE_ADJECTIVES, PAUSE_NOUNS),
    ]
    by_word: dict[str, list[_Phrase]] = {}
    for aspect, table, nouns in tables:
        for ratio, phrases in table.items():
            for phrase in phrases.split():
                words = tuple(phrase.split("_"))
                by_word.setdefault(words[0], []).append(_Phrase(words, aspect, ratio, nouns))
    return by_word


PHRASES = _phrases()
