"""``db``: the database's schema, and copies of it."""

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

    It creates the database if there is none, and names it and the configuration that was read.

    It is safe to run again, even after it was stopped. Run it once before the first sync and after
    each upgrade of the program. The database of a development version is refused (78) and stays as
    it is: begin a new one, and a full sync fills it.

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
    """Compare the database with this program: its schema, and its codes. Exit 78 if they differ.

    The meaning of each code is stored with the restrictions that have it. A later version may know
    more codes, and `db upgrade` then corrects these restrictions.

    Example: `pts-worker db check`
    """
    from worker.errors import ConfigurationError
    from worker.store.derived import count_outdated
    from worker.store.schema.upgrade import HEAD

    app = cli.load("report")

    async def work() -> int:
        async with app.database() as database:  # it is opened only with our schema
            return await database.lasting().read(count_outdated)

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
    """Copy a SQLite database to a new file, while runs go on.

    The copy is complete as of one moment, even in the middle of a run. FILE must not exist, gets
    its name when it is complete, and only its owner can read it (0600). It holds health data:
    encrypt it, and keep `pseudonym.key` elsewhere. docs/database.md has "Restore". PostgreSQL has
    `pg_dump`.

    Example: `pts-worker db backup /backup/pts-$(date +%F).db`
    """
    app = cli.load("report")
    cli.emit({"backup": cli.run(lambda: _back_up(app, file))})


async def _back_up(app: "App", file: Path) -> dict[str, Any]:
    """Copy a SQLite store whose schema and pseudonym key are ours to a new file.

    Raises:
        ConfigurationError: it is not a SQLite file, or is damaged; the file exists or cannot be
            written, or others can make files in its folder.
    """
    from worker.errors import ConfigurationError
    from worker.store.identity import see_identity
    from worker.store.schema.upgrade import HEAD
    from worker.store.status import publication_at
    from worker.trusted_files import EVERYBODY_WRITES, OTHERS_WRITE, examine_with_folder

    async with app.database() as store:
        if not store.is_file:
            raise ConfigurationError(
                "database.url: this is for SQLite; back PostgreSQL up with its own pg_dump "
                "(docs/database.md)"
            )
        await see_identity(store, app.identity())
        last = await store.read(publication_at)
        with _new(file) as copy:
            may_group = app.settings.database.group_readable
            forbidden = EVERYBODY_WRITES if may_group else OTHERS_WRITE
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
    """An empty file with mode 0600 and a hidden name, which gets its own after the block."""
    from worker.files import named_faults

    with named_faults(file):
        number, name = tempfile.mkstemp(".part", f".{file.name}.", file.parent)
        part = Path(name)
        try:
            yield part
            os.fsync(number)
            file.hardlink_to(part)  # never over another file
        finally:
            os.close(number)
            part.unlink()


async def _copy(store: "Database", copy: Path) -> None:
    """SQLite reads all pages as of one moment, and hinders no writer."""
    import sqlite3

    from worker.store.errors import described

    async with store.engine.connect() as connection:
        # The driver itself: SQLAlchemy would begin a transaction, and VACUUM allows none.
        driver: Any = (await connection.get_raw_connection()).driver_connection
        try:
            await driver.execute("VACUUM INTO ?", (str(copy),))
        except sqlite3.Error as error:
            if error.sqlite_errorcode & 0xFF in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
                raise described(error, store.engine.url) from error
            is_full = error.sqlite_errorcode == sqlite3.SQLITE_FULL
            raise OSError(errno.ENOSPC if is_full else errno.EIO, error.sqlite_errorname) from error
