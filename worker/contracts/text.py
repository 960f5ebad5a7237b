"""Writes contracts with PTS as TOML that reads back to the same contract."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

from worker.core.contract import Contract
from worker.core.escaping import visible

_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_LINE_MAX: Final = 100
_TABLES: Final = ("columns", "values", "extra")
"""The keys of an area that are tables of their own."""

Notes = Mapping[str, Iterable[str]]
"""Comments by the place above which they stand: an area, or ``area.key``; below a table for
``area.columns`` and the like."""


def document_of(contract: Contract) -> dict[str, dict[str, Any]]:
    """A contract with every key, also those that have their default value, as the file has them."""
    tables = {name: area.model_dump(mode="json") for name, area in contract.items()}
    for table in tables.values():
        table["paging"] = table["paging"] or "none"
    return tables


def as_toml(contract: Contract, notes: Notes = MappingProxyType({})) -> str:
    """A contract as a file, complete, with these comments."""
    areas = document_of(contract).items()
    return "\n".join("\n".join(_area_lines(name, table, notes)) + "\n" for name, table in areas)


def _area_lines(name: str, table: Mapping[str, Any], notes: Notes) -> Iterator[str]:
    yield f"[{_key(name)}]"
    yield from _comments(notes, name)
    for key, value in table.items():
        if key not in _TABLES:
            yield from _comments(notes, f"{name}.{key}")
            yield _line(key, value)
    for key in _TABLES:
        yield ""
        yield f"[{_key(name)}.{key}]"
        yield from (_line(part, value) for part, value in table[key].items())
        yield from _comments(notes, f"{name}.{key}")


def _comments(notes: Notes, place: str) -> Iterator[str]:
    return (f"# {visible(note)}" for note in notes.get(place, ()))


def _line(key: str, value: Any) -> str:
    line = f"{_key(key)} = {toml_value(value)}"
    if len(line) <= _LINE_MAX or not isinstance(value, list):
        return line
    parts = "".join(f"  {toml_value(part)},\n" for part in value)
    return f"{_key(key)} = [\n{parts}]"


def _key(text: str) -> str:
    return text if _BARE_KEY.fullmatch(text) else toml_value(text)


def toml_value(value: Any) -> str:
    """A value on one line."""
    if isinstance(value, dict):
        fields = (f"{_key(name)} = {toml_value(part)}" for name, part in value.items())
        return f"{{{', '.join(fields)}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(toml_value, value))}]"
    if isinstance(value, float):
        return repr(value)  # JSON's word for infinity is none of TOML's
    text = json.dumps(value, ensure_ascii=False)
    return "".join(one if one.isprintable() else f"\\U{ord(one):08x}" for one in text)
