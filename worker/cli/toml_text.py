"""Writes values and contracts as TOML, with the open points of a proposal as comments."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from worker.config.settings import text_of
from worker.core.contract import Contract
from worker.core.display import visible

if TYPE_CHECKING:
    from worker.cli.proposal import Proposal

_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_TABLES: Final = ("columns", "values", "extra")  # each is a table of its own
_REPLACED: Final = ("body", "person")  # a proposal replaces the field in force


def contract_toml(
    contract: Contract, in_force: Contract, proposals: Mapping[str, "Proposal"]
) -> tuple[str, list[dict[str, Any]]]:
    """A contract as TOML that parses to the same contract, and a list of its open points.

    Each open point is a comment ``# TODO 1: …`` at its key. Each line that differs from the
    contract in force is marked.
    """
    lines, todos = list[str](), list[dict[str, Any]]()
    for area, declared in contract.items():
        table, former = declared.model_dump(mode="json"), in_force[area].model_dump(mode="json")
        proposal = proposals.get(area)
        lines.append(f"[{area}]")
        for key, value in table.items():  # the tables of ``_TABLES`` are last
            before, notes = former[key], proposal.notes if proposal else ()
            lines += ["", f"[{area}.{key}]"] if key in _TABLES else []
            texts = [note.text for note in notes if note.key == key]
            for text in [*texts, *_losses(key, value, before)]:
                todo = {"number": len(todos) + 1, "area": area, "key": key, "text": visible(text)}
                lines.append("# TODO {number}: {text}".format(**todo))
                todos.append(todo)
            if key in _TABLES:
                for name in {**before, **value}:
                    lines += _lines(name, value, before)
            else:
                lines += _lines(key, table, former)
        lines += [f"# {line}" for line in (proposal.candidates if proposal else ())]
        lines.append("")
    return "\n".join(lines), todos


def _losses(key: str, value: Any, before: Any) -> list[str]:
    """An open point if the contract in force declares more than the proposed value of a key."""
    lost = [toml_value(before)] if before and not value else []
    if value and isinstance(before, (dict, list)) and key not in _REPLACED:
        kept = {str(name).lower() for name in value}
        lost = [str(name) for name in before if str(name).lower() not in kept]
    return [f"only in the contract in force: {', '.join(lost)}"] if lost else []


def _lines(key: str, table: dict[str, Any], in_force: dict[str, Any]) -> Iterator[str]:
    """A line, with the line in force as a comment above it if they differ.

    If the key is gone, only the comment is left.
    """
    line = toml_line(key, table[key]) if key in table else ""
    before = toml_line(key, in_force[key]) if key in in_force else ""
    if before not in {line, ""}:
        yield f"# in force: {before}"
    if line:
        yield line if line == before else f"{line}  # proposal"


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
    return "".join(char if char.isprintable() else f"\\U{ord(char):08x}" for char in text)
