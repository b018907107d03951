"""What a voice may be called, and when two names are one to a reader. Knows no files."""

import re
import unicodedata
from functools import lru_cache

from engine_room.errors import InvalidRequest, quoted
from engine_room.standard_voices import STANDARD_VOICES

MAX_NAME_CHARS = 80
MAX_NAME_BYTES = 240  # file systems hold 255 bytes
# Windows has devices under these names in every folder, whatever follows a dot.
DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?", re.IGNORECASE)
FORBIDDEN = '/\\<>:"|?*'
# They turn the text after them around, so that a name looks like another.
DIRECTION_MARKS = {*map(chr, range(0x202A, 0x202F)), *map(chr, range(0x2066, 0x206A))}


def composed(name: str) -> str:
    """The name in one Unicode form (NFC, as keyboards have it); macOS gives file names in another."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


@lru_cache(maxsize=50_000)  # ten thousand voices are looked through by it
def folded(name: str) -> str:
    """The name without case, accents and spaces around it: what a reader may take for the same."""
    if name.isascii():
        return name.strip().lower()
    parts = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", name).casefold())
    plain = "".join(part for part in parts if not unicodedata.combining(part))
    return plain.strip()


def checked_name(name: str) -> str:
    """The name for a new voice, composed and without spaces around it; it is to be a folder's name on
    every system. Raises InvalidRequest."""
    name = composed(name).strip(" ")
    if complaint := _complaint(name):
        raise InvalidRequest(
            f"name {quoted(name)} {complaint}. A name has 1 to {MAX_NAME_CHARS} characters of any script; "
            f"not among them are {' '.join(FORBIDDEN)}, control characters, and a dot at its ends.",
            param="name",
        )
    return name


def _complaint(name: str) -> str:
    """What is wrong with a name; empty when nothing is."""
    kinds = {character: unicodedata.category(character) for character in name}
    wrong = [
        character
        for character, kind in kinds.items()
        if kind in ("Cc", "Cs", "Zl", "Zp")
        or character in FORBIDDEN
        or character in DIRECTION_MARKS
    ]
    if wrong:
        return f"has {quoted(wrong[0])} (U+{ord(wrong[0]):04X}) in it"
    if not any(kind[0] in "LNPS" for kind in kinds.values()):
        return "is empty"
    if len(name) > MAX_NAME_CHARS or len(name.encode()) > MAX_NAME_BYTES:
        return (
            f"has {len(name)} characters ({len(name.encode())} bytes; at most {MAX_NAME_BYTES} "
            "are taken)"
        )
    if name.startswith(".") or name.endswith("."):
        return "begins or ends with a dot"
    if DEVICE.fullmatch(name):
        return "is reserved by Windows"
    if folded(name) in STANDARD_VOICES:
        return "is a standard voice, which cannot be replaced"
    return ""
