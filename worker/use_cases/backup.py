"""``db backup`` and ``db restore``: a copy of the store that can be brought back."""

from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path
from typing import Final

import anyio

from worker.app import App
from worker.core.value import Value
from worker.errors import ConfigurationError, SchemaError, UsageError
from worker.files import private_mode
from worker.store import sqlite_copy
from worker.store.database import Database, open_database
from worker.store.foreign_file import is_revision, named_as, no_backup, require_tables
from worker.store.identity import checked_identity, stored_identity
from worker.store.runs.lease_context import held_lease
from worker.store.runs.restored import last_publication, note_restored
from worker.store.schema.upgrade import HEAD, require_upgradable, revision, upgrade
from worker.store.sqlite_file import require_file

_KEY: Final = "database.url"


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


class Restored(Value, frozen=True, kw_only=True):
    """A store that was brought back.

    Attributes:
        schema: the revision that it had, and has now.
        publication_no: the last publication in it; None before the first one.
        next_after: the next publication has a number behind this one.
    """

    schema: tuple[str, str]
    publication_no: int | None
    next_after: int


async def backup(app: App, out: Path) -> Backup:
    """Copy a SQLite store to a new file, while runs go on. The copy is checked first.

    Raises:
        ConfigurationError: the store is no SQLite file, or is damaged; the key or the schema is
            another program's; the file exists or cannot be written.
    """
    is_group_trusted = app.settings.database.group_readable
    place = sqlite_copy.new_place(out, key="--out", is_group_trusted=is_group_trusted)
    async with app.database(checked=False) as database:
        path = _file_of(database, "back it up with its own pg_dump (docs/operations.md)")
        require_file(database.engine.url)
    async with AsyncExitStack() as stack:
        copy = await _enter(app, stack, path, place, key=_KEY, is_store=True)
        async with _open(app, copy) as store:
            found = await _require_ours(app, store)
            last = await store.read(last_publication)
        await anyio.to_thread.run_sync(sqlite_copy.name_copy, copy, place)
        size = place.stat().st_size
    return Backup(file=str(place), bytes=size, schema=found, publication_no=last)


async def restore(app: App, file: Path, *, replace: bool) -> Restored:
    """Put a copy in the place of the configured SQLite store, at this program's schema.

    Everything is checked and changed on a copy of the file before the store is touched, and the
    store is written in one step.

    Raises:
        UsageError: the file is the store.
        ConfigurationError: there is a store already and not ``replace``; the file is damaged, no
            store of this program, or of another key; the store is no SQLite file.
        SchemaError: the file has no tables of this program, or a newer one's.
        LeaseHeldError: a run is on.
    """
    async with app.database(checked=False) as database:
        path = _file_of(database, "bring it back with pg_restore, then `db restore --in-place`")
        if await anyio.to_thread.run_sync(sqlite_copy.is_same, path, file):
            raise UsageError(
                f"FILE: {app.path(file)} is the database itself (database.url)",
                hint=sqlite_copy.BACKUP_HINT,
            )
        if not await anyio.Path(app.path(file)).exists():
            raise ConfigurationError(
                f"FILE: {app.path(file)} cannot be read: no such file or directory",
                hint=sqlite_copy.BACKUP_HINT,
            )
        is_new = await anyio.to_thread.run_sync(sqlite_copy.is_empty, path)
        if not (is_new or replace):
            raise ConfigurationError(
                f"there is a database already: {path.absolute()}",
                hint="move it and what lies beside it (-wal, -shm) away; or --replace overwrites "
                "it, if no run is on",
            )
        async with AsyncExitStack() as stack:
            copy = await _enter(app, stack, file, path.absolute(), key="FILE", is_store=False)
            async with _open(app, copy) as store:
                with named_as(app.path(file)):
                    await _require_restorable(app, store, app.path(file))
                    before, _ = await upgrade(store)
                    await store.read(require_tables)
                    done = await _restored(store, before or "")
            if not is_new:
                await _require_replaceable(database)
                await stack.enter_async_context(
                    held_lease(database, ttl_s=app.settings.lease.ttl_s)
                )
            if path.exists():
                await anyio.to_thread.run_sync(sqlite_copy.overwrite, path, copy, _KEY)
            else:
                mode = private_mode(is_group_readable=app.settings.database.group_readable)
                await anyio.to_thread.run_sync(sqlite_copy.name_copy, copy, path.absolute(), mode)
    return done


async def restored_in_place(app: App) -> Restored:
    """Check a store that other tools brought back, and number it on.

    Raises:
        ConfigurationError: it is of another key.
        SchemaError: the schema is missing, of a development version, behind or ahead.
        LeaseHeldError: a run is on.
    """
    async with app.database() as database:
        await _require_ours(app, database)
        async with held_lease(database, ttl_s=app.settings.lease.ttl_s):
            return await _restored(database, HEAD)


async def _enter(
    app: App, stack: AsyncExitStack, source: Path, beside: Path, *, key: str, is_store: bool
) -> Path:
    """``sqlite_copy.copied``, in a thread."""
    context = sqlite_copy.copied(
        source,
        beside,
        key=key,
        is_store=is_store,
        is_group_trusted=app.settings.database.group_readable,
    )
    copy = await anyio.to_thread.run_sync(context.__enter__)
    stack.push(context.__exit__)
    return copy


def _open(app: App, copy: Path) -> AbstractAsyncContextManager[Database]:
    return open_database(
        f"sqlite:///{copy}", app.runtime, is_group_readable=app.settings.database.group_readable
    )


def _file_of(database: Database, instead: str) -> Path:
    if database.dialect.name != "sqlite":
        raise ConfigurationError(f"database.url: this is for SQLite; with PostgreSQL {instead}")
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


async def _require_restorable(app: App, store: Database, file: Path) -> None:
    """Like ``_require_ours`` for the copy of a file, which the errors name."""
    found = await store.read(revision)
    if found is None:
        message = f"FILE: {file} has no tables of this program"
        raise SchemaError(message, hint=sqlite_copy.BACKUP_HINT)
    if not is_revision(found):
        raise no_backup(file, "its schema's revision is not of this program")
    if found > HEAD:
        raise SchemaError(
            f"FILE: {file}: its schema is ahead: it is at {found}, this program knows {HEAD}",
            hint="restore it with the newer program that it is of, or name an earlier backup",
        )
    try:
        await _require_ours(app, store)
    except ConfigurationError as error:
        raise ConfigurationError(
            f"FILE: {file} is no backup for this configuration: {error.message}",
            hint=f"name another backup; or {error.hint}",
        ) from None


async def _require_replaceable(database: Database) -> None:
    if await database.read(revision) != HEAD:
        raise ConfigurationError(
            "the database that is there is not at this program's schema, and cannot be replaced",
            hint="move it and what lies beside it (-wal, -shm) away, and call this again",
        )


async def _restored(store: Database, before: str) -> Restored:
    return Restored(
        schema=(before, HEAD),
        publication_no=await store.read(last_publication),
        next_after=await note_restored(store),
    )
