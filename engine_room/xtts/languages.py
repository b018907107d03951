"""The seventeen languages XTTS speaks, under all the names they are asked for by.

Knows no model: how a text becomes tokens is not told here.
"""

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass

from engine_room.errors import InvalidRequest, quoted
from engine_room.language_guess import guess


@dataclass(frozen=True, slots=True)
class Language:
    """A language's English name, and the longest text in it that one call of XTTS speaks whole."""

    name: str
    max_chars: int


# The limits are those of XTTS's own tokenizer, beyond which it warns that sound may be missing.
LANGUAGES = {
    "en": Language("English", 250),
    "es": Language("Spanish", 239),
    "fr": Language("French", 273),
    "de": Language("German", 253),
    "it": Language("Italian", 213),
    "pt": Language("Portuguese", 203),
    "pl": Language("Polish", 224),
    "tr": Language("Turkish", 226),
    "ru": Language("Russian", 182),
    "nl": Language("Dutch", 251),
    "cs": Language("Czech", 186),
    "ar": Language("Arabic", 166),
    "zh-cn": Language("Chinese", 82),
    "hu": Language("Hungarian", 224),
    "ko": Language("Korean", 95),
    "ja": Language("Japanese", 71),
    "hi": Language("Hindi", 150),
}
# Beside the codes and English names above: ISO 639-2 in both spellings, and the languages' own names.
SPELLINGS = {
    "en": "eng",
    "es": "spa castilian español espanol",
    "fr": "fra fre français francais",
    "de": "deu ger deutsch",
    "it": "ita italiano",
    "pt": "por português portugues",
    "pl": "pol polski",
    "tr": "tur türkçe turkce",
    "ru": "rus русский",
    "nl": "nld dut nederlands flemish",
    "cs": "ces cze čeština cestina",
    "ar": "ara العربية",
    "zh-cn": "zh zho chi cmn mandarin 中文 汉语 漢語 普通话",
    "hu": "hun magyar",
    "ko": "kor 한국어",
    "ja": "jpn 日本語",
    "hi": "hin हिन्दी हिंदी",
}
CODES = {
    name: code
    for code, language in LANGUAGES.items()
    for name in (code, language.name.casefold(), *SPELLINGS[code].split())
}
# A name and what may follow it: en-US, en_us, zh-Hans-CN, en_US.UTF-8.
TAG = re.compile(r"([^\s_.@-]+)(?:[-_.@][\w.@-]*)?")
# A script that only one of the languages is written in. Han is Japanese where kana stand beside it.
SCRIPTS = {
    "ja": re.compile("[\u3041-\u30ff\u31f0-\u31ff\uff66-\uff9d]"),
    "zh-cn": re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"),
    "ko": re.compile("[\u1100-\u11ff\u3130-\u318f\uac00-\ud7af]"),
    "ar": re.compile("[\u0620-\u064a\u066e-\u06d3\u0750-\u077f\ufb50-\ufdff\ufe70-\ufefc]"),
    "hi": re.compile("[\u0904-\u0939\u0958-\u0961]"),
    "ru": re.compile("[\u0400-\u052f]"),
    "": re.compile("[A-Za-z\u00aa-\u024f\u1e00-\u1eff]"),
}
# One of these characters is a syllable at least, as are three letters of the other scripts.
SYLLABIC = ("ja", "zh-cn", "ko")
LETTERS_A_SYLLABLE = 3
LATIN = ("en", "es", "fr", "de", "it", "pt", "pl", "tr", "nl", "cs", "hu")
# Below this many letters, or this probability, a guess among Latin languages is too often wrong; a
# greeting of two words is told, a foreign name alone is not.
MIN_LETTERS_TO_TELL = 8
SURE = 0.97
# A language shows soon; more text only takes more time.
MAX_CHARS_TO_TELL = 2000


def language_code(asked: str) -> str:
    """XTTS's code of a language: `EN`, `en_us`, `eng` and `English` are `en`; "" and `auto` are "".

    Raises InvalidRequest for what is none of the seventeen.
    """
    name = asked.strip().casefold()
    if name in ("", "auto"):
        return ""
    tag = TAG.fullmatch(name)
    code = CODES.get(tag[1]) if tag else None
    if code is None:
        known = ", ".join(f"{code} ({language.name})" for code, language in LANGUAGES.items())
        raise InvalidRequest(
            f"language {quoted(asked)} is none that a cloned voice speaks; use one of: {known}.",
            param="language",
            code="unsupported_language",
        )
    return code


def language_of(text: str, asked: str, voice_language: str, default: str) -> str:
    """The code of the language to speak in: the request's, else the voice's, else the default, else
    what the text looks like, else English.

    Raises InvalidRequest for a language that XTTS does not speak, whoever named it.
    """
    for name in (asked, voice_language, default):
        if code := language_code(name):
            return code
    return _looks_like(text[:MAX_CHARS_TO_TELL]) or "en"


def check_script(text: str) -> None:
    """Raise InvalidRequest for a text all of whose letters are foreign to every language here, as Thai is;
    XTTS has no tokens for them, and would make noise."""
    letter = next((char for char in text if char.isalpha()), "")
    is_spoken = any(script.search(text) for script in SCRIPTS.values())
    if letter and not is_spoken and not any(map(str.isdigit, text)):
        known = ", ".join(language.name for language in LANGUAGES.values())
        raise InvalidRequest(
            f"input is written in letters that no cloned voice speaks, such as {quoted(letter)} "
            f"({unicodedata.name(letter, 'unnamed')}); the languages are: {known}.",
            param="input",
            code="unsupported_language",
        )


def _looks_like(text: str) -> str:
    """The language the text is written in, or "" where that cannot be told."""
    letters = Counter({code: len(script.findall(text)) for code, script in SCRIPTS.items()})
    for code in SYLLABIC:
        letters[code] *= LETTERS_A_SYLLABLE
    if letters["ja"]:
        letters["ja"] += letters.pop("zh-cn")
    [(code, num_letters)] = letters.most_common(1)
    if code or num_letters < MIN_LETTERS_TO_TELL:
        return code if num_letters else ""
    found = guess(text, LATIN)
    return found.language if found.probability >= SURE else ""
