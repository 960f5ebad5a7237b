"""Hints for the query planner."""

from typing import Any

from sqlalchemy import Boolean, ColumnElement
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement


class _UsuallyTrue(FunctionElement[bool]):
    type = Boolean(create_constraint=False)
    inherit_cache = True


@compiles(_UsuallyTrue)
def _plain(element: _UsuallyTrue, compiler: Any, **options: Any) -> str:
    return str(compiler.process(element.clauses, **options))


@compiles(_UsuallyTrue, "sqlite")
def _likely(element: _UsuallyTrue, compiler: Any, **options: Any) -> str:
    return f"likely{compiler.process(element.clause_expr, **options)}"


def usually_true(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    """Mark a condition that holds for most rows of its table, such as the tenant of a person.

    Without statistics SQLite assumes that any equality on an indexed column is selective. It then
    scans all persons in index order, which takes four times as long (docs/performance.md).
    PostgreSQL has statistics (``Publisher``).
    """
    return _UsuallyTrue(condition)
