"""Recognises a SQLite file that is no store of this program, or lacks a part of one."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, inspect
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.errors import ConfigurationError, UnavailableError
from worker.store.errors import plain_reason
from worker.store.schema.tables import metadata
from worker.store.sqlite_copy import BACKUP_HINT

_REVISION: Final = re.compile("[0-9]{4}")


async def require_tables(connection: AsyncConnection) -> None:
    """Refuse a store at this program's revision that lacks a table or a column of it."""

    def missing(sync: Connection) -> list[str]:
        found = inspect(sync)
        tables = set(found.get_table_names())
        lacking = [name for name in metadata.tables if name not in tables]
        return lacking or [
            f"{name}.{column}"
            for name, table in metadata.tables.items()
            for column in set(table.columns.keys())
            - {one["name"] for one in found.get_columns(name)}
        ]

    if lacking := await connection.run_sync(missing):
        raise _ForeignError(f"it lacks {', '.join(sorted(lacking))}")


class _ForeignError(Exception):
    """What is wrong with a file that is no store of this program."""


@contextmanager
def named_as(file: Path) -> Iterator[None]:
    """Report tables that are not this program's as the file's fault, and not the database's."""
    try:
        yield
    except _ForeignError as error:
        raise no_backup(file, str(error)) from None
    except SQLAlchemyError as error:
        raise no_backup(file, plain_reason(error)) from error
    except UnavailableError as error:
        code = getattr(getattr(error.__cause__, "orig", None), "sqlite_errorcode", None)
        if error.__cause__ is None or code != sqlite3.SQLITE_ERROR:
            raise
        raise no_backup(file, plain_reason(error.__cause__)) from error


def is_revision(found: str) -> bool:
    """Whether this program may have given its schema such a number."""
    return _REVISION.fullmatch(found) is not None


def no_backup(file: Path, reason: str) -> ConfigurationError:
    """The error for a file that ``db restore`` cannot bring back."""
    return ConfigurationError(
        f"FILE: {file} is no backup of this program, or is damaged ({reason})",
        hint=BACKUP_HINT,
    )
