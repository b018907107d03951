"""The tables of `models/settings.toml`: what may stand in them, and what is wrong with those that do.

Knows no models; `model_settings` says for which of them a table is.
"""

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from engine_room import toml_lines
from engine_room.chat import jinja
from engine_room.errors import quoted
from engine_room.schemas_chat import INT32_MAX, SamplingFields, Stops
from engine_room.settings import ContextTokens, KvType

ALL_MODELS = "*"
Alias = Annotated[str, Field(pattern=r"^\S(.*\S)?$", max_length=96)]
# The stamps of the files that were read: while these are the same, so is what they say.
Seen = dict[Path, object]


class SamplingDefaults(SamplingFields):
    """What counts where a request does not name it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    max_tokens: int | None = Field(None, ge=1)
    stop: str | Stops = Field(default_factory=list)

    @model_validator(mode="after")
    def _names_the_penalty_once(self) -> "SamplingDefaults":
        if {"repeat_penalty", "repetition_penalty"} <= self.model_fields_set:
            raise ValueError(
                "repeat_penalty and repetition_penalty are one thing: name one of them"
            )
        return self

    def named(self) -> dict[str, Any]:
        """What is set, by its name in a request."""
        values = {name: getattr(self, name) for name in self.model_fields_set}
        if "repetition_penalty" in values:  # the other name would win over a request's
            values["repeat_penalty"] = values.pop("repetition_penalty")
        return values


class ForAll(BaseModel):
    """A table of the file: what may be set for all models, under `["*"]`. None: as the settings have it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    context_tokens: ContextTokens | None = None
    gpu_layers: int | None = Field(None, ge=-1, le=INT32_MAX)
    kv_type: KvType | None = None
    system_prompt: str | None = None
    sampling: SamplingDefaults = SamplingDefaults()


class ForOne(ForAll):
    """A table of the file: what may be set for one model."""

    template: str | None = None
    aliases: list[Alias] = Field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Tables:
    """The file as it was read: its tables, the line of each key, the templates' texts, and what is wrong."""

    path: Path
    for_all: ForAll = field(default_factory=ForAll)
    models: Mapping[str, ForOne] = field(default_factory=dict)
    templates: Mapping[str, str] = field(default_factory=dict)
    lines: Mapping[toml_lines.Place, int] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    def at(self, *place: str) -> str:
        """The file, the line, and the keys, as a message begins."""
        return _at(self.path, self.lines, place)


def read(path: Path, has_flash_attention: bool, seen: Seen) -> Tables:
    """What the file says, or what is wrong with it. It and the templates are put into `seen`."""
    seen[path] = stamp(path)  # before reading: who writes meanwhile is seen the next time
    try:
        text = path.read_bytes().decode("utf-8-sig")
        entries = toml_lines.read(text)
    except FileNotFoundError:
        return Tables(path)
    except OSError as error:
        return Tables(path, problems=(f"{path} cannot be read: {error.strerror}.",))
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        return Tables(path, problems=(f"{path}, line {line}: it is no UTF-8.",))
    except ValueError as error:
        return Tables(path, problems=(f"{path}, {error}.",))
    reading = _Reading(path, toml_lines.lines_of(text), has_flash_attention, seen)
    return reading.of(entries)


