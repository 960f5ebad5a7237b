"""Writes TOML: values, and contracts with PTS with the open points of a proposal."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from worker.config.settings import text_of
from worker.core.contract import Contract
from worker.core.display import visible

_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_TABLES: Final = ("columns", "values", "extra")  # each is a table of its own


class Note(NamedTuple):
    """An open point of a proposal, at the key or table that it is about.

    Attributes:
        question: to NHN, if only they can close it.
    """

    key: str
    text: str
    question: str = ""


class Remarks(NamedTuple):
    """What a proposal says of an area beside its contract.

    Attributes:
        marks: remarks on the lines of keys and columns.
        extra: lines of ``extra``, as comments at its end.
    """

    notes: Iterable[Note] = ()
    marks: Mapping[str, str] = {}
    extra: Iterable[str] = ()


def contract_toml(
    contract: Contract, known: Contract, remarks: Mapping[str, Remarks] | None = None
) -> tuple[str, list[dict[str, Any]]]:
    """A contract as a file that reads back to the same one, and its open points.

    Args:
        known: the one in force: each line of a proposal that differs is marked.
        remarks: by area.

    Returns:
        The file; and what its comments ``# TODO 1: …`` are about: number, area, key, text.
    """
    lines, points = list[str](), list[dict[str, Any]]()

    def write(area: str, key: str, value: dict[str, Any], before: dict[str, Any]) -> None:
        told = (remarks or {}).get(area, Remarks())
        for name in {"": None, **before, **value} if key else {**before, **value}:
            for note in (note for note in told.notes if note.key == (name or key)):
                text = visible(note.text)
                points.append(
                    {"number": len(points) + 1, "area": area, "key": note.key, "text": text}
                )
                lines.append(f"# TODO {len(points)}: {text}")
            lines.extend(_lines(name, value, before, told.marks.get(name, "")) if name else ())

    for area, table in contract.items():
        own, before = table.model_dump(mode="json"), known[area].model_dump(mode="json")
        tables = {key: (own.pop(key), before.pop(key)) for key in _TABLES}
        lines.append(f"[{area}]")
        write(area, "", own, before)
        for key, (value, earlier) in tables.items():
            lines += ["", f"[{area}.{key}]"]
            write(area, key, value, earlier)
        lines += [*(f"# {line}" for line in (remarks or {}).get(area, Remarks()).extra), ""]
    return "\n".join(lines), points


def _lines(key: str, table: dict[str, Any], known: dict[str, Any], mark: str) -> Iterator[str]:
    """A line; above it the one in force, if that differs, which stands alone if the key is gone."""
    line = toml_line(key, table[key]) if key in table else ""
    before = toml_line(key, known[key]) if key in known else ""
    if before not in {line, ""}:
        yield f"# in force: {before}"
    if line:
        told = "; ".join(filter(None, ("proposal" if line != before else "", mark)))
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
