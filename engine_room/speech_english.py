"""English as it is read out, where the default voice's own normaliser reads it wrongly or not at all.

What that reads well (years, ordinals, times, most units and abbreviations) is left to it, and digits stay
digits where it reads them right. A rule may go when the voice reads its example in the tests.
"""

import re
from collections.abc import Callable, Iterable

from num2words import num2words

from engine_room import english_words as en

Replacement = str | Callable[[re.Match[str]], str]
NUMBER = r"\d+(?:,\d{3})*(?:\.\d+)?"


def written_out(text: str) -> str:
    """English text with what the voice would misread written as it is said."""
    for pattern, replacement in RULES:
        text = pattern.sub(replacement, text)
    return text


def _any_of(words: Iterable[str]) -> str:
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))


def _word(found: re.Match[str]) -> str:
    """Said in full; a dot that ends the text too stays."""
    ends = found[1].endswith(".") and found.end() == len(found.string)
    return en.WORDS[found[1]] + "." * ends


def _spelled(found: re.Match[str]) -> str:
    """An address or a file name as people dictate it."""
    said = []
    for part in re.findall(r"[^\W\d_]+|\d+|.", found["address"].rstrip("/"), re.DOTALL):
        low = part.lower()
        if part.isdigit():
            said.append(" ".join(part) if part[0] == "0" or len(part) > 4 else part)
        elif not part.isalpha():
            said.append(en.ADDRESS_SIGNS.get(part, " "))
        elif low in en.ADDRESS_WORDS:
            said.append(en.ADDRESS_WORDS[low])
        elif len(part) == 1 or low in en.SPELLED_IN_ADDRESSES or not re.search("[aeiouy]", low):
            said.append(" ".join(part.upper()))
        else:
            said.append(low if part.isupper() and len(part) > 4 else part)
    return " ".join(" ".join(said).split())


def _ip(found: re.Match[str]) -> str:
    return found[1].replace(".", " dot ") + (f", port {found[2]}" if found[2] else "")


def _version(found: re.Match[str]) -> str:
    name = "version " if (found[1] or "").lower().endswith("v") else found[1] or ""
    numbers = (" ".join(part) if part[0] == "0" else part for part in found[2].split("."))
    return name + " point ".join(numbers)


def _phone(found: re.Match[str]) -> str:
    groups = [" ".join(group) for group in re.findall(r"\d+", found[0])]
    return ("plus " if "+" in found[0] else "") + ", ".join(groups)


def _grouped(digits: str) -> str:
    """With a comma, so that it is not read as a year."""
    return f"{digits[0]},{digits[1:]}" if len(digits) == 4 else digits


def _counted(amount: int | str, names: str) -> str:
    """So many of something, whose name is "foot|feet" or, where an s makes more of one, "meter"."""
    one, _, more = names.partition("|")
    return f"{amount} {one if str(amount) == '1' else more or one + 's'}"


def _amount(number: str, magnitude: str | None, currency: str) -> str:
    unit, _, hundredth = currency.partition(" & ")
    whole, _, fraction = number.replace(",", "").partition(".")
    if magnitude:
        return _counted(f"{number} {en.MAGNITUDES[magnitude.strip().lower()]}", unit)
    if len(fraction) > 2 or (fraction and not hundredth):
        return _counted(number, unit)
    cents = int(fraction.ljust(2, "0"))
    parts = (
        [_counted(_grouped(whole.lstrip("0") or "0"), unit)]
        if whole.strip("0") or not cents
        else []
    )
    return " and ".join([*parts, _counted(cents, hundredth)] if cents else parts)


def _money(found: re.Match[str]) -> str:
    currency = en.CURRENCIES[found["sign"]]
    said = _amount(found["number"], found["magnitude"], currency)
    if found["to"]:
        magnitude = found["magnitude"] or ""
        if magnitude:
            magnitude = f" {en.MAGNITUDES[magnitude.strip().lower()]}"
        most = _amount(found["to"], found["to_magnitude"], currency)
        said = f"{found['number']}{magnitude} to {most}"
    return "minus " * bool(found["minus"] or found["inner"]) + said


def _duration(found: re.Match[str]) -> str:
    names = {"h": "hour", "m": "minute", "s": "second"}
    parts = re.findall(r"(\d+) ?([hms])", found[0])
    return " ".join(_counted(number, names[unit]) for number, unit in parts)


