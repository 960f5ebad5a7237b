"""Makers of databases at the program's schema, of each kind that the program supports."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from sqlalchemy import make_url

from tests.support.databases import copy_database
from tests.support.published import Store

MakeDatabase = Callable[..., str]
"""Makes a fresh database at the program's schema, or a copy: ``make(like=URL)``."""

DATABASES = ("sqlite", "postgresql")
BOTH = ("sqlite", pytest.param("postgresql", marks=pytest.mark.nightly))
"""Parameters: SQLite in every run, PostgreSQL in the nightly one."""
T = TypeVar("T")


def of_any_pts(url: str) -> str:
    """The database, which takes the next stand-in for the PTS that has filled it."""
    Store(url).rows("UPDATE store_identity SET service = ''")
    return url


def sqlite_maker(template: Path, folders: pytest.TempPathFactory) -> MakeDatabase:
    """Makes SQLite files like this one."""

    def make(*, like: str = "") -> str:
        path = folders.mktemp("db") / "pts.db"
        shutil.copy(like.removeprefix("sqlite:///") or template, path)
        url = f"sqlite:///{path}"
        return of_any_pts(url) if like else url

    return make


def postgres_maker(server_url: str, template: str) -> MakeDatabase:
    """Makes PostgreSQL databases like the one of this name."""

    def make(*, like: str = "") -> str:
        name = make_url(like).database if like else None
        url = copy_database(server_url, name or template)
        return of_any_pts(url) if like else url

    return make


def fresh_database(request: pytest.FixtureRequest) -> str:
    """A database at the program's schema, of the kind that is the fixture's parameter."""
    name = {"sqlite": "make_sqlite", "postgresql": "make_postgres"}[request.param]
    url: str = request.getfixturevalue(name)()
    return url
