"""``db``: the database's schema."""

import os
from pathlib import Path
from typing import Any

import msgspec
import structlog

from worker.app import App
from worker.areas import AREAS
from worker.cli.base import Cli
from worker.core.identity import Identity
from worker.core.plurals import counted
from worker.errors import ConfigurationError, UsageError
from worker.store.database import Database
from worker.store.identity import NEW, checked_identity
from worker.store.privacy.erasing import scrub
from worker.store.queries.status import place_of_database
from worker.store.runs.lease_context import held_lease
from worker.store.schema.rewriting import Rewriter, Rewritten, identity_before_upgrade
from worker.store.schema.upgrade import HEAD, check_schema, revision
from worker.store.schema.upgrade import upgrade as upgrade_schema
from worker.store.sqlite_file import is_there, require_file
from worker.use_cases.backup import Restored, restored_in_place
from worker.use_cases.backup import backup as back_up
from worker.use_cases.backup import restore as bring_back

log = structlog.get_logger(__name__)


def upgrade(cli: Cli) -> None:
    """Run ``pts-worker db upgrade``."""
    app = cli.load("report")
    document = cli.run(lambda: _upgrade(app))
    cli.emit(document, lambda: _print(document))


async def _upgrade(app: App) -> dict[str, Any]:
    async with app.database(checked=False) as database:
        identity = await _identity(app, database)
        before, after = await upgrade_schema(database)
        done = Rewritten()
        if identity is not None:
            done = await _rewrite(app, database, identity)
        place = place_of_database(database)
    file = app.loaded.config_file
    return {
        "database": place,
        "config_file": None if file is None else str(file),
        "schema": {"before": before, "after": after},
        "rewritten": {"persons": done.persons, "rows": done.rows},
    }


async def _identity(app: App, database: Database) -> Identity | None:
    """How persons are keyed, if rows wait to be rewritten; asked before anything is changed.

    The key is judged here as by every other command, where this one can read it: an account that
    only upgrades needs no key while no rows wait.
    """
    stored = NEW
    if is_there(database.engine.url) and await database.read(revision) is not None:
        stored = await database.read(identity_before_upgrade)
    privacy = app.settings.privacy
    file = privacy.pseudonym_key_file
    if not stored.is_to_rewrite and (file is None or not os.access(app.path(file), os.R_OK)):
        return None
    if stored.is_to_rewrite and privacy.identity == "pseudonym" and file is None:
        raise ConfigurationError(
            "privacy.pseudonym_key_file is not set: rows of an earlier program are to be rewritten "
            "without other persons' identifiers, which takes the key that the database was begun "
            "with; nothing was changed",
            hint="set it and run `pts-worker db upgrade` again",
        )
    identity = checked_identity(stored, app.identity())
    return identity if stored.is_to_rewrite else None


async def _rewrite(app: App, database: Database, identity: Identity) -> Rewritten:
    def log_progress(done: Rewritten) -> None:
        log.info("upgrade.rewriting", persons=done.persons, rows=done.rows)

    async with held_lease(database, ttl_s=app.settings.lease.ttl_s) as lease:
        rewriter = Rewriter(
            lease=lease,
            areas=app.areas([area.name for area in AREAS]),
            identity=identity,
            rules=app.privacy(identity),
            changed=log_progress,
        )
        done = await rewriter.work()
        await scrub(database, command="db upgrade")
        await rewriter.finish()
    return done


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
    done = document["rewritten"]
    if done["persons"]:
        print(
            f"{counted(done['rows'], 'row')} of {counted(done['persons'], 'person')} rewritten by "
            "today's privacy rules"
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


def backup(cli: Cli, *, out: Path) -> None:
    """Run ``pts-worker db backup``."""
    app = cli.load("report")
    done = cli.run(lambda: back_up(app, out))
    last = _publication(done.publication_no)
    text = f"{done.file}: {done.bytes} bytes, schema {done.schema}, {last}"
    cli.emit({"backup": done}, lambda: print(text))


def restore(cli: Cli, *, file: Path | None, replace: bool, in_place: bool) -> None:
    """Run ``pts-worker db restore``."""
    if in_place == (file is not None) or (in_place and replace):
        raise UsageError("give a FILE, with --replace or without; or --in-place alone")
    app = cli.load("report")
    if file is None:
        done = cli.run(lambda: restored_in_place(app))
    else:
        done = cli.run(lambda: bring_back(app, file, replace=replace))
    before, after = done.schema
    document = {**msgspec.structs.asdict(done), "schema": {"before": before, "after": after}}
    cli.emit({"restored": document}, lambda: _print_restored(done))


def _print_restored(done: Restored) -> None:
    before, after = done.schema
    schema = f"schema {after}" + ("" if before == after else f" (was {before})")
    print(f"restored: {schema}, {_publication(done.publication_no)}")
    if done.is_rewriting_due:
        print("next: `pts-worker db upgrade`, which rewrites rows of an earlier program")
    print("next: `erase` persons who were erased since the backup, then `pts-worker sync`")


def _publication(number: int | None) -> str:
    return "nothing published" if number is None else f"publication {number}"
