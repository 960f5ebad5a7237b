"""The file of a SQLite database, and how its connections and transactions begin.

SQLite gives the mode of the file to what it keeps beside it (its source, ``findCreateFileMode``),
so both are right if the file was made so. Who else may reach it: ``worker.trusted_files``.
"""

import os
import shlex
import shutil
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, event
from sqlalchemy.ext.asyncio import AsyncEngine

from worker.errors import ConfigurationError, SchemaError
from worker.files import is_missing, private_mode, write_new
from worker.trusted_files import SQLITE_SUFFIXES, examine_sqlite

_FILES: Final = ("", *SQLITE_SUFFIXES)
_MIB: Final = 1024 * 1024
_ROOM_BYTES_MIN: Final = 64 * _MIB
_SHARED_BYTES: Final = 32 * 1024
"""What SQLite makes at least of the ``-shm`` beside a database."""
_WAL_PAGES: Final = 5_000
"""How many pages SQLite's write-ahead log holds (20 MB) before a checkpoint.

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
"""The option of a transaction that writes."""
_LOST_HINT: Final = (
    "what was written since is not on the disk: copy a backup back if the file is gone "
    "(docs/database.md, 'Restore'), and let nothing remove or exchange it while a run "
    "is on"
)


def file_of(url: URL) -> Path | None:
    """The absolute path of a database's file; None for a server."""
    return Path(str(url.database)).absolute() if url.get_backend_name() == "sqlite" else None


def is_there(url: URL) -> bool:
    """False for a SQLite file that does not exist; opening it would create it."""
    file = file_of(url)
    return file is None or not is_missing(file)


def require_file(url: URL) -> None:
    """Refuse a SQLite file that does not exist, instead of creating an empty one.

    Raises:
        SchemaError: the file does not exist.
    """
    if not is_there(url):
        raise SchemaError(
            f"there is no database file {file_of(url)} (database.url)",
            hint="name the configuration with --config, or the file in database.url; only for a "
            "new database run `pts-worker db upgrade`",
        )


def require_place(path: Path, *, is_group_readable: bool) -> None:
    """Refuse a missing folder, a folder in the file's place, and a database that others can reach.

    The file need not be there. A folder that cannot be entered is not missing: SQLite will say so.

    Raises:
        ConfigurationError: what is wrong, where, and what to do.
    """
    folder = path.absolute().parent
    if is_missing(folder):
        raise ConfigurationError(
            f"database.url: the folder {folder} does not exist",
            hint="create it, or name another file",
        )
    if os.path.isdir(path):  # noqa: PTH112 - pathlib raises on a name that is too long
        raise ConfigurationError(
            f"the database file {path.absolute()} cannot be opened: it is a folder",
            hint="name a file in it: sqlite:///FOLDER/pts.db",
        )
    with suppress(OSError):
        examine_sqlite(
            path,
            key="database.url",
            group_may_write=is_group_readable,
            forbidden=stat.S_IRWXO | (0 if is_group_readable else stat.S_IRWXG),
            way_out="" if is_group_readable else "database.group_readable = true lets its group in",
        )


def require_writable(path: Path) -> None:
    """Refuse a database that this account can read and cannot write.

    To be asked before SQLite opens it: SQLite gives its mode to what it makes beside it.

    Raises:
        ConfigurationError: it, what SQLite keeps beside it, or its folder cannot be written.
    """
    if (closed := _closed(path)) and os.access(path, os.R_OK, effective_ids=True):
        raise ConfigurationError(
            f"the database file {path} cannot be written: {hindrance(path)}",
            hint=f"let the worker's user (uid {os.geteuid()}) own what is there, and "
            f"`chmod u+w {shlex.join(map(str, closed))}`",
        )