class _Reading:
    """The entries of a file made tables, with what is wrong in each."""

    def __init__(
        self,
        path: Path,
        lines: Mapping[toml_lines.Place, int],
        has_flash_attention: bool,
        seen: Seen,
    ) -> None:
        self._path = path
        self._seen = seen
        self._lines = lines
        self._has_flash_attention = has_flash_attention
        self._problems: list[str] = []

    def of(self, entries: Mapping[str, Any]) -> Tables:
        """The tables that are right, and what is wrong with the others."""
        for_all = ForAll()
        models: dict[str, ForOne] = {}
        templates: dict[str, str] = {}
        for name, entry in entries.items():
            table = self._table(name, entry)
            if isinstance(table, ForOne):
                models[name] = table
                if table.template is not None:
                    templates[name] = self._template(name, table.template)
            elif table:
                for_all = table
        problems = tuple(self._problems)
        return Tables(self._path, for_all, models, templates, self._lines, problems)

    def _table(self, name: str, entry: Any) -> ForAll | None:
        kind = ForAll if name == ALL_MODELS else ForOne
        if not isinstance(entry, dict):
            self._wrong((name,), "no model's table; one begins with its id in quotes and brackets")
            return None
        try:
            table = kind.model_validate(entry)
        except ValidationError as error:
            for place, complaint in _complaints(name, error, kind, self._lines).items():
                self._wrong(place, complaint)
            return None
        if table.kv_type not in (None, "f16") and not self._has_flash_attention:
            self._wrong(
                (name, "kv_type"),
                f"{table.kv_type!r} needs flash attention, and CHAT_FLASH_ATTENTION is off; "
                "without it only 'f16' works",
            )
        return table

    def _template(self, name: str, template: str) -> str:
        """The text of a template: itself, or in a file."""
        place, source = (name, "template"), template
        if not ("{" in template or "\n" in template):
            path = self._path.parent / template
            try:
                self._seen[path] = stamp(path)
                source = path.read_text("utf-8-sig")
            except (OSError, ValueError) as error:
                why = getattr(error, "strerror", None) or str(error)
                self._wrong(
                    place,
                    f"the file {quoted(template)} in {path.parent} cannot be read: {why}",
                )
                return ""
        if not source.strip():
            self._wrong(place, f"{quoted(template)} is empty")
        elif complaint := jinja.complaint(source):
            self._wrong(place, f"{quoted(template)} is no Jinja template: {complaint}")
        return source

    def _wrong(self, place: toml_lines.Place, what: str) -> None:
        self._problems.append(f"{_at(self._path, self._lines, place)}: {what}.")


def _at(path: Path, lines: Mapping[toml_lines.Place, int], place: toml_lines.Place) -> str:
    line = f", line {lines[place]}" if place in lines else ""
    table, *keys = map(str, place)
    return f'{path}{line}, ["{table}"]{" " if keys else ""}{".".join(keys)}'


def _complaints(
    name: str, error: ValidationError, kind: type[ForAll], lines: Mapping[toml_lines.Place, int]
) -> dict[toml_lines.Place, str]:
    """What is wrong with a table, by the place of each."""
    found: dict[toml_lines.Place, Any] = {}
    for one in error.errors():
        place: toml_lines.Place = (name, *one["loc"])
        while (
            place not in lines and len(place) > 1
        ):  # Pydantic adds the types that a value may have
            place = place[:-1]
        # Of a text or a list, what is wrong inside the list says more.
        if place not in found or len(one["loc"]) > len(found[place]["loc"]):
            found[place] = one
    return {place: _complaint(place, one, kind) for place, one in found.items()}


def _complaint(place: toml_lines.Place, one: Any, kind: type[ForAll]) -> str:
    if one["type"] == "extra_forbidden":
        return _unknown_key(place, one["input"], kind)
    message = str(one["msg"]).removeprefix("Value error, ")
    return message if one["type"] == "value_error" else f"{message} (got {quoted(one['input'])})"


def _unknown_key(place: toml_lines.Place, value: Any, kind: type[ForAll]) -> str:
    table, key = place[0], str(place[-1])
    if len(place) > 2:
        return _no_such_key(key, SamplingDefaults.model_fields)
    if isinstance(value, dict):  # [qwen2.5-7b]
        return f'no such key; a name with a dot in it needs quotes: ["{table}.{key}"]'
    like = difflib.get_close_matches(key, [*SamplingDefaults.model_fields, *kind.model_fields], 1)
    if like and like[0] in SamplingDefaults.model_fields:
        return f'no such key here; {like[0]} stands under ["{table}".sampling]'
    return _no_such_key(key, kind.model_fields)


def _no_such_key(key: str, fields: Collection[str]) -> str:
    like = difflib.get_close_matches(key, fields, 1)
    meant = f"did you mean {like[0]}? " if like else ""
    return f"no such key; {meant}there are: {', '.join(fields)}"


def stamp(path: Path) -> object:
    """What changes with a file; None while it is not there."""
    try:
        now = path.stat()
    except (OSError, ValueError):  # ValueError: a name with a NUL in it
        return None
    return (now.st_mtime_ns, now.st_ctime_ns, now.st_size, now.st_ino)
