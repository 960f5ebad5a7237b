"""``db backup``: a copy of a SQLite store, which is put back by hand."""

import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from worker.app import App
from worker.errors import ConfigurationError, SchemaError
from worker.files import named_faults
from worker.store.database import Database
from worker.store.errors import described
from worker.store.identity import see_identity
from worker.store.schema.upgrade import require_upgradable
from worker.store.sqlite import require_file
from worker.store.status import publication_at
from worker.trusted_files import examine_with_folder


async def back_up(app: App, path: Path) -> dict[str, Any]:
    """Copy a SQLite store to a new file with mode 0600, while runs go on.

    Args:
        path: absolute.

    Returns:
        Its name, size, schema, and the last publication before the copy.

    Raises:
        ConfigurationError: the store is no SQLite file, or is damaged; the key or the schema is
            another program's; the file exists or cannot be written, or others can make files in its
            folder.
    """
    _examine_place(path, is_group_trusted=app.settings.database.group_readable)
    async with app.database(checked=False) as store:
        if not store.is_file:
            raise ConfigurationError(
                "database.url: this is for SQLite; back PostgreSQL up with its own pg_dump "
                "(docs/database.md)"
            )
        schema = await _require_ours(app, store)
        last = await store.read(publication_at)
        with _new(path) as copy:
            await _copy(store, copy, path)
            size = copy.stat().st_size
    return {
        "file": str(path),
        "bytes": size,
        "schema": schema,
        "publication_no": None if last is None else last.publication_no,
    }


def _examine_place(path: Path, *, is_group_trusted: bool) -> None:
    if path.is_symlink() or path.exists():
        raise ConfigurationError(f"{path} already exists", hint="name another file")
    with named_faults(path):
        examine_with_folder(path, key="FILE", group_may_write=is_group_trusted)


async def _require_ours(app: App, store: Database) -> str:
    """The revision of a store whose persons the configured key has keyed."""
    require_file(store.engine.url)
    found = await require_upgradable(store)
    if found is None:
        raise SchemaError("the database has no tables of this program yet", hint="see `db upgrade`")
    await see_identity(store, app.identity())
    return found


async def _copy(store: Database, copy: Path, path: Path) -> None:
    """SQLite reads all pages as of one moment, and hinders no writer."""
    async with store.engine.connect() as connection:
        # The driver itself: SQLAlchemy would begin a transaction, and VACUUM allows none.
        driver: Any = (await connection.get_raw_connection()).driver_connection
        try:
            await driver.execute("VACUUM INTO ?", (str(copy),))
        except sqlite3.Error as error:
            if error.sqlite_errorcode & 0xFF in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
                raise described(error, store.engine.url) from error
            raise ConfigurationError(
                f"{path} cannot be written ({error.sqlite_errorname})",
                hint="check the folder, its permissions and the free disk space",
            ) from error


@contextmanager
def _new(path: Path) -> Iterator[Path]:
    """An empty file of a hidden name, which gets its own after the block, in one step."""
    with named_faults(path):
        number, name = tempfile.mkstemp(".part", f".{path.name}.", path.parent)
    part = Path(name)
    try:
        yield part
        with named_faults(path):
            os.fsync(number)
            path.hardlink_to(part)
            _sync_folder(path.parent)
    finally:
        os.close(number)
        part.unlink()


def _sync_folder(folder: Path) -> None:
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
