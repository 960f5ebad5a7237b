"""Every test can fail."""

import ast
import re
import subprocess
import sys
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
    assert [] == idle(path.read_text(encoding="utf-8") for path in TESTS.rglob("*.py"))


def test_idle_tests_are_found():
    """Neither a call alone nor a helper that asserts nothing is enough."""
    source = """
def helper(): return len(())
def checker(): assert helper() == 0
def test_a(): helper()
async def test_b(): checker()
def test_c():
    with pytest.raises(ValueError): helper()
def test_d(): run(checker, 1)
"""
    assert ["test_a"] == idle([source])


FAILING = """
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st
from tests.acceptance.program import Ended


def test_exit_code():
    ended = Ended(code=70, out="", err="a reason", took_s=1.0, folder=Path("/left/here"))
    assert 0 == ended.code

@settings(derandomize=False)
@given(st.integers(0, 10**9))
def test_random(number):
    print("drew", number)
    assert number < 0

@pytest.mark.timeout(0.2)
def test_for_ever():
    while True:
        pass
"""


def outcome_of(folder: Path, *options: str) -> str:
    """What pytest says of these tests, with the rules of this suite."""
    (folder / "test_failing.py").write_text(FAILING, encoding="utf-8")
    words = ["-m", "pytest", "-ptests.conftest", "-pno:cacheprovider", "-pno:schemathesis"]
    command = [sys.executable, *words, *options, "--rootdir", str(TESTS.parent), str(folder)]
    done = subprocess.run(command, cwd=TESTS.parent, capture_output=True, text=True, check=False)
    assert 1 == done.returncode, done.stdout + done.stderr
    return done.stdout


def test_what_fails_says_why_and_can_be_replayed(tmp_path):
    """The program's end, its last words and what it left; the seed; and no test lasts for ever."""
    said = outcome_of(tmp_path)
    assert "exit code 70; what it left: /left/here\nthe end of standard error:\na reason" in said
    assert "Timeout" in said
    at_start, at_end = re.findall(r"--hypothesis-seed=\d+", said)
    assert at_start == at_end
    drawn = re.findall(r"^drew \d+", said, re.MULTILINE)
    assert len(drawn) > 1
    again = outcome_of(tmp_path, at_start, "-k", "random")
    assert drawn == re.findall(r"^drew \d+", again, re.MULTILINE)
