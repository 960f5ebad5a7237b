"""``db``: the database's schema, and copies of it."""

import os
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
def upgrade(cli: options.Cli) -> None:
    """Bring the database to this program's schema, and recreate the reporting views.

    It creates the database if there is none, and names it and the configuration that was read.

    It is safe to run again, even after it was stopped. Run it once before the first sync and after
    each upgrade of the program. The database of a development version is refused (78) and stays as
    it is: begin a new one, and a full sync fills it.

    `--json`: database, config_file, schema (before, after).

    Example: `pts-worker db upgrade`
    """
    app = cli.load("report")
    document = cli.run(lambda: _upgrade(app))
    cli.emit(document, lambda: _print_upgrade(document))


async def _upgrade(app: "App") -> dict[str, Any]:
    from worker.store.schema.upgrade import upgrade
    from worker.store.status import place_of_database

    async with app.database(checked=False) as database:
        await _check_key(app, database)
        before, after = await upgrade(database)
        place = place_of_database(database)
    return {
        "database": place,
        "config_file": app.loaded.config_file,
        "schema": {"before": before, "after": after},
    }


async def _check_key(app: "App", database: "Database") -> None:
    """Judge the pseudonym key as every other command does, before anything is changed.

    An account that only upgrades need not read it.
    """
    from worker.store.identity import see_identity
    from worker.store.schema.upgrade import require_upgradable
    from worker.store.sqlite import is_there

    file = app.settings.privacy.pseudonym_key_file
    if file is None or not os.access(file, os.R_OK):
        return
    identity = app.identity()
    if is_there(database.engine.url) and await require_upgradable(database) is not None:
        await see_identity(database, identity)


def _print_upgrade(document: dict[str, Any]) -> None:
    before, after = document["schema"]["before"], document["schema"]["after"]
    was = "" if before == after else f" (was {before or 'empty'})"
    print(f"the database {document['database']} is at schema {after}{was}")
    file = document["config_file"]
    read = f"{file} was read" if file else "none was read; --config or PTS_CONFIG names one"
    print(f"configuration: {read}")


@command.command("check")
@click.pass_obj
def check(cli: options.Cli) -> None:
    """Show which schema the database has and which this program needs. Exit 78 if they differ.

    Example: `pts-worker db check`
    """
    from worker.store.schema.upgrade import HEAD, check_schema, revision
    from worker.store.sqlite import require_file

    app = cli.load("report")

    async def work() -> str | None:
        async with app.database(checked=False) as database:
            require_file(database.engine.url)
            found = await database.read(revision)
            if not cli.as_json:
                print(f"database: {found or 'no schema'}; program: {HEAD}")
            await check_schema(database)
            return found

    found = cli.run(work)
    cli.emit({"schema": {"database": found, "program": HEAD}}, lambda: None)


@command.command("backup")
@click.argument("file", type=options.FilePath(), metavar="FILE")
@click.pass_obj
def backup(cli: options.Cli, *, file: Path) -> None:
    """Copy a SQLite database to a new file, while runs go on.

    The copy is complete as of one moment, even in the middle of a run. To restore it, stop the
    worker, copy it to the database's place and remove the -wal and -shm there (docs/database.md,
    "Restore"). The next `sync` continues.

    FILE must not exist. It gets its name when it is complete, and only its owner can read it
    (0600). It holds health data: encrypt it, and keep `pseudonym.key` elsewhere. Schema and
    pseudonym key of the database are checked before. PostgreSQL has `pg_dump`.

    `--json`: backup (file, bytes, schema, publication_no).

    Example: `pts-worker db backup /backup/pts-$(date +%F).db`
    """
    from worker.cli.backup import back_up

    app = cli.load("report")
    done = cli.run(lambda: back_up(app, file))
    number = done["publication_no"]
    last = "nothing published" if number is None else f"publication {number}"
    text = f"{done['file']}: {done['bytes']} bytes, schema {done['schema']}, {last}"
    cli.emit({"backup": done}, lambda: print(text))
