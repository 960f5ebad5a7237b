"""``db``: the database's schema."""

import os
from pathlib import Path
from typing import Any

from worker.app import App
from worker.cli.base import Cli
from worker.store.database import Database
from worker.store.identity import NEW, checked_identity, stored_identity
from worker.store.queries.status import place_of_database
from worker.store.schema.upgrade import HEAD, check_schema, require_upgradable, revision
from worker.store.schema.upgrade import upgrade as upgrade_schema
from worker.store.sqlite_file import is_there, require_file
from worker.use_cases.backup import backup as back_up


def upgrade(cli: Cli) -> None:
    """Run ``pts-worker db upgrade``."""
    app = cli.load("report")
    document = cli.run(lambda: _upgrade(app))
    cli.emit(document, lambda: _print(document))


async def _upgrade(app: App) -> dict[str, Any]:
    async with app.database(checked=False) as database:
        await _check_key(app, database)
        before, after = await upgrade_schema(database)
        place = place_of_database(database)
    file = app.loaded.config_file
    return {
        "database": place,
        "config_file": None if file is None else str(file),
        "schema": {"before": before, "after": after},
    }


async def _check_key(app: App, database: Database) -> None:
    """Judge the pseudonym key as every other command does, before anything is changed.

    An account that only upgrades need not read it.
    """
    stored = NEW
    if is_there(database.engine.url) and await require_upgradable(database) is not None:
        stored = await database.read(stored_identity)
    file = app.settings.privacy.pseudonym_key_file
    if file is not None and os.access(app.path(file), os.R_OK):
        checked_identity(stored, app.identity())


def _print(document: dict[str, Any]) -> None:
    before, after = document["schema"]["before"], document["schema"]["after"]
    print(
        f"the database {document['database']} is at schema {after}"
        + ("" if before == after else f" (was {before or 'empty'})")
    )
    print(
        f"configuration: {document['config_file']} was read"
        if document["config_file"]
        else "configuration: none was read; --config or PTS_CONFIG names one"
    )


def check(cli: Cli) -> None:
    """Run ``pts-worker db check``."""
    app = cli.load("report")

    async def work() -> str | None:
        async with app.database(checked=False) as database:
            require_file(database.engine.url)
            found = await database.read(revision)
            if not cli.given.as_json:
                print(f"database: {found or 'no schema'}; program: {HEAD}")
            await check_schema(database)
            return found

    found = cli.run(work)
    cli.emit({"schema": {"database": found, "program": HEAD}}, lambda: None)


def backup(cli: Cli, *, file: Path) -> None:
    """Run ``pts-worker db backup``."""
    app = cli.load("report")
    done = cli.run(lambda: back_up(app, file))
    number = done.publication_no
    last = "nothing published" if number is None else f"publication {number}"
    text = f"{done.file}: {done.bytes} bytes, schema {done.schema}, {last}"
    cli.emit({"backup": done}, lambda: print(text))
