"""The file of a SQLite database, and how its connections and transactions begin.

SQLite creates the ``-wal`` and ``-shm`` files with the mode of the database file (its source,
``findCreateFileMode``), so only that mode has to be set. ``worker.trusted_files`` checks whether
other accounts can reach the file.
"""

import os
import shlex
import shutil
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, event
from sqlalchemy.ext.asyncio import AsyncEngine

from worker.errors import ConfigurationError
from worker.files import is_missing, write_new
from worker.trusted_files import SQLITE_SUFFIXES, examine_with_folder

_MIB: Final = 1024 * 1024
_FREE_BYTES_MIN: Final = 64 * _MIB
_SHARED_BYTES: Final = 64 * 1024
"""More than the initial size of the ``-shm`` and ``-wal`` files beside a database."""
_WAL_PAGES: Final = 5_000
"""The size of SQLite's write-ahead log before a checkpoint, in pages (20 MB).

Keys are random, so each batch writes pages across all indexes. SQLite's default of 1,000 pages
would write the same pages again after every second batch.
"""
_SQLITE_PRAGMAS: Final = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    f"wal_autocheckpoint={_WAL_PAGES}",
)
WRITE: Final = "pts_write"
"""The name of the execution option that marks a transaction as writing."""


def file_of(url: URL) -> Path | None:
    """The absolute path of a database's file. None for a server."""
    return Path(str(url.database)).absolute() if url.get_backend_name() == "sqlite" else None


def require_file(url: URL, *, note: str = "") -> None:
    """Refuse a SQLite file that does not exist, instead of creating an empty one.

    Args:
        note: a possible explanation, placed first in the message.

    Raises:
        ConfigurationError: the file does not exist.
    """
    file = file_of(url)
    if file is not None and is_missing(file):
        raise ConfigurationError(
            "; ".join(filter(None, (note, f"there is no database file {file} (database.url)"))),
            hint="name the configuration with --config, or the file in database.url; only for a "
            "new database run `pts-worker db upgrade`",
        )


def require_safe_path(path: Path, *, is_group_readable: bool) -> None:
    """Refuse the path of a database if other accounts can reach it, or if it cannot be a file.

    The file need not exist. A folder without search permission is not missing: SQLite reports it.

    Raises:
        ConfigurationError: the path's folder is missing, the path is a folder, or other accounts
            can reach it.
    """
    folder = path.absolute().parent
    if is_missing(folder):
        raise ConfigurationError(
            f"database.url: the folder {folder} does not exist",
            hint="create it, or correct the path: after `sqlite:///` it starts at the "
            "configuration's folder, after `sqlite:////` at the root",
        )
    try:
        examine_with_folder(
            path,
            key="database.url",
            forbidden=stat.S_IRWXO | (0 if is_group_readable else stat.S_IRWXG),
            alternative=""
            if is_group_readable
            else "database.group_readable = true lets its group in",
        )
    except IsADirectoryError:
        raise ConfigurationError(
            f"the database file {path.absolute()} cannot be opened: it is a folder",
            hint="name a file in it: sqlite:///FOLDER/pts.db",
        ) from None
    except OSError:
        pass


def require_writable(path: Path) -> None:
    """Refuse a database, or a file beside it, that this account can read but not write.

    Call it before SQLite opens the file, because SQLite copies its mode to the files beside it.

    Raises:
        ConfigurationError: the file or its folder cannot be written.
    """
    files = (Path(f"{path}{suffix}") for suffix in ("", *SQLITE_SUFFIXES))
    existing = [place for place in (path.parent, *files) if not is_missing(place)]
    # The effective user matters, because SQLite opens the file as that user.
    unwritable = [
        str(place) for place in existing if not os.access(place, os.W_OK, effective_ids=True)
    ]
    if unwritable:
        raise ConfigurationError(
            f"the database file {path} cannot be written: this account may not write "
            f"{' and '.join(unwritable)}",
            hint=f"let the worker's user (uid {os.geteuid()}) own them, and "
            f"`chmod u+w {shlex.join(unwritable)}`",
        )


def disk_space_problem(path: Path) -> str:
    """A message about a lack of free disk space. Empty if there is enough for a run."""
    free = _free_bytes(path)
    if free >= _FREE_BYTES_MIN:
        return ""
    unit, size = ("MiB", _MIB) if free >= _MIB else ("KiB", 1024)
    needed = _FREE_BYTES_MIN // _MIB
    return f"only {free // size} {unit} are free on the disk of {path}; a run needs {needed} MiB"


def _free_bytes(path: Path) -> int:
    """Free bytes on the disk of a database. If unknown, assume enough space."""
    with suppress(OSError):
        return shutil.disk_usage(path.parent).free
    return _FREE_BYTES_MIN


def configure_connections(engine: AsyncEngine, *, is_group_readable: bool) -> None:
    """Set mode, WAL, full durability and foreign keys, and control where transactions begin.

    The driver's own transaction control begins late and never with IMMEDIATE, so two writers can
    read first and then deadlock (SQLAlchemy's SQLite page, "Serializable isolation").
    """
    path = Path(str(engine.url.database)).absolute()

    @event.listens_for(engine.sync_engine, "do_connect")
    def before_connect(*_: Any) -> None:
        if is_missing(path):
            # The file has its mode from the start, regardless of the umask or the folder's default
            # ACL. If the file cannot be created, SQLite reports it.
            with suppress(OSError):
                write_new(path, b"", mode=0o640 if is_group_readable else 0o600)

    @event.listens_for(engine.sync_engine, "connect")
    def on_connect(connection: Any, _record: Any) -> None:
        # Without this, the driver begins a transaction by itself before a write.
        connection.isolation_level = None
        cursor = connection.cursor()
        if _free_bytes(path) < _SHARED_BYTES:
            # SQLite then keeps the WAL index in memory instead of the `-shm` file, so `status` and
            # `doctor` work on a full disk.
            cursor.execute("PRAGMA locking_mode=EXCLUSIVE")
        for pragma in _SQLITE_PRAGMAS:
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def on_begin(connection: Any) -> None:
        is_write = connection.get_execution_options().get(WRITE, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if is_write else "BEGIN")