def _seconds(found: re.Match[str]) -> str:
    return (
        found[0] if found[1] and found[2].endswith("0") else f"{found[1] or ''}{found[2]} seconds"
    )


def _some_seconds(found: re.Match[str]) -> str:
    return _counted(found[1] or found[2], "second")


def _power(found: re.Match[str]) -> str:
    power = found[2].translate(en.SUPERSCRIPTS)
    if power in ("2", "3"):
        return f"{found[1]} {'squared' if power == '2' else 'cubed'}"
    return f"{found[1]} to the power of {power.replace('-', 'minus ')}"


def _scientific(found: re.Match[str]) -> str:
    return f"{found[1]} times 10 to the power of {'minus ' * (found[2] == '-')}{int(found[3])}"


def _roman(found: re.Match[str]) -> str:
    value = en.ROMAN[found[2]]
    is_ruler = found[1] in en.RULERS
    return f"{found[1]} the {_ordinal(value)}" if is_ruler else f"{found[1]} {value}"


def _calm(found: re.Match[str]) -> str:
    words = found[0].split()
    return " ".join(
        word if word in en.ACRONYMS or not re.search("[AEIOUY]", word) else word.lower()
        for word in words
    )


def _ordinal(number: int | str) -> str:
    return str(num2words(int(number), to="ordinal"))


def _date(year: str, month: str, day: str) -> str:
    """As year-month-day, which the voice reads, if it is a date."""
    is_date = 1 <= int(month) <= 12 and 1 <= int(day) <= 31
    return f"{year}-{month:0>2}-{day:0>2}" if is_date else f"{year} point {month} point {day}"


def _thousands(found: re.Match[str]) -> str:
    return re.sub(r"[^\d]", ",", found[0])


_MAGNITUDE = rf"(?: ?(?:{_any_of(word for word in en.MAGNITUDES if len(word) > 1)})|[kKmMbBtT])\b"
_MONEY = (
    rf"(?:(?<!\w)(?P<minus>[-−]))?(?<!\w)(?P<sign>{_any_of(en.CURRENCIES)}) ?"
    rf"(?P<inner>[-−])?(?P<number>{NUMBER})"
    rf"(?P<magnitude>{_MAGNITUDE})?"
    rf"(?: ?[-–—] ?(?:{_any_of(en.CURRENCIES)})?(?P<to>{NUMBER})(?P<to_magnitude>{_MAGNITUDE})?)?"
)
_MORE = r"(?![\w-]|\.\w)"  # what an address or a number does not end before
_PATH = r"(?:/[^\s?#<>\"]*[\w/])?"
_QUERY = r"(?:[?#][^\s<>\"]*[\w/=&%])?"  # for machines: not said
_LENGTHS = rf"(?:{'|'.join(en.LENGTHS)})\b"
_DOMAINS, _FILES = (_any_of(words.split()) for words in (en.DOMAINS, en.FILES))

