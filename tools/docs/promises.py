"""The table of docs/guarantees.md: where the tests of each promise are.

A test says so itself, by ``@pytest.mark.promise("1")`` or by ``pytestmark`` for its module.
"""

import ast
import re
from collections import defaultdict
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
    """Each test of each promise; a test of two promises comes twice."""
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


def unread_markers() -> set[Path]:
    """Test modules with a marker that the table misses: under another name, or with an integer."""
    return {path for path, tree in parsed("tests").items() if _said(tree) != _read(tree)}


def _said(tree: ast.Module) -> int:
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return sum(isinstance(call, ast.Attribute) and call.attr == "promise" for call in calls)


def _read(tree: ast.Module) -> int:
    marks: list[ast.expr] = []
    for node in ast.walk(tree):
        if isinstance(node, _Function | ast.ClassDef):
            marks += node.decorator_list
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark":
            marks.append(node.value)
    return sum(len(_numbers(mark)) for mark in marks)


def _numbers(marks: ast.expr) -> list[str]:
    return re.findall(r"mark\.promise\('(.*?)'\)", ast.unparse(marks))


def guarantees_page() -> str:
    """The page, with its table as the tests' markers have it."""
    return _TABLE.sub(lambda _: f"{_BEGIN}\n\n{_table()}\n{_END}", PAGE.read_text(encoding="utf-8"))


def _table() -> str:
    folders: dict[str, set[str]] = defaultdict(set)
    for test in marked_tests():
        folders[test.promise].add("/".join(test.path.parts[:2]))
    lines = ["| promise | tests in |", "|---|---|"]
    for number, title in promises().items():
        places = ", ".join(f"`{folder}`" for folder in sorted(folders[number]))
        lines.append(f"| {number}. {title} | {places} |")
    return "\n".join(lines) + "\n"
