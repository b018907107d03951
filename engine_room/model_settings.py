"""What is set for single models: `models/settings.toml`, read anew when it, or a template in it, changes.

A file with anything wrong in it counts for nothing, and whoever would answer by it says what is wrong. Knows
no files of models, only their ids.
"""

import logging
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from engine_room.errors import Unavailable
from engine_room.gguf import QUANT_SUFFIX
from engine_room.model_tables import ALL_MODELS, ForOne, Seen, Tables, read, stamp
from engine_room.settings import KvType, Settings

log = logging.getLogger(__name__)
FILE = "settings.toml"  # in models/
MAX_SAID = 5  # of what is wrong, in one message
# The names that no alias may have, beside those of the chat models.
OtherNames = Callable[[], Collection[str]]


@dataclass(frozen=True, slots=True)
class Loading:
    """How a model is loaded where that is not as the settings say; a change has it loaded anew."""

    context_tokens: int | None = None
    gpu_layers: int | None = None
    kv_type: KvType | None = None
    template: str = ""  # the text of it; empty: the model's own


@dataclass(frozen=True, slots=True)
class Defaults:
    """What counts where a model's requests name nothing; a change counts from the next one on."""

    system_prompt: str = ""
    sampling: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Chosen:
    """All that is set for a model."""

    loading: Loading = Loading()
    defaults: Defaults = field(default_factory=Defaults)
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Settled:
    """What is set for each of the models that are there, and what is wrong. Then nothing is set."""

    by_id: Mapping[str, Chosen]
    problems: tuple[str, ...] = ()

    def check(self) -> None:
        """Raises Unavailable."""
        if self.problems:
            said = " ".join(self.problems[:MAX_SAID])
            num_more = len(self.problems) - MAX_SAID
            more = f" And {num_more} more, which the log has." if num_more > 0 else ""
            raise Unavailable(
                f"What is set for the models cannot be followed. {said}{more}",
                "Mend that; it counts from the next request on.",
            )


class ModelSettings:
    """What is set for the models of one server. Thread-safe."""

    def __init__(self, settings: Settings) -> None:
        self._path = settings.models_dir / FILE
        self._has_flash_attention = settings.chat_flash_attention != "off"
        self._lock = threading.Lock()
        self._seen: Seen = {self._path: "not read yet"}
        self._tables = Tables(self._path)
        self._chosen: dict[str, Chosen] = {}  # by the names of the tables
        self._told: set[str] = set()

    def settled(self, ids: Sequence[str], others: OtherNames) -> Settled:
        """What is set for the models of these ids."""
        tables, chosen = self._now()
        named = {name: _fitting(name, ids) for name in tables.models}
        for name, fitting in named.items():
            if not fitting:
                what = "no chat model of this name is here, so nothing follows it"
                self._tell(logging.WARNING, f"{tables.at(name)}: {what}.")
        problems = [
            *tables.problems,
            *_double_tables(tables, named),
            *_wrong_aliases(tables, named, ids, others),
        ]
        for problem in problems:
            self._tell(logging.ERROR, problem)
        if problems:
            return Settled({}, tuple(problems))
        names = {id_: name for name, fitting in named.items() for id_ in fitting}
        return Settled({id_: chosen[names.get(id_, ALL_MODELS)] for id_ in ids})

    def _now(self) -> tuple[Tables, Mapping[str, Chosen]]:
        with self._lock:
            if any(stamp(path) != known for path, known in self._seen.items()):
                self._told, self._seen = set(), {}
                self._tables = tables = read(self._path, self._has_flash_attention, self._seen)
                names = (ALL_MODELS, *tables.models)
                self._chosen = {name: _chosen(tables, name) for name in names}
            return self._tables, self._chosen

    def _tell(self, level: int, what: str) -> None:
        """Log it, once for each time the file is read."""
        if what not in self._told:
            self._told.add(what)
            log.log(level, "%s", what)


def plain_name(name: str) -> str:
    """A model's name as it is compared: in lower case, and without `.gguf`."""
    return name.lower().removesuffix(".gguf")


def _fitting(name: str, ids: Sequence[str]) -> list[str]:
    """The models that a table is for: the one of this id, else all that quantise this name."""
    plain = plain_name(name)
    exact = [id_ for id_ in ids if id_ == name] or [id_ for id_ in ids if id_.lower() == plain]
    return exact or [
        id_
        for id_ in ids
        if id_.lower().startswith(plain) and QUANT_SUFFIX.match(id_.lower(), len(plain))
    ]


def _double_tables(tables: Tables, named: Mapping[str, Sequence[str]]) -> Iterator[str]:
    first: dict[str, str] = {}
    for name, fitting in named.items():
        for id_ in fitting:
            other = first.setdefault(id_, name)
            if other != name:
                yield f'{tables.at(name)}: ["{other}"] is for {id_} too; make them one table.'


def _wrong_aliases(
    tables: Tables, named: Mapping[str, Sequence[str]], ids: Sequence[str], others: OtherNames
) -> Iterator[str]:
    if not any(table.aliases for table in tables.models.values()):
        return  # the other names are costly
    taken = {plain_name(name) for name in (*ids, *others())}
    owners: dict[str, str] = {}
    for name, table in tables.models.items():
        at = tables.at(name, "aliases")
        if table.aliases and len(named[name]) > 1:
            yield f"{at}: they would be {' and '.join(named[name])}; give each a table of its own."
        for alias in table.aliases:
            plain = plain_name(alias)
            if plain in owners:
                yield f'{at}: {alias!r} is an alias of ["{owners[plain]}"] already.'
            elif plain in taken:
                yield f"{at}: {alias!r} is a model's own name already; choose another."
            owners[plain] = name


def _chosen(tables: Tables, name: str) -> Chosen:
    """What a table says, and where it is silent the one for all models."""
    table, for_all = tables.models.get(name, ForOne()), tables.for_all
    own = table.model_dump(exclude_none=True, include={*Loading.__slots__, "system_prompt"})
    both = for_all.model_dump(exclude_none=True, exclude={"sampling"}) | own
    system_prompt = both.pop("system_prompt", "")
    return Chosen(
        Loading(**both | {"template": tables.templates.get(name, "")}),
        Defaults(system_prompt, for_all.sampling.named() | table.sampling.named()),
        tuple(table.aliases),
    )
