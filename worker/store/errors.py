"""What each error of a database driver means: again, later, for somebody to mend, or our own bug.

One table, for both drivers. A lost lease is no driver's error: ``store.runs.lease`` finds another
token in its row.
"""

import enum
import re
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, TypeAlias

from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from worker.core.hosts import place_of
from worker.errors import ConfigurationError, UnavailableError, WorkerError
from worker.store.sqlite import hindrance, want_of_room
from worker.tls import is_tls_refusal


class Ending(enum.Enum):
    """What follows from an error."""

    OURS = "the worker's own error: a constraint, a value, or a bug"
    AGAIN = "another attempt may succeed; 69 when patience is over"
    WAITED = "the same after a time-out, before which there was waiting too"
    LATER = "69 at once: another attempt in a moment would meet the same"
    MEND = "78: somebody has to mend it"


_RESTORE: Final = (
    "look at database.url; if it is right, restore from a backup "
    '(docs/database.md, "When the database is at fault")'
)
_MODES: Final = (
    "let this account read and write the file and write its folder, where SQLite keeps its log; "
    "a read-only disk cannot hold the database"
)
_LATER_FILE: Final = "another program may hold the file, or its disk have no room or be broken"
_LATER_SERVER: Final = (
    "check that the server runs and its disk has room, and host and port in database.url"
)
_Mended: TypeAlias = tuple[str, str]
"""What is wrong, and what to do, where somebody has to mend it."""
_TABLE: Final[Mapping[tuple[str | int, ...], Ending | _Mended]] = {
    ("22", "23", sqlite3.SQLITE_CONSTRAINT): Ending.OURS,
    ("sqlalchemy.IntegrityError", "sqlalchemy.DataError", "asyncpg.DataError"): Ending.OURS,
    ("08", "25P03", "40001", "40P01", "53300", "57P01", "57P02", "57P03"): Ending.AGAIN,
    ("lost", "OSError", "asyncpg.InterfaceError", "sqlalchemy.TimeoutError"): Ending.AGAIN,
    (sqlite3.SQLITE_LOCKED,): Ending.AGAIN,
    ("55P03", "TimeoutError", sqlite3.SQLITE_BUSY): Ending.WAITED,
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
    ("refused TLS",): (
        "the server of {database} is not trusted",
        "see docs/database.md, TLS to PostgreSQL",
    ),
    (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, "UnicodeDecodeError"): (
        "the database file {path} is damaged, or is no SQLite database",
        _RESTORE,
    ),
    (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH): (
        "the database file {path} cannot be opened{hindrance}",
        _MODES,
    ),
    (sqlite3.SQLITE_READONLY,): (
        "the database file {path} cannot be written{hindrance}",
        _MODES,
    ),
}
"""By PostgreSQL's SQLSTATE or its class (its manual, appendix A); by SQLite's result code, of which
the low byte counts (sqlite.org/rescode); where a driver gives no code, by the error's class, or
what SQLAlchemy found. Errors of a database that are not here, as of a full disk: later.
"""
_BY_SIGN: Final = {sign: meaning for signs, meaning in _TABLE.items() for sign in signs}


def meaning_of(fault: BaseException) -> Ending:
    """What follows from an error of SQLAlchemy, of a driver, or of the network."""
    found = _looked_up(fault)
    return found if isinstance(found, Ending) else Ending.MEND


def _looked_up(fault: BaseException) -> Ending | _Mended:
    known = (_BY_SIGN[sign] for sign in _signs(fault) if sign in _BY_SIGN)
    is_of_a_database = isinstance(fault, DBAPIError | sqlite3.Error)
    return next(known, Ending.LATER if is_of_a_database else Ending.OURS)


def _signs(fault: BaseException) -> Iterator[str | int]:
    """What the table may know an error by, the most telling first; a code settles it."""
    cause = getattr(fault, "orig", None) or fault
    if isinstance(code := getattr(cause, "sqlite_errorcode", None), int):
        yield code & 0xFF
        return
    if isinstance(state := getattr(cause, "sqlstate", None), str):
        yield from (state, state[:2])
        return
    if is_tls_refusal(fault):
        yield "refused TLS"
    if getattr(fault, "connection_invalidated", False):
        yield "lost"
    for one in (fault, cause, cause.__cause__):
        for kind in type(one).__mro__:
            package = kind.__module__.partition(".")[0]
            yield kind.__name__ if package == "builtins" else f"{package}.{kind.__name__}"


def plain_reason(fault: BaseException) -> str:
    """The driver's reason in a line, without statement, parameters or values."""
    cause = getattr(fault, "orig", None) or fault
    words = str(cause).split("\n", 1)[0]
    words = re.sub(r"'[^']*'|\"[^\"]*\"|\([^)]*\)|\d{6,}", "…", words)
    return f"{type(cause).__name__}: {words[:200] or 'no answer in time'}"


def described(fault: BaseException, url: URL) -> WorkerError:
    """The error that ends a command: 69 for what may be over later, 78 for what must be mended.

    Args:
        fault: not ``Ending.OURS``.
        url: of the database; its file, its host and port, or its role and name stand in the
            message.
    """
    meaning, reason = _looked_up(fault), plain_reason(fault)
    path = Path(url.database or "").absolute()
    if isinstance(meaning, Ending):
        is_file = url.get_backend_name() == "sqlite"
        room = want_of_room(path) if is_file else ""
        place = room or f"asked was {path if is_file else place_of(url.render_as_string())}"
        hint = _LATER_FILE if is_file else _LATER_SERVER
        return UnavailableError(f"the database is unavailable: {reason}; {place}", hint=hint)
    name = f"the database {url.database}" if url.database else "its database"
    what, hint = meaning
    what = what.format(
        role=f"the role {url.username}" if url.username else "the role of this account",
        database=name + (f" at {url.host}" if url.host else ""),
        path=path,
        hindrance=f": {found}" if (found := hindrance(path)) else "",
    )
    return ConfigurationError(f"{what} ({reason})", hint=hint)
