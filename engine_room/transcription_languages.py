"""The languages Whisper knows, under all the names they are asked for by."""

import re
from collections.abc import Collection

from langcodes import Language, standardize_tag
from langcodes.tag_parser import LanguageTagError

from engine_room.errors import UnsupportedValue

# The codes of Whisper's tokens, each with the name that OpenAI's answers use.
NAMES = dict(
    item.replace("_", " ").split(":")
    for item in """
    en:english zh:chinese de:german es:spanish ru:russian ko:korean fr:french ja:japanese pt:portuguese
    tr:turkish pl:polish ca:catalan nl:dutch ar:arabic sv:swedish it:italian id:indonesian hi:hindi
    fi:finnish vi:vietnamese he:hebrew uk:ukrainian el:greek ms:malay cs:czech ro:romanian da:danish
    hu:hungarian ta:tamil no:norwegian th:thai ur:urdu hr:croatian bg:bulgarian lt:lithuanian la:latin
    mi:maori ml:malayalam cy:welsh sk:slovak te:telugu fa:persian lv:latvian bn:bengali sr:serbian
    az:azerbaijani sl:slovenian kn:kannada et:estonian mk:macedonian br:breton eu:basque is:icelandic
    hy:armenian ne:nepali mn:mongolian bs:bosnian kk:kazakh sq:albanian sw:swahili gl:galician mr:marathi
    pa:punjabi si:sinhala km:khmer sn:shona yo:yoruba so:somali af:afrikaans oc:occitan ka:georgian
    be:belarusian tg:tajik sd:sindhi gu:gujarati am:amharic yi:yiddish lo:lao uz:uzbek fo:faroese
    ht:haitian_creole ps:pashto tk:turkmen nn:nynorsk mt:maltese sa:sanskrit lb:luxembourgish my:myanmar
    bo:tibetan tl:tagalog mg:malagasy as:assamese tt:tatar haw:hawaiian ln:lingala ha:hausa ba:bashkir
    jw:javanese su:sundanese yue:cantonese
    """.split()
)
CODES = {name: code for code, name in NAMES.items()}
CODES |= {
    "burmese": "my",
    "valencian": "ca",
    "flemish": "nl",
    "haitian": "ht",
    "letzeburgesch": "lb",
}
CODES |= {"pushto": "ps", "panjabi": "pa", "moldavian": "ro", "moldovan": "ro", "sinhalese": "si"}
CODES |= {"castilian": "es", "mandarin": "zh", "farsi": "fa", "filipino": "tl"}
# Today's codes, where Whisper's are others.
CODES |= {"jv": "jw", "fil": "tl", "nb": "no"}


def language_code(name: str, known: Collection[str]) -> str | None:
    """Whisper's code for `en`, `en-US`, `EN_us`, `eng` or `English`, of those a model knows; None for none
    or `auto`. Raises UnsupportedValue."""
    lower = name.strip().lower()
    if lower in ("", "auto"):
        return None
    for code in (lower, CODES.get(lower), *_of_tag(lower)):
        if code in known:
            return code
    raise UnsupportedValue("language", name, sorted(known))


def _of_tag(tag: str) -> tuple[str, ...]:
    """The language of a tag with a region or a script, in two letters where it has them."""
    first = re.split("[-_.@]", tag)[0]
    try:
        language = Language.get(standardize_tag(first, macro=True)).language or ""
    except LanguageTagError:
        return ()
    return first, CODES.get(first, ""), language, CODES.get(language, "")
