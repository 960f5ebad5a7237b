"""Classifies the errors of database drivers: retry, try later, or stop and fix something.

PostgreSQL gives an SQLSTATE (its manual, appendix A), SQLite a result code (sqlite.org/rescode).
The message is used only if a driver gives neither.
"""

import enum
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from sqlalchemy.engine import URL
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from worker.core.hosts import place_of
from worker.errors import ConfigurationError, UnavailableError, WorkerError
from worker.postgres_tls import is_tls_refusal


class Meaning(enum.Enum):
    """The consequence of a database error."""

    OURS = "the worker's own error: a constraint, a value, or a bug"
    PASSING = "an immediate retry may succeed"
    WAITED = "the same, after a lock timeout"
    LATER = "a retry may succeed later, but not at once"
    DAMAGED = "stored data is damaged"
    NO_DATABASE = "there is no such database"
    NO_ACCESS = "no permission to open the file or the socket"
    READ_ONLY = "read-only"
    NO_LOGIN = "the role or its password is refused"
    NO_PRIVILEGE = "the role may not do this"
    BUILT_UPON = "objects of others depend on what is to be replaced"
    BAD_URL = "the driver cannot use the URL"
    NO_TRUST = "the server's certificate is not accepted"
    BAD_POOLER = "a pooler lost the prepared statements of the connection"


_BY_SQLSTATE: Final[Mapping[str, Meaning]] = {
    "25006": Meaning.READ_ONLY,
    "25P03": Meaning.PASSING,
    "26000": Meaning.BAD_POOLER,
    "2BP01": Meaning.BUILT_UPON,
    "3D000": Meaning.NO_DATABASE,
    "40001": Meaning.PASSING,
    "40P01": Meaning.PASSING,
    "42501": Meaning.NO_PRIVILEGE,
    "53300": Meaning.PASSING,
    "55P03": Meaning.WAITED,
    "57P01": Meaning.PASSING,
    "57P02": Meaning.PASSING,
    "57P03": Meaning.PASSING,
    "57P04": Meaning.NO_DATABASE,
    "XX001": Meaning.DAMAGED,
    "XX002": Meaning.DAMAGED,
}
_BY_SQLSTATE_CLASS: Final[Mapping[str, Meaning]] = {
    "08": Meaning.PASSING,
    "22": Meaning.OURS,
    "23": Meaning.OURS,
    "28": Meaning.NO_LOGIN,
}
_BY_SQLITE_CODE: Final[Mapping[int, Meaning]] = {
    3: Meaning.NO_ACCESS,  # PERM
    5: Meaning.WAITED,  # BUSY
    6: Meaning.PASSING,  # LOCKED
    8: Meaning.READ_ONLY,
    11: Meaning.DAMAGED,  # CORRUPT
    14: Meaning.NO_ACCESS,  # CANTOPEN
    19: Meaning.OURS,  # CONSTRAINT
    23: Meaning.NO_ACCESS,  # AUTH
    26: Meaning.DAMAGED,  # NOTADB
}
"""By the low byte, which the extended codes of a kind share. FULL (13) and IOERR (10): later."""

_LATER_FILE: Final = "another program may hold the file, or its disk have no room or be broken"
_LATER_SERVER: Final = (
    "check that the server runs and its disk has room, and host and port in database.url"
)
_RESTORE: Final = (
    "look at database.url; if it is right, restore from a backup "
    '(docs/operations.md, "When the database is at fault")'
)
_FILE_MODES: Final = (
    "let this account read and write the file and write its folder, where SQLite keeps its log; "
    "a read-only disk cannot hold the database"
)
_SERVER: Final[Mapping[Meaning, tuple[str, str]]] = {
    Meaning.NO_LOGIN: (
        "{role} is refused by {database}",
        "check the user in database.url, database.password_file and the server's pg_hba.conf",
    ),
    Meaning.NO_PRIVILEGE: (
        "{role} lacks a privilege in {database}",
        "let it own the tables, as `pts-worker db upgrade` needs, or grant it rights on them",
    ),
    Meaning.BUILT_UPON: (
        "views that are not the worker's depend on its reporting views in {database}",
        'drop them, run the command again, and make tables instead (docs/reporting.md, "Readers")',
    ),
    Meaning.READ_ONLY: (
        "{role} may only read in {database}",
        "take default_transaction_read_only back; if the server is a standby, name the primary",
    ),
    Meaning.NO_DATABASE: (
        "there is no such database for {role}: {database}",
        "create it, or correct database.url",
    ),
    Meaning.NO_ACCESS: (
        "the server's socket may not be opened by this account, for {database}",
        "look at the permissions of the socket's folder",
    ),
    Meaning.DAMAGED: ("{database} is damaged", _RESTORE),
    Meaning.BAD_POOLER: (
        "a pooler before {database} loses the statements that were prepared on a connection",
        "PgBouncer: set pool_mode = session, or max_prepared_statements above 0 (1.21 or newer)",
    ),
    Meaning.BAD_URL: ("database.url cannot be used for {database}", "check its parameters"),
}
"""What is wrong, and what to do."""


