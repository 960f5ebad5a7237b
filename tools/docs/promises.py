"""The page "tests of promises": the folders with tests of each promise.

A test declares its promise with ``@pytest.mark.promise("1")``, or a module with ``pytestmark``.
"""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from tools.docs.tree import ROOT, parsed

_GUARANTEES: Final = ROOT / "docs" / "guarantees.md"
_HEAD: Final = """\
# Tests of promises

Each test that fails when a [promise](../guarantees.md) is broken is marked with the promise's \
number. These folders have such tests.

| promise | tests in |
|---|---|
"""


class MarkedTest(NamedTuple):
    """A test function and the promise that it tests."""

    promise: str
    path: Path
    name: str


def promises() -> dict[str, str]:
    """The title of each promise, by its number."""
    page = _GUARANTEES.read_text(encoding="utf-8")
    return dict(re.findall(r"(?m)^(\d+)\. \*\*(.+?)\.\*\*", page))


def marked_tests() -> Iterator[MarkedTest]:
    """All tests with a promise. A test of two promises is yielded twice."""
    for path, tree in parsed("tests").items():
        for promise, test in _marked(tree, []):
            yield MarkedTest(promise, path.relative_to(ROOT), test.name)


_Function = ast.FunctionDef | ast.AsyncFunctionDef


def _marked(scope: ast.Module | ast.ClassDef, outer: list[str]) -> Iterator[tuple[str, _Function]]:
    for node in scope.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark":
            outer = [*outer, *_numbers(node.value)]
    # A second loop, because ``pytestmark`` also applies to tests above it.
    for node in scope.body:
        if not isinstance(node, _Function | ast.ClassDef):
            continue
        numbers = [*outer, *(number for mark in node.decorator_list for number in _numbers(mark))]
        if isinstance(node, ast.ClassDef):
            yield from _marked(node, numbers)
        elif node.name.startswith("test"):
            yield from ((number, node) for number in dict.fromkeys(numbers))


def unread_markers() -> set[Path]:
    """Test modules with a marker that the page misses: under another name, or with an integer."""
    return {path for path, tree in parsed("tests").items() if _calls(tree) != _read(tree)}


def _calls(tree: ast.Module) -> int:
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
    # As text, because markers are calls, lists of calls, or decorators.
    return re.findall(r"mark\.promise\('(.*?)'\)", ast.unparse(marks))


def promises_page() -> str:
    """The page, generated from the tests' markers."""
    folders: dict[str, set[str]] = defaultdict(set)
    for test in marked_tests():
        folders[test.promise].add("/".join(test.path.parts[:2]))
    places = {
        number: ", ".join(f"`{name}`" for name in sorted(folders[number])) for number in folders
    }
    rows = (
        f"| {number}. {title} | {places.get(number, '')} |" for number, title in promises().items()
    )
    return _HEAD + "\n".join(rows) + "\n"
