"""The log events in the program's source."""

import ast
from collections.abc import Iterator
from typing import Final, NamedTuple

from tools.docs.event_meanings import MEANINGS
from tools.docs.tree import parsed

LEVELS: Final = ("debug", "info", "warning", "error")


class LogCall(NamedTuple):
    """One logging call. ``fields`` does not include fields from a mapping."""

    event: str
    level: str
    fields: tuple[str, ...]


_FIGURES: Final = ("persons_total", "persons_complete", "requests", "…")
MORE: Final = {
    "run.summary": _FIGURES,
}
"""Fields that a call passes as a mapping. ``…``: all figures of a run."""


def log_calls() -> Iterator[LogCall]:
    """All logging calls in ``worker/`` with a literal event that contains a dot."""
    for tree in parsed("worker").values():
        for node in ast.walk(tree):
            match node:
                # Other methods called "info" or "error" have no literal with a dot.
                case ast.Call(
                    func=ast.Attribute(attr=level), args=[ast.Constant(value=str(event)), *_]
                ) if level in LEVELS and "." in event:
                    names = tuple(word.arg for word in node.keywords if word.arg)
                    yield LogCall(event, level, names)


def log_table() -> str:
    """Each event, with the levels and fields of all its calls."""
    places: dict[str, list[LogCall]] = {}
    for call in log_calls():
        places.setdefault(call.event, []).append(call)
    lines = ["| event | level | fields | meaning |", "|---|---|---|---|"]
    for event, calls in sorted(places.items()):
        levels = ", ".join(level for level in LEVELS if level in {call.level for call in calls})
        fields = dict.fromkeys((*(f for call in calls for f in call.fields), *MORE.get(event, ())))
        listed = ", ".join(f"`{field}`" for field in fields)
        lines.append(f"| `{event}` | {levels} | {listed} | {MEANINGS.get(event, '')} |")
    return "\n".join(lines) + "\n"
