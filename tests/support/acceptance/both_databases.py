"""Which databases a module's tests take: SQLite in every run, PostgreSQL in the nightly one."""

from typing import Final

import pytest

BOTH: Final = ("sqlite", pytest.param("postgresql", marks=pytest.mark.nightly))
"""The parameters of a fixture that calls ``fresh_database``."""


def fresh_database(request: pytest.FixtureRequest) -> str:
    """A database at the program's schema, of the kind that is the fixture's parameter."""
    name = {"sqlite": "make_sqlite", "postgresql": "make_postgres"}[request.param]
    url: str = request.getfixturevalue(name)()
    return url
