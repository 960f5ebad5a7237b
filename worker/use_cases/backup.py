"""``db backup``: a copy of the store that can be copied back."""

from contextlib import AsyncExitStack
from pathlib import Path

import anyio

from worker.app import App
from worker.core.value import Value
from worker.errors import ConfigurationError, SchemaError
from worker.store import sqlite_copy
from worker.store.database import Database, open_database
from worker.store.identity import checked_identity, stored_identity
from worker.store.queries.status import last_publication
from worker.store.schema.upgrade import require_upgradable
from worker.store.sqlite_file import require_file


class Backup(Value, frozen=True, kw_only=True):
    """A copy of the store.

    Attributes:
        file: absolute.
        publication_no: the last publication in it; None before the first one.
    """

    file: str
    bytes: int
    schema: str
    publication_no: int | None


async def backup(app: App, out: Path) -> Backup:
    """Copy a SQLite store to a new file, while runs go on. The copy is checked first.

    Raises:
        ConfigurationError: the store is no SQLite file, or is damaged; the key or the schema is
            another program's; the file exists or cannot be written.
    """
    is_shared = app.settings.database.group_readable
    place = sqlite_copy.new_place(out, key="--out", is_group_trusted=is_shared)
    async with app.database(checked=False) as database:
        path = _file_of(database)
        require_file(database.engine.url)
    async with AsyncExitStack() as stack:
        context = sqlite_copy.copied(path, place, key="database.url", is_group_trusted=is_shared)
        copy = await anyio.to_thread.run_sync(context.__enter__)
        stack.push(context.__exit__)
        async with open_database(
            f"sqlite:///{copy}", app.runtime, is_group_readable=is_shared
        ) as store:
            found = await _require_ours(app, store)
            last = await store.read(last_publication)
        await anyio.to_thread.run_sync(sqlite_copy.name_copy, copy, place)
        size = place.stat().st_size
    return Backup(
        file=str(place),
        bytes=size,
        schema=found,
        publication_no=None if last is None else last.publication_no,
    )


def _file_of(database: Database) -> Path:
    if database.dialect.name != "sqlite":
        raise ConfigurationError(
            "database.url: this is for SQLite; back PostgreSQL up with its own pg_dump "
            "(docs/operations.md)"
        )
    return Path(database.engine.url.database or "")


async def _require_ours(app: App, store: Database) -> str:
    """The revision of a store whose persons the configured key has keyed."""
    found = await require_upgradable(store)
    if found is None:
        raise SchemaError(
            "the database has no tables of this program yet",
            hint="run `pts-worker db upgrade` once",
        )
    checked_identity(await store.read(stored_identity), app.identity())
    return found
