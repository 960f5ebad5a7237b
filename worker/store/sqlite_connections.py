"""How a connection to SQLite is opened, and how its transactions begin."""

from collections.abc import Callable
from typing import Any, Final

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

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
_BUSY: Final = "pts_busy_s"
"""How long a SQLite connection waits for a lock, in its ``info``."""
WRITE: Final = "pts_write"
"""The option of a transaction that writes."""
FOREIGN_KEYS: Final = "pts_foreign_keys"
"""The option of a transaction that checks foreign keys; how a connection is, in its ``info``."""


def set_rules(engine: AsyncEngine, busy_s: Callable[[], float]) -> None:
    """Set WAL, full durability and foreign keys, and control where transactions begin.

    The driver's own transaction control begins late and never with IMMEDIATE, so two writers can
    read first and then deadlock (SQLAlchemy's SQLite page, "Serializable isolation").

    Args:
        busy_s: how long to wait for a lock now.
    """

    @event.listens_for(engine.sync_engine, "do_connect")
    def on_do_connect(_dialect: Any, record: Any, _args: Any, parameters: Any) -> None:
        record.info[_BUSY] = parameters["timeout"] = busy_s()

    @event.listens_for(engine.sync_engine, "connect")
    def on_connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in _SQLITE_PRAGMAS:
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def on_begin(connection: Any) -> None:
        wait_s = busy_s()
        if connection.info.get(_BUSY) != wait_s:
            connection.exec_driver_sql(f"PRAGMA busy_timeout={wait_s * 1000:.0f}")
            connection.info[_BUSY] = wait_s
        options = connection.get_execution_options()
        if connection.info.get(FOREIGN_KEYS, True) != (has_keys := options.get(FOREIGN_KEYS, True)):
            connection.exec_driver_sql(f"PRAGMA foreign_keys={has_keys:d}")
            connection.info[FOREIGN_KEYS] = has_keys
        is_write = options.get(WRITE, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if is_write else "BEGIN")
