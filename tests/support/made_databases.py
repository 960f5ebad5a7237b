"""Makers of databases at the program's schema, of each kind that the program supports."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from sqlalchemy import make_url

from tests.support.databases import copy_database, in_database
from tests.support.published import Store

MakeDatabase = Callable[..., str]
"""Makes a fresh database at the program's schema, or a copy: ``make(like=URL)``."""

BOTH = ("sqlite", pytest.param("postgresql", marks=pytest.mark.nightly))
"""Parameters: SQLite in every run, PostgreSQL in the nightly one."""
T = TypeVar("T")


def of_any_pts(url: str) -> str:
    """The database, which takes the next stand-in for the PTS that has filled it."""
    Store(url).rows("UPDATE store_identity SET service = ''")
    return url


def copy_of(url: str, folder: Path) -> str:
    """A copy of a database that nobody uses: on its server, or a SQLite file in this folder."""
    source = Store(url)
    if not source.is_sqlite:
        return copy_database(in_database(url, "postgres"), make_url(url).database or "")
    folder.mkdir(parents=True, exist_ok=True)
    for part in ("", "-wal"):
        if source.path.with_name(source.path.name + part).exists():
            shutil.copy(f"{source.path}{part}", folder / f"pts.db{part}")
    return f"sqlite:///{folder / 'pts.db'}"


def maker(template: str, folders: pytest.TempPathFactory) -> MakeDatabase:
    """Makes databases like the one at this URL."""

    def make(*, like: str = "") -> str:
        url = copy_of(like or template, folders.mktemp("db"))
        return of_any_pts(url) if like else url

    return make


def fresh_database(request: pytest.FixtureRequest) -> str:
    """A database at the program's schema, of the kind that is the fixture's parameter."""
    name = {"sqlite": "make_sqlite", "postgresql": "make_postgres"}[request.param]
    url: str = request.getfixturevalue(name)()
    return url
