"""Retired words do not come back as names in ``worker/``."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

WORKER = Path(__file__).parents[2] / "worker"

RETIRED_NAMES = frozenset(
    {
        "Line", "Crew", "Errand", "Feeder", "Outbox", "Inbox", "Met", "meet", "met_by",
        "carry_out", "Part", "PartDone", "Wire", "KeptWire", "Answer", "Reply", "Sender", "Caller",
        "Verdict", "SLOT", "write_slots", "KeyClaims", "for_most",
        "crew", "key_claims",
    }
)  # fmt: skip
"""Complete names of classes, functions, parameters and modules."""

RETIRED_MODULES = frozenset({"feeding", "running", "observing", "turns", "holding", "opening"})
"""Complete names of modules."""

RETIRED_WORDS = frozenset(
    {
        "told", "tell", "tells", "unheard", "whole", "wholly", "twin", "slot", "slots",
        "helpings", "errand", "crew", "shut",
    }
)  # fmt: skip
"""Words that are no part of such a name."""


def _words(name: str) -> set[str]:
    return set(re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().split("_"))


def _names(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg


def _is_retired(name: str) -> bool:
    return name in RETIRED_NAMES or bool(_words(name) & RETIRED_WORDS)


def _retired() -> set[str]:
    retired = set()
    for path in WORKER.rglob("*.py"):
        names = set(_names(ast.parse(path.read_text(encoding="utf-8"))))
        retired |= {name for name in names | {path.stem} if _is_retired(name)}
        retired |= {path.stem} & RETIRED_MODULES
    return retired


def test_no_retired_word_is_a_name() -> None:
    """Classes, functions, parameters and modules use the glossary's words."""
    assert set() == _retired()
