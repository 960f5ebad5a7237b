"""What a database cannot know of our conditions by itself."""

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

    Without statistics SQLite takes any equality on an indexed column for a rare one, and went
    through all persons in the order of their keys: four times the time (docs/performance.md).
    PostgreSQL counts by itself (``Publisher``).
    """
    return _UsuallyTrue(condition)
