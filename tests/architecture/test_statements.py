"""SQL as text stands where docs/architecture.md says; all else is SQLAlchemy Core."""

import ast
import re
from pathlib import Path

STORE = Path(__file__).parents[2] / "worker" / "store"
MODULES = {"catalogues.py", "runs/statements.py", "schema/views.py", "writes/statements.py"}
STATEMENT = re.compile(r"\s*(SELECT|INSERT INTO|DELETE FROM|UPDATE|WITH) ")


def has_statement(source: str) -> bool:
    """Whether a text in the code, other than a docstring, begins a statement."""
    tree = ast.parse(source)
    said = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    return any(
        isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in said
        and STATEMENT.match(node.value)
        for node in ast.walk(tree)
    )


def test_sql_as_text_has_its_modules():
    """A statement beside the code that executes it is found by nobody who looks for SQL."""
    found = {
        str(path.relative_to(STORE))
        for path in STORE.rglob("*.py")
        if has_statement(path.read_text(encoding="utf-8"))
    }
    assert found == MODULES


def test_a_statement_is_found():
    """In a text and in a formatted one; not in a docstring."""
    assert has_statement('query = text("SELECT 1")')
    assert has_statement('query = f"INSERT INTO {table}"')
    assert not has_statement('"""A SELECT of persons, or an INSERT INTO."""')
