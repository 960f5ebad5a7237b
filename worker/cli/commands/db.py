"""``db``: schema and backup of the database."""

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from worker.cli import options

if TYPE_CHECKING:
    from worker.app import App
    from worker.store.database import Database


@click.group("db", cls=options.Group, no_args_is_help=True)
def command() -> None:
    """Create, upgrade and back up the database. Example: `pts-worker db upgrade`"""


@command.command("upgrade")
@click.pass_obj
def upgrade_schema(cli: options.Cli) -> None:
    """Migrate the database to this program's schema, and recreate the reporting views.

    It creates a missing database, and shows its address and the configuration file.

    Run it before the first sync and after each upgrade of the program. You can repeat it, even
    after an interruption. The database of a development version is refused (78) and not changed:
    create a new one, and a full sync fills it.

    Example: `pts-worker db upgrade`
    """
    from worker.store.schema.upgrade import upgrade
    from worker.store.status import place_of_database

    app = cli.load("report")

    async def work() -> dict[str, Any]:
        async with app.database(checked=False) as database:
            before, after = await upgrade(database)
            return {
                "database": place_of_database(database),
                "config_file": app.loaded.config_file,
                "schema": {"before": before, "after": after},
            }

    cli.emit(cli.run(work))


@command.command("check")
@click.pass_obj
def check(cli: options.Cli) -> None:
    """Compare the database with this program: schema and codes. Exit 78 if they differ.

    The meaning of a code is stored with each restriction. A later version may recognise more codes,
    and `db upgrade` then corrects these restrictions.

    Example: `pts-worker db check`
    """
    from worker.errors import ConfigurationError
    from worker.store.derived import count_outdated
    from worker.store.schema.upgrade import HEAD

    app = cli.load("report")

    async def work() -> int:
        async with app.database() as database:  # compares the schema
            return await database.for_long_transactions().read(count_outdated)

    if outdated := cli.run(work):
        raise ConfigurationError(
            f"{outdated} restrictions have a stored meaning that differs from this program's codes",
            hint="run `pts-worker db upgrade`, which corrects them",
        )
    cli.emit({"schema": {"database": HEAD, "program": HEAD}})


@command.command("backup")
@click.argument("file", type=options.path, metavar="FILE")
@click.pass_obj
def backup(cli: options.Cli, *, file: Path) -> None:
    """Copy a SQLite database to a new file, even while a run is active.

    The copy is consistent as of one moment. FILE must not exist. It appears when the copy is
    complete, and only its owner can read it (0600). It contains health data: encrypt it, and keep
    `pseudonym.key` elsewhere. To restore it, see docs/database.md. For PostgreSQL use `pg_dump`.

    Example: `pts-worker db backup /backup/pts-$(date +%F).db`
    """
    app = cli.load("report")
    cli.emit({"backup": cli.run(lambda: _back_up(app, file))})


async def _back_up(app: "App", file: Path) -> dict[str, Any]:
    """Copy a SQLite store to a new file, after checking its schema and pseudonym key.

    Raises:
        ConfigurationError: the store is not a SQLite file or is damaged. Or the new file exists,
            cannot be written, or is in a folder where others can create files.
    """
    from worker.errors import ConfigurationError
    from worker.store.identity import verify_identity
    from worker.store.schema.upgrade import HEAD
    from worker.store.status import publication_at
    from worker.trusted_files import SHARED_WRITE, WORLD_WRITE, examine_with_folder

    async with app.database() as store:
        if not store.is_file:
            raise ConfigurationError(
                "database.url: this is for SQLite; back PostgreSQL up with its own pg_dump "
                "(docs/database.md)"
            )
        await verify_identity(store, app.identity())
        last = await store.read(publication_at)
        with _new(file) as copy:
            is_shared = app.settings.database.group_readable
            forbidden = WORLD_WRITE if is_shared else SHARED_WRITE
            examine_with_folder(file, key="FILE", forbidden=forbidden)
            await _copy(store, copy)
            size = copy.stat().st_size
    return {
        "file": str(file),
        "bytes": size,
        "schema": HEAD,
        "publication_no": last and last.publication_no,
    }


@contextmanager
def _new(file: Path) -> Iterator[Path]:
    """Yield an empty file with mode 0600 and a hidden name. At the end it becomes ``file``."""
    from worker.files import convert_write_errors

    with convert_write_errors(file):
        descriptor, name = tempfile.mkstemp(".part", f".{file.name}.", file.parent)
        part = Path(name)
        try:
            yield part
            os.fsync(descriptor)
            file.hardlink_to(part)  # unlike a rename, it never overwrites a file
        finally:
            os.close(descriptor)
            part.unlink()


async def _copy(store: "Database", copy: Path) -> None:
    """Copy all pages as of one moment, without blocking writers."""
    import sqlite3

    from worker.store.errors import worker_error

    async with store.engine.connect() as connection:
        # Bypasses SQLAlchemy, which begins a transaction: VACUUM fails inside one.
        driver: Any = (await connection.get_raw_connection()).driver_connection
        try:
            await driver.execute("VACUUM INTO ?", (str(copy),))
        except sqlite3.Error as error:
            # The low byte is the primary error code.
            if error.sqlite_errorcode & 0xFF in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
                raise worker_error(error, store.engine.url) from error
            is_full = error.sqlite_errorcode == sqlite3.SQLITE_FULL
            raise OSError(errno.ENOSPC if is_full else errno.EIO, error.sqlite_errorname) from error
