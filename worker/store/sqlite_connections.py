"""How a connection to SQLite is opened, to the same file always, and how transactions begin."""

from pathlib import Path
from typing import Any, Final

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from worker.errors import ConfigurationError
from worker.store.sqlite_file import make, shares_no_memory

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
FOREIGN_KEYS: Final = "pts_foreign_keys"
"""The option of a transaction that checks foreign keys; how a connection is, in its ``info``."""
_LOST_HINT: Final = (
    "what was written since is not on the disk: copy a backup back if the file is gone "
    "(docs/database.md, 'Restore'), and let nothing remove or exchange it while a run "
    "is on"
)


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
        options = connection.get_execution_options()
        if connection.info.get(FOREIGN_KEYS, True) != (has_keys := options.get(FOREIGN_KEYS, True)):
            connection.exec_driver_sql(f"PRAGMA foreign_keys={has_keys:d}")
            connection.info[FOREIGN_KEYS] = has_keys
        is_write = options.get(WRITE, False)
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

        @event.listens_for(engine.sync_engine, "do_connect")
        def before(*_: Any) -> None:
            if self._opened is None:
                make(self._path, is_group_readable=is_group_readable)
            else:
                self.require_same()

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