def hindrance(path: Path) -> str:
    """What this account may not do with a database's file and its folder, as the modes tell."""
    # By os.path: a pathlib.Path raises on a name that is too long.
    if os.path.exists(path) and not os.access(path, os.R_OK, effective_ids=True):  # noqa: PTH110
        return "the file may not be read"
    named = [f"the {'folder' if one == path.parent else 'file'} {one}" for one in _closed(path)]
    return f"{', '.join(named)} may not be written" if named else ""


def _closed(path: Path) -> Sequence[Path]:
    """What may not be written; to root, who could, a mode of 0400 says so too."""
    closed = []
    for place in (path.parent, *(Path(f"{path}{suffix}") for suffix in _FILES)):
        with suppress(OSError):
            may_owner = place.stat().st_mode & stat.S_IWUSR
            if not may_owner or not os.access(place, os.W_OK, effective_ids=True):
                closed.append(place)
    return closed


def want_of_room(path: Path) -> str:
    """What room is free where a database lies, if a run may want more; else empty.

    That is as much as its log (WAL) holds now, which is to go into the file, and 64 MiB at least.
    """
    with suppress(OSError):
        log = Path(f"{path}-wal")
        wanted = max(_ROOM_BYTES_MIN, log.stat().st_size if log.exists() else 0)
        free = shutil.disk_usage(path.parent).free
        if free < wanted:
            return f"only {free // _MIB:,} MiB of {wanted // _MIB:,} MiB are free beside {path}"
    return ""


def shares_no_memory(path: Path) -> bool:
    """Whether a full disk has no room for the file by which SQLite's processes share the log."""
    with suppress(OSError):
        shared = Path(f"{path}-shm")
        is_there = shared.exists() and shared.stat().st_size >= _SHARED_BYTES
        return not is_there and shutil.disk_usage(path.parent).free < 2 * _SHARED_BYTES
    return False


def set_rules(engine: AsyncEngine) -> None:
    """Set WAL, full durability and foreign keys, and control where transactions begin.

    The driver's own transaction control begins late and never with IMMEDIATE, so two writers can
    read first and then deadlock (SQLAlchemy's SQLite page, "Serializable isolation").
    """

    @event.listens_for(engine.sync_engine, "connect")
    def on_connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        if shares_no_memory(Path(str(engine.url.database)).absolute()):
            # `status` and `doctor` work on a full disk: what is not shared needs no file.
            cursor.execute("PRAGMA locking_mode=EXCLUSIVE")
        for pragma in _SQLITE_PRAGMAS:
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def on_begin(connection: Any) -> None:
        is_write = connection.get_execution_options().get(WRITE, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if is_write else "BEGIN")


class OpenedFile:
    """The file that the first connection opened; every later one must open the same.

    A file that is removed or replaced by a rename lives on for those who have it open: SQLite
    writes and commits without an error, and nothing of it is on the disk ("How To Corrupt An SQLite
    Database File", 2.4 and 4.4).
    """

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()
        self._opened: tuple[int, int] | None = None

    def watch(self, engine: AsyncEngine, *, is_group_readable: bool) -> None:
        """Make the file before the first connection, and examine it around each."""
        mode = private_mode(is_group_readable=is_group_readable)

        @event.listens_for(engine.sync_engine, "do_connect")
        def before(*_: Any) -> None:
            if self._opened is not None:
                self.require_same()
            elif is_missing(self._path):
                # With the name comes the mode, not from the umask or a folder's default ACL. What
                # hinders it SQLite will say, too.
                with suppress(OSError):
                    write_new(self._path, b"", mode=mode)

        @event.listens_for(engine.sync_engine, "connect")
        def after(*_: Any) -> None:
            if self._opened is None:
                self._opened = self._found()
            self.require_same()

    def require_same(self) -> None:
        """Refuse to go on if the path leads to no file, or to another one.

        Raises:
            ConfigurationError: it was removed or replaced.
        """
        if self._opened is None or self._found() != self._opened:
            raise ConfigurationError(
                f"the database file {self._path} was removed or replaced while it was in use",
                hint=_LOST_HINT,
            )

    def _found(self) -> tuple[int, int] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino
