"""Makers of databases at the program's schema, of each kind that the program supports."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from sqlalchemy import make_url

from tests.support.databases import copy_database

MakeDatabase = Callable[..., str]
"""Makes a fresh database at the program's schema, or a copy: ``make(like=URL)``."""

DATABASES = ("sqlite", "postgresql")
T = TypeVar("T")


def sqlite_maker(template: Path, folders: pytest.TempPathFactory) -> MakeDatabase:
    """Makes SQLite files like this one."""

    def make(*, like: str = "") -> str:
        path = folders.mktemp("db") / "pts.db"
        shutil.copy(like.removeprefix("sqlite:///") or template, path)
        return f"sqlite:///{path}"

    return make


def postgres_maker(server_url: str, template: str) -> MakeDatabase:
    """Makes PostgreSQL databases like the one of this name."""

    def make(*, like: str = "") -> str:
        name = make_url(like).database if like else None
        return copy_database(server_url, name or template)

    return make