def meaning_of(fault: BaseException) -> Meaning:
    """What an error of SQLAlchemy, of a driver, or of the network means."""
    code = _sqlite_code(fault)
    if code is not None:
        return _BY_SQLITE_CODE.get(code & 0xFF, Meaning.LATER)
    state = sqlstate_of(fault)
    if state is not None:
        by_class = _BY_SQLSTATE_CLASS.get(state[:2], Meaning.LATER)
        return _BY_SQLSTATE.get(state, by_class)
    return _meaning_without_code(fault)


def _meaning_without_code(fault: BaseException) -> Meaning:
    if isinstance(fault, IntegrityError | DataError):
        return Meaning.OURS
    if _is_named(fault, "ClientConfigurationError"):  # asyncpg's, which SQLite does not load
        return Meaning.BAD_URL
    if isinstance(fault, UnicodeDecodeError):  # sqlite3's, on a text that is no UTF-8 any more
        return Meaning.DAMAGED
    if isinstance(fault, PermissionError):
        return Meaning.NO_ACCESS
    if is_tls_refusal(fault):
        return Meaning.NO_TRUST
    if isinstance(fault, OSError | PoolTimeoutError):
        return Meaning.PASSING
    # asyncpg's own, if the connection is lost while SQLAlchemy sets it up.
    words = str(getattr(fault, "orig", fault)).lower()
    is_lost = _is_named(fault, InterfaceError.__name__) and "closed" in words
    if not isinstance(fault, DBAPIError):
        return Meaning.PASSING if is_lost else Meaning.OURS
    is_busy = isinstance(fault, OperationalError) and ("locked" in words or "busy" in words)
    return Meaning.PASSING if fault.connection_invalidated or is_lost or is_busy else Meaning.LATER


def is_lock_timeout(fault: BaseException) -> bool:
    """Whether a statement waited in vain for somebody else's lock."""
    return meaning_of(fault) == Meaning.WAITED


def sqlstate_of(fault: BaseException) -> str | None:
    """PostgreSQL's code; errors of connecting carry one too, though SQLAlchemy leaves them be."""
    state = getattr(getattr(fault, "orig", None) or fault, "sqlstate", None)
    return state if isinstance(state, str) else None


def _sqlite_code(fault: BaseException) -> int | None:
    code = getattr(getattr(fault, "orig", None) or fault, "sqlite_errorcode", None)
    return code if isinstance(code, int) else None


def _is_named(fault: BaseException, name: str) -> bool:
    chain: list[BaseException | None] = [fault, getattr(fault, "orig", None), fault.__cause__]
    chain += [one.__cause__ for one in chain[1:] if one is not None]
    return any(kind.__name__ == name for one in chain if one for kind in type(one).__mro__)


def plain_reason(fault: BaseException) -> str:
    """The driver's reason in a line, without statement, parameters or values."""
    cause = getattr(fault, "orig", None) or fault
    words = str(cause).split("\n", 1)[0]
    words = re.sub(r"'[^']*'|\"[^\"]*\"|\([^)]*\)|\d{6,}", "…", words)
    return f"{type(cause).__name__}: {words[:200]}"


def described(fault: BaseException, url: URL) -> WorkerError:
    """The error that ends a command: 69 for what may be over later, 78 for what must be mended.

    Args:
        fault: not ``Meaning.OURS``.
        url: of the database; its file, its host and port, or its role and name stand in the
            message.
    """
    meaning, reason = meaning_of(fault), plain_reason(fault)
    is_file = url.get_backend_name() == "sqlite"
    if meaning in {Meaning.PASSING, Meaning.WAITED, Meaning.LATER}:
        asked = "" if is_file else f"; asked was {place_of(url.render_as_string())}"
        hint = _LATER_FILE if is_file else _LATER_SERVER
        return UnavailableError(f"the database is unavailable: {reason}{asked}", hint=hint)
    what, hint = _of_file(meaning, url) if is_file else _of_server(meaning, url)
    return ConfigurationError(f"{what} ({reason})", hint=hint)


def _of_file(meaning: Meaning, url: URL) -> tuple[str, str]:
    path = Path(url.database or "").absolute()
    if meaning == Meaning.DAMAGED:
        return f"the database file {path} is damaged, or is no SQLite database", _RESTORE
    verb = "written" if meaning == Meaning.READ_ONLY else "opened"
    return f"the database file {path} cannot be {verb}{_hindrance(path)}", _FILE_MODES


def _hindrance(path: Path) -> str:
    """What this account may not do with the file or its folder, as far as the modes tell."""
    # By os.path: a pathlib.Path raises on a name that is too long.
    if os.path.isdir(path):  # noqa: PTH112
        return ": it is a folder"

    def may(what: Path, mode: int) -> bool:
        return os.access(what, mode, effective_ids=os.access in os.supports_effective_ids)

    exists = os.path.exists(path)  # noqa: PTH110
    if exists and not may(path, os.R_OK):
        return ": the file may not be read"
    if exists and not may(path, os.W_OK):
        return ": the file may not be written"
    if not may(path.parent, os.W_OK | os.X_OK):
        return f": the folder {path.parent} may not be written"
    return ""


def _of_server(meaning: Meaning, url: URL) -> tuple[str, str]:
    words, hint = _SERVER[meaning]
    place = f"the database {url.database}" if url.database else "its database"
    return (
        words.format(
            role=f"the role {url.username}" if url.username else "the role of this account",
            database=place + (f" at {url.host}" if url.host else ""),
        ),
        hint,
    )