# In order: addresses before anything in them is touched, then what has the most signs.
_TABLE: list[tuple[str, Replacement]] = [
    (rf"\b(?:https?|ftp)://(?:www\.)?(?P<address>[^\s/?#<>\"]*\w{_PATH}){_QUERY}", _spelled),
    (r"(?<![\w.+-])(?P<address>[\w.+-]+@[\w-]+(?:\.[\w-]+)+)", _spelled),
    (
        rf"(?<![\w@.-])(?:www\.)?(?P<address>(?:[\w-]+\.)+(?:{_DOMAINS}){_MORE}{_PATH}){_QUERY}",
        _spelled,
    ),
    (r"(?<![\w\\])(?P<address>[A-Za-z]:\\[\w\\.-]*\w)", _spelled),
    (r"(?<![\w/.~])(?P<address>~?(?:/[\w.-]*\w){2,})/?", _spelled),
    (rf"(?<![\w/.-])(?P<address>[\w-]+(?:\.[\w-]+)*\.(?:{_FILES})){_MORE}", _spelled),
    (r"(?<![\w.])(\d{1,3}(?:\.\d{1,3}){3})(?::(\d{1,5}))?(?!\w|\.\d)", _ip),
    # Words and signs that stand by themselves.
    (rf"(?<!\w)({_any_of(en.WORDS)})(?!\w)", _word),
    (rf" ?({_any_of(en.SIGNS)}) ?", lambda found: f" {en.SIGNS[found[1]]} "),
    (
        rf"(?i)\b({_any_of(en.BEFORE_NUMBERS)}) ?(?=\d)",
        lambda found: f"{en.BEFORE_NUMBERS[found[1].lower()]} ",
    ),
    (r"\b(e\.g|i\.e)\.(?= [A-Z\d])", r"\1.,"),
    (
        rf"\b({_any_of(en.WEEKDAYS)})[-–]({_any_of(en.WEEKDAYS)})\b",
        lambda found: f"{en.WEEKDAYS[found[1]]} to {en.WEEKDAYS[found[2]]}",
    ),
    # Telephone numbers.
    (r"(?<![\w.])\+\d{1,3}(?:[ .-]\(?\d{2,5}\)?){2,5}(?!\d)", _phone),
    (r"(?<![\w.])\+?(?:1[-. ])?\(\d{3}\) ?\d{3}[-. ]\d{4}(?![\w-])", _phone),
    (r"(?<![\w.-])(?:1[-. ])?\d{3}([-. ])\d{3}\1\d{4}(?![\w-])", _phone),
    (r"(?<![\w.-])0\d{2,4}[ -]\d{3,4}[ -]\d{3,4}(?![\w-])", _phone),
    (rf"(?<![\w.,-])\d{{3}}-\d{{4}}{_MORE}", _phone),
    (r"(?<=[Cc]all )\d{3}\b|(?<=[Dd]ial )\d{3}\b", lambda found: " ".join(found[0])),
    # Dates, times and durations.
    (r"\b(\d{4}-\d\d-\d\d)T(\d\d:\d\d)(?::\d\d(?:\.\d+)?)?Z?", r"\1, \2"),
    (rf"(?<![\w.])(\d{{1,2}})\.(\d{{1,2}})\.(\d{{4}}){_MORE}", lambda d: _date(d[3], d[2], d[1])),
    (
        rf"(?<![\w.])(\d{{4}})([./])(\d{{1,2}})\2(\d{{1,2}}){_MORE}",
        lambda d: _date(d[1], d[3], d[4]),
    ),
    (
        r"(?<![\w-])((?:19|20)\d\d)-(0[1-9]|1[0-2])(?![\w-])",
        lambda found: f"{en.MONTHS[int(found[2]) - 1]} {found[1]}",
    ),
    (r"\b(\d{1,2})h(\d\d)\b", r"\1:\2"),
    (r"(?<=\d) ?([AaPp])[Mm]\b\.?", lambda found: f" {found[1].lower()}.m."),
    (
        r"(?<![\w.])\d+ ?(?:h|hrs?|m|mins?) ?\d+ ?(?:m|mins?|s|secs?)(?: ?\d+ ?s(?:ecs?)?)?(?!\w)",
        _duration,
    ),
    (rf"(?<![\w.'’])((?:{'|'.join(en.BEFORE_DECADES)})[ -])?\b(\d{{1,3}})s\b(?!')", _seconds),
    (r"(?<=[\d.]) ?[-–] ?(?=\d{1,2}(?::\d\d| ?[ap]\.?m\b))", " to "),
    # Versions, and numbers in other countries' ways.
    (
        rf"\b((?:[Vv]ersion )?[vV]|(?:{'|'.join(en.VERSIONED)}) )(\d+(?:\.\d+)+){_MORE}",
        _version,
    ),
    (r"(?<![\w.,])\d{1,3}(?:\.\d{3}){2,}(?!\d|[.,]\d)", _thousands),
    (r"(?<![\w.,$£€])()(\d+(?:\.\d+){2,})(?!\d|,\d)", _version),
    (
        r"(?<![\w.,])\d{1,3}(?:[\u00a0\u2009\u202f]\d{3})+(?!\d)|(?<![\w.,])\d{1,3}(?: 000)+\b",
        _thousands,
    ),
    (r"(?<![\w.:,/-])0\d+(?![\w:/-]|[.,]\d)", lambda found: " ".join(found[0])),
    # Money, then units.
    (_MONEY, _money),
    (
        rf"(?<![\w.,])({NUMBER})({_MAGNITUDE})? ?({'|'.join(en.CODES)})\b",
        lambda found: _amount(found[1], found[2], en.CURRENCIES[found[3]]),
    ),
    (
        rf"((?:\d|thousand|illion) (?:dollar|euro|pound))s(?= (?:{'|'.join(en.PRICED)})\b|-an?-)",
        r"\1",
    ),
    (
        rf"(?<![\w.,])({NUMBER}) ?({_any_of(en.UNITS)})(?![\w²³/])",
        lambda found: _counted(found[1], en.UNITS[found[2]]),
    ),
    (
        rf"(?<![\w.,])({NUMBER})({_any_of(en.GLUED_UNITS)})\b",
        lambda found: _counted(found[1], en.GLUED_UNITS[found[2]]),
    ),
    (rf"(?<![\w.,])({NUMBER}) s\b(?!')|(?<![\w.,])(\d+\.\d+)s\b", _some_seconds),
    (rf"(?<=[a-z\d])/(?=(?:{'|'.join(en.PER)})\b)", " per "),
    (r"(\d)['′](\d{1,2})[\"″]", r"\1 foot \2"),
    (rf"(?<!\w)(\d+)['′] ?(?={_LENGTHS})", r"\1 feet "),
    (rf"(?<!\w)(\d+)[\"″] ?(?={_LENGTHS})", r"\1 inches "),
    (r"(?<=\d) ?′", " minutes"),
    (r"(?<=\d) ?″", " seconds"),
    # Mathematics.
    (rf"(?<![\w.,])({NUMBER})[eE]([+-]?)(\d{{1,3}})\b", _scientific),
    (r" ?[x×·*] ?(?=10(?:\^|[⁻⁺⁰¹²³⁴-⁹]))", " times "),
    (r"(\b10|[A-Za-z0-9)])([⁻⁺]?[⁰¹²³⁴-⁹]+)", _power),
    (r" ?\^ ?[-−](?=\d)", " to the power of minus "),
    (
        rf"(?:(?<!\d)(\d+) ?)?({_any_of(en.FRACTIONS)})",
        lambda found: f"{found[1]} and " * bool(found[1]) + en.FRACTIONS[found[2]],
    ),
    (r"(?<![\w./])(\d+) (?=[1-9]/[2-9](?![\w/]))", r"\1 and "),
    (r"(?<![\w./])(\d+)/(16|32|64)(?![\w/])", lambda f: _counted(f[1], _ordinal(f[2]))),
    (r"(?<![\w./])([2-9]\d)/([1-9]0|\d\d)(?![\w/])", r"\1 \2"),
    (r"(?<![\w:])(\d{1,2}):(\d)(?![\w:])", r"\1 to \2"),
    (r"(\d)(?<!\b0) ?x ?(?=\d)|(\d{3}) ?× ?(?=\d{3})", lambda found: f"{found[1] or found[2]} by "),
    (r"(?<=\d) ?\* ?(?=\d)", " times "),
    (r"~ ?(?=\d)", "about "),
    (rf"(?<![\w.,/–-])({NUMBER}%?)(?:-| ?– ?)(?={NUMBER}(?![\d–-]|[.,/]\d))", r"\1 to "),
    (r"(?<=\d) ?− ?(?=\d)", " minus "),
    (r"(?<![\w.)\]–-])[-−](?=\.?\d)", "minus "),
    (r"(?<![\w.])\.(?=\d)", "0."),
    (r"(?<![\w.,])(\d+)\.(0+)(?![\d.])", lambda found: f"{found[1]} point {' '.join(found[2])}"),
    (rf"(?<![\w.,])({NUMBER})M\b", r"\1 million"),
    (rf"(?<![\w.,])(\d+\.\d+|{NUMBER}(?=B (?:[a-z]+s|people)\b))B\b", r"\1 billion"),
    # Four digits that are no year.
    (
        r"(?<![\w.,/-])(?<!by )(?!1[6-9]|20)(\d{2}(?!00)\d\d)(?= (?:[a-z]+s|people|men|women|children)\b)",
        lambda found: _grouped(found[1]),
    ),
    # Roman numerals.
    (rf"\b([A-Z][a-z]+) ({'|'.join(en.ROMAN)})\b(?!['’]?\w)", _roman),
    (rf"\b({'|'.join(en.ROMAN)})(?= century\b)", lambda found: _ordinal(en.ROMAN[found[1]])),
    # Shouting: some words are spelled in capitals. What has a letter of its own is not shouted.
    (r"(?<![\w'])(?<![A-Z'] )(?:(?:[A-Z][A-Z']+|I|A) ){2,}[A-Z][A-Z']+\b", _calm),
    (r" {2,}", " "),
]
RULES = [(re.compile(pattern), replacement) for pattern, replacement in _TABLE]
