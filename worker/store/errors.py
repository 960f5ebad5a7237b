"""Classifies errors of the database drivers: retry later, operator must fix, or our own bug.

One table, for both drivers. A lost lease is not a driver's error: ``store.runs.lease`` finds
another token in its row.
"""

import enum
import re
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, TypeAlias

from sqlalchemy.engine import URL

from worker.core.hosts import place_of
from worker.errors import ConfigurationError, UnavailableError, WorkerError
from worker.store.sqlite import disk_space_problem


class ErrorClass(enum.Enum):
    """The class of an error, which decides how it is handled."""

    INTERNAL = "the worker's own error: a constraint, a value, or a bug"
    RETRY = "another attempt may succeed; 69 when patience is over"
    OPERATOR = "78: the operator must fix it"


_RESTORE: Final = (
    "check database.url, and decompress a compressed file (`gunzip`); if neither helps, restore "
    'a backup (docs/database.md, "Database errors")'
)
_FILE_ACCESS: Final = (
    "allow this account to write the file, and to create files in its folder, where SQLite keeps "
    "its log; the disk must be writable"
)
_CHANGED_SCHEMA: Final = (
    "run `pts-worker db upgrade`, which makes the views of this version; if the error stays, undo "
    "manual changes such as a trigger, or restore from a backup "
    '(docs/database.md, "Database errors")'
)
_RETRY_FILE: Final = "another program may have locked the file, or its disk may be faulty"
_FREE_SPACE: Final = "free space on its disk, and run again"
_RETRY_SERVER: Final = (
    "check that the server is running and has free disk space, and check the host and port in "
    "database.url"
)
_LOGIN_HINT: Final = (
    "no password is configured: write the role's password to a file of mode 0400 and set "
    "database.password_file, or let pg_hba.conf trust this role"
)
_OperatorFix: TypeAlias = tuple[str, str]
"""The message and the hint of an error that the operator must fix."""
_TABLE: Final[Mapping[tuple[str | int, ...], ErrorClass | _OperatorFix]] = {
    # A retry would send the same values.
    ("22", "23", sqlite3.SQLITE_CONSTRAINT): ErrorClass.INTERNAL,
    ("sqlalchemy.IntegrityError", "sqlalchemy.DataError", "asyncpg.DataError"): ErrorClass.INTERNAL,
    # All codes of class 28. If no password is configured, the hint is ``_LOGIN_HINT``.
    ("28",): (
        "{role} is refused by {database}",
        "check the user in database.url, database.password_file and the server's pg_hba.conf",
    ),
    ("42501",): (
        "{role} lacks a privilege in {database}",
        "make it the owner of the tables (`pts-worker db upgrade` needs that), or grant it rights",
    ),
    ("2BP01",): (
        "views that are not the worker's depend on its reporting views in {database}",
        'drop them, run the command again, and make tables instead (docs/reporting.md, "Readers")',
    ),
    ("25006",): (
        "{role} may only read in {database}",
        "reset default_transaction_read_only; if the server is a standby, use the primary",
    ),
    ("3D000", "57P04"): (
        "{database} does not exist (for {role})",
        "create it, or correct database.url",
    ),
    ("PermissionError",): (
        "this account cannot open the server's socket, for {database}",
        "check the permissions of the socket's folder",
    ),
    ("XX001", "XX002"): ("{database} is damaged", _RESTORE),
    ("26000",): (
        "a pooler in front of {database} loses the statements that were prepared on a connection",
        "PgBouncer: set pool_mode = session, or connect to PostgreSQL directly",
    ),
    ("asyncpg.ClientConfigurationError",): (
        "database.url cannot be used for {database}",
        "check its parameters",
    ),
    (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, "UnicodeDecodeError"): (
        "the database file {path} is damaged, or is not a SQLite database",
        _RESTORE,
    ),
    (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH): (
        "the database file {path} cannot be opened",
        _FILE_ACCESS,
    ),
    (sqlite3.SQLITE_READONLY,): ("the database file {path} cannot be written", _FILE_ACCESS),
    # The other errors of class 42. 42501 has its own entry, which is found first.
    ("42", sqlite3.SQLITE_ERROR): (
        "a statement fails in {database}: views of another version, or tables changed by hand",
        _CHANGED_SCHEMA,
    ),
    ("sqlalchemy.DBAPIError", "sqlalchemy.TimeoutError", "sqlite3.Error"): ErrorClass.RETRY,
    ("asyncpg.PostgresError", "asyncpg.InterfaceError", "OSError"): ErrorClass.RETRY,
}
"""Classes of errors, by PostgreSQL's SQLSTATE or its first two characters (its manual, appendix A),
by the low byte of SQLite's result code (sqlite.org/rescode), or by the name of the Python class.
All other errors are the worker's own.
"""
_LOGIN_REFUSED: Final = "28P01"
_BY_KEY: Final = {key: meaning for keys, meaning in _TABLE.items() for key in keys}


