"""Every test can fail."""

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

TESTS = Path(__file__).parents[1]
RAISERS = {
    "raises",
    "fail",
    "run_state_machine_as_test",  # Hypothesis
    "call_and_validate",  # schemathesis
    "validate_dpop_proof",  # requests_oauth2client
    "needs",  # worker.config: its tests of what is missing see it raise
}
"""Calls that raise when something is wrong, by the last word of their names."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions_of(sources: Iterable[str]) -> list[Function]:
    """All functions, nested ones too."""
    nodes = (node for source in sources for node in ast.walk(ast.parse(source)))
    return [node for node in nodes if isinstance(node, Function)]


def calls(function: Function) -> Iterator[str]:
    """The last words of the names of what it calls, or hands on to be called."""
    for node in ast.walk(function):
        if isinstance(node, ast.Call):
            for one in (node.func, *node.args):
                if isinstance(one, ast.Name | ast.Attribute):
                    yield one.id if isinstance(one, ast.Name) else one.attr


def idle(sources: Iterable[str]) -> list[str]:
    """Tests that neither assert nor call what does; a function is known by its name alone."""
    found = functions_of(sources)
    sure = RAISERS | {
        one.name
        for one in found
        if any(isinstance(node, ast.Assert | ast.Raise) for node in ast.walk(one))
    }
    while more := {one.name for one in found if not sure.isdisjoint(calls(one))} - sure:
        sure |= more
    return [one.name for one in found if one.name.startswith("test") and one.name not in sure]


def test_every_test_asserts_something():
    """A test that only calls shows that nothing was raised, which is rarely what it says."""
    assert idle(path.read_text(encoding="utf-8") for path in TESTS.rglob("*.py")) == []
