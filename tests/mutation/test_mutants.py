"""The mistakes that are sown, on a piece of source."""

import ast

import pytest

from tests.mutation.mutants import mutants_of, mutated


def sown(source):
    """Each mistake in the source, as a line of its own."""
    return [mutated(source, one) for one in mutants_of("m.py", source)]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a = b < c", ["a = b <= c", "a = b >= c"]),
        ("a = b is None", ["a = b is not None"]),
        ("a = b and c", ["a = b or c"]),
        ("a = not b", ["a = bool(b)"]),
        ("a = b + 1", ["a = b - 1", "a = b + 2"]),
        ("a = b + 'x'", []),
        ("a = True", ["a = False"]),
        ("a += b", ["a -= b"]),
        ("f(b, c)", ["None", "f(c, b)"]),
        ("f(b, b)", ["None"]),
        ("f(b, c=d)", ["None", "f(b)"]),
        ("q.where(b, c)", ["None", "q.where(c)", "q.where(b)"]),
        ("log.info(b, c)", []),
        ("raise E(b < c)", ["pass"]),
        ("raise E(b, c)", ["pass"]),
        ("a = E(hint=b)", []),
        ("a = min(b, c)", []),
        ("import a\n'words'", []),
        ("a: f(b, c) = d", []),
        ("@f(b, c)\ndef g(): '''doc'''", []),
    ],
)
def test_what_is_sown(source, expected):
    """Every kind of mistake, and nothing in words, annotations and decorators."""
    assert sorted(expected) == sorted(sown(source))


def test_what_is_sown_in_blocks():
    """Conditions, returns, loops and handlers."""
    source = """
def f(a):
    while a:
        try:
            break
        except E:
            g()
    return a
"""
    mistakes = {one.what: mutated(source, one) for one in mutants_of("m.py", source)}
    assert {
        "condition negated": "while not a:",
        "break left out": "pass",
        "exception not handled": "raise",
        "call left out": "None",
        "returns None": "return None",
    }.keys() == mistakes.keys()
    assert "while not a:" in mistakes["condition negated"]
    assert "return None" in mistakes["returns None"]
    for text in mistakes.values():
        assert ast.unparse(ast.parse(source)) != text


def test_a_mistake_knows_its_line():
    """In the source as it is, comments and all."""
    (one,) = mutants_of("m.py", "# a comment\n\na = b == c\n")
    assert (3, "Eq is NotEq") == (one.line, one.what)


def test_a_mistake_knows_when_its_line_runs():
    """A default is made when the module is imported, which no test does by itself."""
    found = mutants_of("m.py", "a = 1\ndef f(b=2):\n    c = 3\n")
    assert [("1 is 2", True), ("2 is 3", True), ("3 is 4", False)] == [
        (one.what, one.at_import) for one in sorted(found, key=lambda one: one.what)
    ]
