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
from worker.store.sqlite import want_of_room


class Ending(enum.Enum):
    """The class of an error, which decides how it is handled."""

    OURS = "the worker's own error: a constraint, a value, or a bug"
    LATER = "another attempt may succeed; 69 when patience is over"
    MEND = "78: the operator must fix it"


_RESTORE: Final = (
    "check database.url, and decompress a compressed file (`gunzip`); if neither helps, restore "
    'a backup (docs/database.md, "Database errors")'
)
_MODES: Final = (
    "let this account read and write the file and write its folder, where SQLite keeps its log; "
    "the database must be a file on a writable disk"
)
_OTHER_OBJECTS: Final = (
    "run `pts-worker db upgrade`, which makes the views of this version; if the error stays, undo "
    "manual changes such as a trigger, or restore from a backup "
    '(docs/database.md, "Database errors")'
)
_LATER_FILE: Final = "another program may hold the file, or its disk may be at fault"
_ROOM: Final = "make room on its disk, and run again"
_LATER_SERVER: Final = (
    "check that the server runs and its disk has room, and host and port in database.url"
)
_LOGIN_HINT: Final = (
    "no password is configured: write the role's password to a file of mode 0400 and set "
    "database.password_file, or let pg_hba.conf trust this role"
)
_Mended: TypeAlias = tuple[str, str]
"""The message and the hint of an error that the operator must fix."""
_TABLE: Final[Mapping[tuple[str | int, ...], Ending | _Mended]] = {
    # A retry would send the same values.
    ("22", "23", sqlite3.SQLITE_CONSTRAINT): Ending.OURS,
    ("sqlalchemy.IntegrityError", "sqlalchemy.DataError", "asyncpg.DataError"): Ending.OURS,
    # The whole class. The hint for a missing password is chosen later (``_LOGIN_REFUSED``).
    ("28",): (
        "{role} is refused by {database}",
        "check the user in database.url, database.password_file and the server's pg_hba.conf",
    ),
    ("42501",): (
        "{role} lacks a privilege in {database}",
        "let it own the tables, as `pts-worker db upgrade` needs, or grant it rights on them",
    ),
    ("2BP01",): (
        "views that are not the worker's depend on its reporting views in {database}",
        'drop them, run the command again, and make tables instead (docs/reporting.md, "Readers")',
    ),
    ("25006",): (
        "{role} may only read in {database}",
        "take default_transaction_read_only back; if the server is a standby, name the primary",
    ),
    ("3D000", "57P04"): (
        "there is no such database for {role}: {database}",
        "create it, or correct database.url",
    ),
    ("PermissionError",): (
        "the server's socket may not be opened by this account, for {database}",
        "look at the permissions of the socket's folder",
    ),
    ("XX001", "XX002"): ("{database} is damaged", _RESTORE),
    ("26000",): (
        "a pooler before {database} loses the statements that were prepared on a connection",
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
        _MODES,
    ),
    (sqlite3.SQLITE_READONLY,): ("the database file {path} cannot be written", _MODES),
    # For 42501 the entry above is used: the whole SQLSTATE is looked up before its class.
    ("42", sqlite3.SQLITE_ERROR): (
        "a statement fails in {database}: views of another version, or tables changed by hand",
        _OTHER_OBJECTS,
    ),
    ("sqlalchemy.DBAPIError", "sqlalchemy.TimeoutError", "sqlite3.Error"): Ending.LATER,
    ("asyncpg.PostgresError", "asyncpg.InterfaceError", "OSError"): Ending.LATER,
}
"""Classes of errors, by PostgreSQL's SQLSTATE or its first two characters (its manual, appendix A),
by the low byte of SQLite's result code (sqlite.org/rescode), or by the name of the Python class.
All other errors are the worker's own.
"""
_LOGIN_REFUSED: Final = "28P01"
_BY_SIGN: Final = {sign: meaning for signs, meaning in _TABLE.items() for sign in signs}


def meaning_of(fault: BaseException) -> Ending:
    """The class of an error of SQLAlchemy, of a driver, or of the network."""
    meaning = _looked_up(fault)
    return meaning if isinstance(meaning, Ending) else Ending.MEND


def _looked_up(fault: BaseException) -> Ending | _Mended:
    return next((_BY_SIGN[sign] for sign in _signs(fault) if sign in _BY_SIGN), Ending.OURS)


def _signs(fault: BaseException) -> Iterator[str | int]:
    """The keys under which the table may list an error, most specific first."""
    cause = getattr(fault, "orig", None) or fault
    yield getattr(cause, "sqlite_errorcode", 0) & 0xFF
    state = getattr(cause, "sqlstate", None) or ""
    yield from (state, state[:2])
    # SQLAlchemy's error contains its adapter's error, which asyncpg's own error has caused.
    for error in (fault,) if cause is fault else (cause.__cause__, cause, fault):
        for kind in type(error).__mro__:
            package = kind.__module__.partition(".")[0]
            yield kind.__name__ if package == "builtins" else f"{package}.{kind.__name__}"


def plain_reason(fault: BaseException) -> str:
    """The driver's reason in a line, without statement, parameters or values."""
    cause = getattr(fault, "orig", None) or fault
    # Further lines have the statement and the row. Quotes, parentheses and long numbers in the
    # first line may have values, even an identifier.
    words = str(cause).split("\n", 1)[0]
    words = re.sub(r"'[^']*'|\"[^\"]*\"|\([^)]*\)|\d{6,}", "…", words)
    return f"{type(cause).__name__}: {words[:200] or 'no answer in time'}"


def described(fault: BaseException, url: URL) -> WorkerError:
    """The error that ends a command: exit code 69 if a retry may help, 78 if it needs a fix.

    Args:
        fault: not ``Ending.OURS``.
        url: the database URL. The message contains its file, its host and port, or its role and
            name.
    """
    meaning, reason = _looked_up(fault), plain_reason(fault)
    path = Path(url.database or "").absolute()
    if isinstance(meaning, Ending):
        is_file = url.get_backend_name() == "sqlite"
        # A full disk appears as an I/O error or a busy file, so it is checked first.
        room = want_of_room(path) if is_file else ""
        place = room or f"asked was {path if is_file else place_of(url.render_as_string())}"
        hint = _ROOM if room else _LATER_FILE if is_file else _LATER_SERVER
        return UnavailableError(f"the database is unavailable: {reason}; {place}", hint=hint)
    name = f"the database {url.database}" if url.database else "its database"
    message, hint = meaning
    # Without a password, its file is more likely to be missing than the role to be wrong.
    if url.password is None and _LOGIN_REFUSED in _signs(fault):
        hint = _LOGIN_HINT
    message = message.format(
        role=f"the role {url.username}" if url.username else "the role of this account",
        database=name + (f" at {url.host}" if url.host else ""),
        path=path,
    )
    return ConfigurationError(f"{message} ({reason})", hint=hint)
