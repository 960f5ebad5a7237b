"""Writes TOML: values, and contracts with PTS with the marks of a proposal."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

from worker.config.settings import text_of
from worker.core.contract import Contract

_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_TABLES: Final = ("columns", "values", "extra")  # each is a table of its own
_Remarks: TypeAlias = Mapping[str, tuple[Mapping[str, str], Sequence[str]]]


def contract_toml(contract: Contract, known: Contract, remarks: _Remarks) -> str:
    """A contract as a file that reads back to the same one.

    Args:
        known: the one in force: each line of a proposal that differs is marked.
        remarks: of each area, marks of keys and columns; and comments for its end, ``extra``.
    """
    lines = list[str]()
    for name, area in contract.items():
        table, before = area.model_dump(mode="json"), known[name].model_dump(mode="json")
        own = {key: value for key, value in table.items() if key not in _TABLES}
        marks, notes = remarks.get(name, ({}, ()))
        lines += [f"[{name}]", *_lines(own, before, marks)]
        for key in _TABLES:
            lines += ["", f"[{name}.{key}]", *_lines(table[key], before[key], marks)]
        lines += [*(f"# {line}" for line in notes), ""]
    return "\n".join(lines)


def _lines(table: dict[str, Any], known: dict[str, Any], marks: Mapping[str, str]) -> Iterator[str]:
    for key, value in table.items():
        line, before = toml_line(key, value), toml_line(key, known.get(key))
        if line != before and key in known:
            yield f"# in force: {before}"
        told = "; ".join(filter(None, ("proposal" if line != before else "", marks.get(key))))
        yield f"{line}  # {told}" if told else line


def toml_line(key: str, value: Any) -> str:
    """A key with its value."""
    return f"{key if _BARE_KEY.fullmatch(key) else toml_value(key)} = {toml_value(value)}"


def toml_value(value: Any) -> str:
    """A value on one line; ``"none"`` for None."""
    if isinstance(value, dict):
        return f"{{{', '.join(toml_line(name, part) for name, part in value.items())}}}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(toml_value, value))}]"
    text = json.dumps("none" if value is None else value, ensure_ascii=False, default=text_of)
    return "".join(one if one.isprintable() else f"\\U{ord(one):08x}" for one in text)
