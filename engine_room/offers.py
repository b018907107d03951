"""The models that can be fetched: those of `offers.toml`, and the user's own in `models/offers.toml`.

Sizes are estimates; what a file really has, the hub says when it is fetched. Knows no network.
"""

import re
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

OWN_FILE = Path(__file__).with_name("offers.toml")
USERS_FILE = "offers.toml"  # in models/
ENTRY = re.compile(r"^[ \t]*\[\[[ \t]*model[ \t]*\]\]", re.MULTILINE)
# Bits for each parameter, scales and the layers that are kept finer included: means over models of 1 to 14 B.
BITS = {
    "Q4_0": 4.6,
    "Q4_K_S": 4.65,
    "Q4_K_M": 4.85,
    "Q5_K_M": 5.7,
    "Q6_K": 6.6,
    "Q8_0": 8.5,
    "MXFP4": 4.6,
    "F16": 16.0,
    "BF16": 16.0,
    "F32": 32.0,
}
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w.\-]{0,95}$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
OfferKind = Literal["chat", "embedding", "transcription", "voice", "voice cloning"]


class Offer(BaseModel):
    """A model that can be fetched; what the keys are, is said at the top of `offers.toml`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Name
    kind: OfferKind
    repository: Annotated[str, Field(pattern=r"^[\w.\-]+/[\w.\-]+$")]
    files: Annotated[list[str], Field(min_length=1)]
    mmproj: Annotated[str, Field(pattern=r"^$|\.gguf$")] = ""
    folder: Name | None = None
    also: list[Name] = Field(default_factory=list)
    revision: str = "main"
    sha256: dict[str, Sha256] = Field(default_factory=dict)
    licence: str = ""
    context: Annotated[int, Field(ge=0)] = 0
    parameters: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0
    quantisation: str = ""
    bits: Annotated[float, Field(ge=0, le=64)] = 0
    kv_bytes: Annotated[int, Field(ge=0)] = 0
    good_at: str = ""
    auto: bool = False
    ask: Literal["", "xtts"] = ""

    @model_validator(mode="after")
    def _is_one_file_or_a_folder(self) -> "Offer":
        if self.folder is None and not all(name.lower().endswith(".gguf") for name in self.files):
            raise ValueError("without a `folder` all `files` must be .gguf files")
        if self.mmproj and (self.folder or self.kind != "chat"):
            raise ValueError("an `mmproj` belongs to a chat model without a `folder`")
        return self

    @property
    def size_bytes(self) -> int:
        """About how large it is; 0 when its entry does not tell."""
        bits = self.bits or BITS.get(self.quantisation.upper(), 0)
        return int(self.parameters * 1e9 * bits / 8)


class Offers:
    """The offers of one server. Thread-safe: it remembers only those of its own file."""

    def __init__(self, models_dir: Path) -> None:
        self._users_file = models_dir / USERS_FILE
        self._own, problems = _read(OWN_FILE)
        assert not problems, problems

    def all(self) -> list[Offer]:
        """The offers, the user's last."""
        return self.checked()[0]

    def checked(self) -> tuple[list[Offer], list[str]]:
        """The offers, and what is wrong with the user's file, whose other entries count all the same."""
        users, problems = _read(self._users_file)
        replaced = {offer.id.lower() for offer in users}
        return [offer for offer in self._own if offer.id.lower() not in replaced] + users, problems

    def find(self, name: str) -> Offer | None:
        """The offer of this id, or the only one that begins so: `nomic-embed-text`; of a transcription model
        its size will do."""
        wanted, offers = name.lower(), self.all()
        for offer in offers:
            if wanted in map(str.lower, offer.also) or offer.id.lower() in (
                wanted,
                f"faster-whisper-{wanted}",
            ):
                return offer
        begun = [
            offer for offer in offers if offer.id.lower().startswith((f"{wanted}-", f"{wanted}."))
        ]
        return begun[0] if len(begun) == 1 else None

    def search(self, words: str) -> list[Offer]:
        """The offers that have all words in what is said of them."""
        return [
            offer
            for offer in self.all()
            if all(word in _said_of(offer) for word in words.lower().split())
        ]


def _said_of(offer: Offer) -> str:
    return f"{offer.id} {offer.kind} {offer.repository} {offer.good_at} {offer.licence}".lower()


def _read(path: Path) -> tuple[list[Offer], list[str]]:
    """The good entries of a file, and a sentence for each thing that is wrong."""
    try:
        text = path.read_text("utf-8-sig")
        table = tomllib.loads(text)
    except FileNotFoundError:
        return [], []
    except (OSError, ValueError) as error:  # no TOML: the message has its line
        return [], [f"{path}: {error}."]
    entries = table.pop("model", [])
    problems = [f"{path}: {key!r} is no key; entries begin with [[model]]." for key in table]
    if not isinstance(entries, list):
        return [], [f"{path}: entries begin with [[model]], not [model]."]
    lines = [text.count("\n", 0, found.start()) + 1 for found in ENTRY.finditer(text)]
    offers: list[Offer] = []
    for number, entry in enumerate(entries):
        try:
            offers.append(Offer.model_validate(entry))
        except ValidationError as error:
            line = f"line {lines[number]}" if len(lines) == len(entries) else f"entry {number + 1}"
            problems += [f"{path}, {line}: {_complaint(one)}." for one in error.errors()]
    return offers, problems


def _complaint(error: Any) -> str:
    key = ".".join(map(str, error["loc"]))
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        message = f"no such key; there are: {', '.join(Offer.model_fields)}"
    return f"{key}: {message}" if key else message
