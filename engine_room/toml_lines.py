"""A TOML file, and in which line each of its keys stands. Knows nothing of what the keys mean."""

import re
import sys
from collections.abc import Iterator
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Place = tuple[str | int, ...]  # a key below the keys that it stands in
# What a text or a list that goes over several lines may end with.
ENDING = re.compile(r"\"\"\"|'''|[\]}]")


def read(text: str) -> dict[str, Any]:
    """The tables of a text. Raises ValueError, which says the line and shows it."""
    try:
        table: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"at line (\d+)", str(error))
        line = text.split("\n")[int(found[1]) - 1].strip()[:100] if found else ""
        raise ValueError(f"line {found[1]}, {line!r}: {error}" if found else str(error)) from error
    except RecursionError as error:
        raise ValueError("its lists lie too deep in each other") from error
    return table


def lines_of(text: str) -> dict[Place, int]:
    """The line of each key, from 1, of a text that can be read."""
    found: dict[Place, int] = {}
    table: Place = ()
    statement, begin = "", 1
    for number, line in enumerate(text.split("\n"), 1):
        is_first = not statement
        statement += f"{line}\n"
        if not is_first and not ENDING.search(line):
            continue
        try:
            places = list(_places(tomllib.loads(statement)))
        except tomllib.TOMLDecodeError:
            continue  # it goes on in the next line
        is_header = statement.lstrip().startswith("[")
        for place in places:
            found.setdefault(place if is_header else (*table, *place), begin)
        table = places[-1] if is_header else table
        statement, begin = "", number + 1
    return found


def _places(table: dict[str, Any], above: Place = ()) -> Iterator[Place]:
    for key, value in table.items():
        yield (*above, key)
        if isinstance(value, dict):
            yield from _places(value, (*above, key))
