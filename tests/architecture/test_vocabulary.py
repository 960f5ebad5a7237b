"""Retired words do not come back as names, neither in the program nor in its tests."""

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

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
        "helpings", "errand", "crew", "shut", "turn", "turns", "whoever",
    }
)  # fmt: skip
"""Words that are no part of such a name."""


PUBLIC = frozenset({"turns"})
"""A field of ``status --json``."""


def _words(name: str) -> set[str]:
    return set(re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().split("_"))


def _names(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id


def _found(folder: str, *, is_retired: Callable[[str], bool]) -> set[str]:
    found = set()
    for path in (ROOT / folder).rglob("*.py"):
        names = {path.stem, *_names(ast.parse(path.read_text(encoding="utf-8")))}
        found |= {
            f"{path.relative_to(ROOT)}: {name}" for name in names - PUBLIC if is_retired(name)
        }
    return found


@pytest.mark.parametrize("folder", ["worker", "tests", "bench", "migrations"])
def test_no_retired_word_is_in_a_name(folder: str) -> None:
    """Modules, classes, functions, parameters and variables use the glossary's words."""
    assert set() == _found(
        folder,
        is_retired=lambda name: not name.startswith("__") and bool(_words(name) & RETIRED_WORDS),
    )


def test_no_name_is_retired() -> None:
    """What the program's parts were called once."""
    assert set() == _found("worker", is_retired=RETIRED_NAMES.__contains__)
    modules = {path.stem for path in (ROOT / "worker").rglob("*.py")}
    assert not modules & RETIRED_MODULES
