"""The table of docs/guarantees.md: which promise is shown by how many tests, and where.

A test says so itself, by ``@pytest.mark.promise("1")`` or by ``pytestmark`` for its module.
"""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from tools.docs.tree import ROOT, parsed

PAGE: Final = ROOT / "docs" / "guarantees.md"
_BEGIN: Final = "<!-- `python -m tools.docs` writes this table -->"
_END: Final = "<!-- end of the table -->"
_TABLE: Final = re.compile(f"(?s){re.escape(_BEGIN)}.*{re.escape(_END)}")


class MarkedTest(NamedTuple):
    """A test function, and a promise that breaks where it fails."""

    promise: str
    path: Path
    name: str


def promises() -> dict[str, str]:
    """Number and title of each promise of the page."""
    return dict(re.findall(r"(?m)^## (\d+)\. (.+)$", PAGE.read_text(encoding="utf-8")))


def marked_tests() -> Iterator[MarkedTest]:
    """Each test of each promise; one that shows two promises comes twice."""
    for path, tree in parsed("tests").items():
        for promise, test in _marked(tree, []):
            yield MarkedTest(promise, path.relative_to(ROOT), test.name)


_Function = ast.FunctionDef | ast.AsyncFunctionDef


def _marked(scope: ast.Module | ast.ClassDef, outer: list[str]) -> Iterator[tuple[str, _Function]]:
    for node in scope.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark":
            outer = [*outer, *_numbers(node.value)]
    for node in scope.body:
        if not isinstance(node, _Function | ast.ClassDef):
            continue
        own = [*outer, *(number for mark in node.decorator_list for number in _numbers(mark))]
        if isinstance(node, ast.ClassDef):
            yield from _marked(node, own)
        elif node.name.startswith("test"):
            yield from ((number, node) for number in dict.fromkeys(own))


def _numbers(marks: ast.expr) -> list[str]:
    return re.findall(r"mark\.promise\('(.*?)'\)", ast.unparse(marks))


def guarantees_page() -> str:
    """The page, with its table as the tests' markers have it."""
    return _TABLE.sub(lambda _: f"{_BEGIN}\n\n{_table()}\n{_END}", PAGE.read_text(encoding="utf-8"))


def _table() -> str:
    folders: dict[str, Counter[str]] = {}
    for test in marked_tests():
        folder = "/".join(test.path.parts[:2])
        folders.setdefault(test.promise, Counter())[folder] += 1
    lines = ["| promise | tests | in |", "|---|---:|---|"]
    for number, title in promises().items():
        found = folders.get(number, Counter())
        places = ", ".join(f"`{folder}`" for folder in sorted(found))
        lines.append(f"| {number}. {title} | {found.total()} | {places} |")
    return "\n".join(lines) + "\n"
