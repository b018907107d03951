"""What English writes in signs and how it is said: the tables of `speech_english`."""

# --- Words and signs: what stands there by itself, and what is said.
WORDS = {
    "24/7": "twenty-four seven",
    "9/11": "nine eleven",
    "50-50": "fifty fifty",
    "C#": "C sharp",
    "F#": "F sharp",
    "CO2": "C O 2",
    "JSON": "Jason",
    "YAML": "yammel",
    "w/out": "without",
    "w/in": "within",
    "b/c": "because",
    "vs.": "versus",
    "approx.": "approximately",
    "tbsp.": "tablespoons",
    "tsp.": "teaspoons",
    "IPv4": "I P V 4",
    "IPv6": "I P V 6",
    "Esq.": "Esquire",
    "ca.": "circa",
    "incl.": "including",
    "excl.": "excluding",
    "max.": "maximum",
    "tel.": "telephone",
    "a.k.a.": "also known as",
    "km/h": "kilometers per hour",
    "m/s": "meters per second",
    "!=": "is not equal to",
    "==": "equals",
    ">=": "greater than or equal to",
    "<=": "less than or equal to",
    "->": "to",
    "=>": "to",
    "+=": "plus equals",
}
SIGNS = {
    "≤": "less than or equal to",
    "≥": "greater than or equal to",
    "≠": "is not equal to",
    "≈": "about",
    "√": "the square root of",
    "∞": "infinity",
    "π": "pi",
    "Ω": "ohms",
}
# Before a number the voice takes their dot for the end of a sentence.
BEFORE_NUMBERS = {
    "p.": "page",
    "pp.": "pages",
    "ext.": "extension",
    "art.": "article",
    "sec.": "section",
    "no.": "number",
    "nos.": "numbers",
    "fig.": "figure",
    "vol.": "volume",
    "ch.": "chapter",
    "apt.": "apartment",
    "rte.": "route",
    "rm.": "room",
    "jan.": "January",
    "feb.": "February",
    "mar.": "March",
    "apr.": "April",
    "jun.": "June",
    "jul.": "July",
    "aug.": "August",
    "sep.": "September",
    "sept.": "September",
    "oct.": "October",
    "nov.": "November",
    "dec.": "December",
}
WEEKDAYS = {
    "Mon": "Monday",
    "Tue": "Tuesday",
    "Wed": "Wednesday",
    "Thu": "Thursday",
    "Fri": "Friday",
    "Sat": "Saturday",
    "Sun": "Sunday",
}
FRACTIONS = {
    "½": "a half",
    "¼": "a quarter",
    "¾": "three quarters",
    "⅓": "a third",
    "⅔": "two thirds",
    "⅕": "a fifth",
    "⅛": "an eighth",
    "⅜": "three eighths",
    "⅝": "five eighths",
    "⅞": "seven eighths",
}
SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")
# --- Units that the voice does not know: for one, for more (mostly with an s).
UNITS = {
    "m": "meter",
    "m/s": "meter per second|meters per second",
    "m/s²": "meter per second squared|meters per second squared",
    "m²": "square meter",
    "m³": "cubic meter",
    "km²": "square kilometer",
    "cm²": "square centimeter",
    "cm³": "cubic centimeter",
    "ft²": "square foot|square feet",
    "L": "liter",
    "l": "liter",
    "g": "gram",
    "h": "hour",
    "ns": "nanosecond",
    "µs": "microsecond",
    "dB": "decibel",
    "rpm": "revolution per minute|revolutions per minute",
    "bpm": "beat per minute|beats per minute",
    "ppm": "part per million|parts per million",
    "px": "pixel",
    "ha": "hectare",
    "cal": "calorie",
    "kcal": "kilocalorie",
    "hp": "horsepower|horsepower",
    "hPa": "hectopascal",
    "kPa": "kilopascal",
    "mA": "milliamp",
    "kV": "kilovolt",
    "mW": "milliwatt",
    "Wh": "watt hour",
    "kbps": "kilobit per second|kilobits per second",
    "KB/s": "kilobyte per second|kilobytes per second",
    "MB/s": "megabyte per second|megabytes per second",
    "GB/s": "gigabyte per second|gigabytes per second",
}
# These only right behind the number: "100 W 5th Street" is no power.
GLUED_UNITS = {"V": "volt", "W": "watt"}
PER = "second minute hour day night week month year person head piece page item kg lb gallon liter".split()
# --- Money.
# A unit and, after "&", its hundredth; each with its plural after "|" where no s makes it.
CURRENCIES = {
    "$": "dollar & cent",
    "US$": "U.S. dollar & cent",
    "C$": "Canadian dollar & cent",
    "CA$": "Canadian dollar & cent",
    "A$": "Australian dollar & cent",
    "€": "euro & cent",
    "£": "pound & penny|pence",
    "¥": "yen|yen",
    "₹": "rupee",
    "₩": "won|won",
}
CODES = {
    "USD": "dollar & cent",
    "EUR": "euro & cent",
    "GBP": "pound & penny|pence",
    "JPY": "yen|yen",
    "CHF": "Swiss franc",
    "CAD": "Canadian dollar & cent",
    "AUD": "Australian dollar & cent",
    "INR": "rupee",
    "CNY": "yuan|yuan",
}
CURRENCIES |= CODES
MAGNITUDES = {"k": "thousand", "m": "million", "mn": "million", "b": "billion", "bn": "billion"}
MAGNITUDES |= {"t": "trillion", "tn": "trillion"}
MAGNITUDES |= {word: word for word in "hundred thousand million billion trillion".split()}
# --- Addresses and files.
DOMAINS = "com org net edu gov mil int io dev app info biz ai uk de eu ch fr nl ca au jp nz tv"
FILES = (
    "py md txt html htm css js ts json yaml yml toml xml csv tsv pdf doc docx xls xlsx ppt pptx "
    "zip gz tar tgz 7z exe bat sh dll so jpg jpeg png gif svg webp bmp mp3 mp4 wav flac ogg avi "
    "mov mkv webm c h cpp hpp rs go java rb php sql log ini cfg conf env lock gguf onnx bin iso "
    "img deb rpm apk ipynb"
)
ADDRESS_SIGNS = {
    ".": "dot",
    "@": "at",
    "/": "slash",
    "\\": "backslash",
    ":": "colon",
    "-": "dash",
    "_": "underscore",
    "+": "plus",
    "~": "tilde",
    "=": "equals",
    "&": "and",
    "%": "percent",
    "#": "hash",
}
ADDRESS_WORDS = {"json": "Jason", "yaml": "yammel", "jpeg": "J peg", "jpg": "J peg", "py": "pie"}
# Read as words though short or odd; other words of three letters or without a vowel are spelled.
SAID_IN_ADDRESSES = set(
    "com org net gov co info biz app dev bin tar zip doc log bat jar the and for".split()
)
SAID_IN_ADDRESSES |= set(
    "new get my me our you all one two man dog cat car art big top hub lab job web".split()
)
SPELLED_IN_ADDRESSES = set(DOMAINS.split() + FILES.split()) - SAID_IN_ADDRESSES
# --- Roman numerals: after these names they are ordinals, after other names cardinals.
RULERS = frozenset(
    (
        "Pope King Queen Emperor Tsar Henry Louis Edward George William Charles James Richard "
        "Elizabeth Napoleon Pius Benedict Leo Paul Ramses Ramesses Frederick Friedrich Philip Felipe "
        "Alexander Nicholas Peter Catherine Ivan Umberto Emmanuel Gustav Christian Ferdinand Ludwig "
        "Wilhelm Otto Harald Carl Haakon Carlos Francis Urban Clement Innocent Gregory Julius Albert "
        "Leopold Mehmed Darius Ptolemy Robert Mary Edmund Juan Sixtus Joseph Maximilian Rudolf "
        "Margrethe Olav Abdullah Mohammed"
    ).split()
)
ROMAN = dict(
    zip(
        "II III IV VI VII VIII IX XI XII XIII XIV XV XVI XVII XVIII XIX XX XXI".split(),
        (2, 3, 4, 6, 7, 8, 9, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21),
        strict=True,
    )
)
MONTHS = (
    "January February March April May June July August September October November December".split()
)
# Before these, thirty is a decade ("in the 30s"), elsewhere half a minute.
BEFORE_DECADES = "the his her their my your our in early mid late".split()
# Names whose numbers are versions: after the dot is a number, not a fraction.
VERSIONED = (
    "version release Python Ubuntu Debian Node Java Django iOS macOS Android Windows Linux".split()
)
# Behind a number with ' or ", these say that it is feet or inches.
LENGTHS = "long tall wide deep high thick away screen display monitor pipe vinyl by".split()
# Capitals that stay when others are no more than loud.
ACRONYMS = frozenset("USA UK US EU UN FBI CIA NASA NATO AI UFO CEO".split())
# Things that cost so much: a hundred dollar bill.
PRICED = "bill note coin prize fine fee tip deposit budget deal loan grant contract house company".split()