def class_of(error: BaseException) -> ErrorClass:
    """The class of an error of SQLAlchemy, of a driver, or of the network."""
    meaning = _look_up(error)
    return meaning if isinstance(meaning, ErrorClass) else ErrorClass.OPERATOR


def _look_up(error: BaseException) -> ErrorClass | _OperatorFix:
    return next((_BY_KEY[key] for key in _keys(error) if key in _BY_KEY), ErrorClass.INTERNAL)


def _keys(error: BaseException) -> Iterator[str | int]:
    """The keys under which the table may list an error, most specific first."""
    cause = getattr(error, "orig", None) or error
    yield getattr(cause, "sqlite_errorcode", 0) & 0xFF
    state = getattr(cause, "sqlstate", None) or ""
    yield from (state, state[:2])
    # SQLAlchemy wraps an error of its adapter (`orig`), which wraps the error of asyncpg.
    chain = (error,) if cause is error else (cause.__cause__, cause, error)
    for link in chain:
        for kind in type(link).__mro__:
            package = kind.__module__.partition(".")[0]
            yield kind.__name__ if package == "builtins" else f"{package}.{kind.__name__}"


def plain_reason(error: BaseException) -> str:
    """The driver's reason in one line, without statement, parameters or values."""
    cause = getattr(error, "orig", None) or error
    # Further lines have the statement and the row. Quotes, parentheses and long numbers in the
    # first line may have values, even an identifier.
    line = str(cause).split("\n", 1)[0]
    line = re.sub(r"'[^']*'|\"[^\"]*\"|\([^)]*\)|\d{6,}", "…", line)
    return f"{type(cause).__name__}: {line[:200] or 'no answer in time'}"


def worker_error(error: BaseException, url: URL) -> WorkerError:
    """The error that ends a command: exit code 69 if a retry may help, 78 if it needs a fix.

    Args:
        error: not of ``ErrorClass.INTERNAL``.
        url: the database URL. The message contains its file, its host and port, or its role and
            name.
    """
    meaning, reason = _look_up(error), plain_reason(error)
    path = Path(url.database or "").absolute()
    if isinstance(meaning, ErrorClass):
        is_file = url.get_backend_name() == "sqlite"
        detail = f"tried {path if is_file else place_of(url.render_as_string())}"
        hint = _RETRY_FILE if is_file else _RETRY_SERVER
        # A full disk appears as an I/O error or a busy file.
        if is_file and (problem := disk_space_problem(path)):
            detail, hint = problem, _FREE_SPACE
        return UnavailableError(f"the database is unavailable: {reason}; {detail}", hint=hint)
    name = f"the database {url.database}" if url.database else "its database"
    message, hint = meaning
    # Without a password, its file is more likely to be missing than the role to be wrong.
    if url.password is None and _LOGIN_REFUSED in _keys(error):
        hint = _LOGIN_HINT
    message = message.format(
        role=f"the role {url.username}" if url.username else "the role of this account",
        database=name + (f" at {url.host}" if url.host else ""),
        path=path,
    )
    return ConfigurationError(f"{message} ({reason})", hint=hint)
