"""Numbers written so that XTTS's cleaners read them: those of coqui-tts 0.28 with num2words 0.5.14 fail
on some and misread others.

Knows only digits and what stands beside them. A rule may go when the cleaners read its example.
"""

import re

# German and Czech write an ordinal with a dot, and so the cleaners read a year that ends a sentence.
ENDS_NO_ORDINAL = ((r"(?<=\d)\.$", " ."), (r"(?<=\d\d\d)\.(?=\s)", " ."))
RULES = {
    language: [(re.compile(pattern), replacement) for pattern, replacement in rules]
    for language, rules in {
        "de": ENDS_NO_ORDINAL,
        # num2words has no Czech ordinals: "3. května" fails.
        "cs": (*ENDS_NO_ORDINAL, (r"(?<=\d)\.(?=\s)", "")),
        # Large numbers with a fraction never end (RecursionError), long fractions have no name.
        "hu": (*ENDS_NO_ORDINAL, (r"(?<=\d{7})[.,](?=\d)|(?<=\d)[.,](?=\d{4})", " egész ")),
        # "3.14" is read as "third 14".
        "tr": (*ENDS_NO_ORDINAL, (r"(?<=\d)\.(?=\d+)(?!\d{3}(?!\d))", ",")),
        # "100번" fails (KeyError), "100 번" does not.
        "ko": ((r"(\d{3,})(?=번|차|째)", r"\1 "),),
        # "1,000" is read as "one,".
        "zh-cn": ((r"(?<=\d),(?=\d{3}(?!\d))", ""),),
    }.items()
}
# "0th" and ordinals of millions fail in some languages: a number and a word are read everywhere.
ODD_ORDINAL = re.compile(r"(?<![\d.,])(0+|\d{7,})(?=[^\W\d_]|[ºª°])")
# All but the English and the Russian cleaners drop the dot, and the digits become one number too many.
LONG_DOTTED = re.compile(r"(\d{7,})\.(?=\d)")
# Python writes such a fraction as 1e-05, which num2words does not read.
TINY_FRACTION = re.compile(r"(?<=\d)([.,])(0{4,}\d*)")
DIGITS = re.compile(r"\d(?:[\d.,:/-]*\d)?")
# num2words knows no Hindi at all.
HINDI_NUMBER = re.compile(r"(\d{1,3}(?:,\d{2,3})*,\d{3}(?!\d)|\d+)(?:\.(\d+))?")
HINDI = (
    "शून्य एक दो तीन चार पाँच छह सात आठ नौ दस ग्यारह बारह तेरह चौदह पंद्रह सोलह सत्रह अठारह उन्नीस "
    "बीस इक्कीस बाईस तेईस चौबीस पच्चीस छब्बीस सत्ताईस अट्ठाईस उनतीस "
    "तीस इकतीस बत्तीस तैंतीस चौंतीस पैंतीस छत्तीस सैंतीस अड़तीस उनतालीस "
    "चालीस इकतालीस बयालीस तैंतालीस चौवालीस पैंतालीस छियालीस सैंतालीस अड़तालीस उनचास "
    "पचास इक्यावन बावन तिरपन चौवन पचपन छप्पन सत्तावन अट्ठावन उनसठ "
    "साठ इकसठ बासठ तिरसठ चौंसठ पैंसठ छियासठ सड़सठ अड़सठ उनहत्तर "
    "सत्तर इकहत्तर बहत्तर तिहत्तर चौहत्तर पचहत्तर छिहत्तर सतहत्तर अठहत्तर उनासी "
    "अस्सी इक्यासी बयासी तिरासी चौरासी पचासी छियासी सत्तासी अट्ठासी नवासी "
    "नब्बे इक्यानवे बानवे तिरानवे चौरानवे पचानवे छियानवे सत्तानवे अट्ठानवे निन्यानवे"
).split()
HINDI_UNITS = {
    10**13: "नील",
    10**11: "खरब",
    10**9: "अरब",
    10**7: "करोड़",
    10**5: "लाख",
    10**3: "हज़ार",
    10**2: "सौ",
}


def readable(text: str, language: str) -> str:
    """The text with its numbers as the library's cleaners read them right. `language` is XTTS's code."""
    for pattern, replacement in RULES.get(language, ()):
        text = pattern.sub(replacement, text)
    if language == "hi":
        return HINDI_NUMBER.sub(_number_in_hindi, text)
    if language in ("ja", "zh-cn"):  # other cleaners, without these faults
        return text
    if language not in ("en", "ru"):
        text = LONG_DOTTED.sub(r"\1, ", text)
    text = TINY_FRACTION.sub(lambda found: f"{found[1]} {' '.join(found[2])}", text)
    return ODD_ORDINAL.sub(r"\1 ", text)


def digit_by_digit(text: str) -> str:
    """The text without numbers of more than a digit, for cleaners that fail on what nobody foresaw."""
    return DIGITS.sub(lambda found: f" {' '.join(filter(str.isdigit, found[0]))} ", text)


def _number_in_hindi(number: re.Match[str]) -> str:
    words = in_hindi(int(number[1].replace(",", "")))
    if number[2]:
        words = " ".join([words, "दशमलव", *(HINDI[int(digit)] for digit in number[2])])
    before = number.string[max(0, number.start() - 1) : number.start()]
    after = number.string[number.end() : number.end() + 1]
    return f"{' ' * before.isalpha()}{words}{' ' * after.isalpha()}"


def in_hindi(number: int) -> str:
    """A whole number in words, from 0 on."""
    words = []
    for unit, name in HINDI_UNITS.items():
        if number >= unit:
            words += [in_hindi(number // unit), name]
            number %= unit
    return " ".join([*words, HINDI[number]] if number or not words else words)
