"""``db``: the database's schema."""

import os
from typing import Any

import structlog

from worker.app import App
from worker.areas import AREAS
from worker.cli.base import Cli, subcommand
from worker.cli.options import group
from worker.core.identity import Identity
from worker.core.plurals import counted
from worker.errors import ConfigurationError, ExitCode
from worker.store.database import Database
from worker.store.identity import NEW, judged_identity, stored_identity
from worker.store.privacy.erasing import scrub
from worker.store.queries.status import is_there, require_file
from worker.store.runs.lease_context import held_lease
from worker.store.runs.ledger import DEFAULT_TENANT
from worker.store.schema.rewriting import Rewriter, Rewritten, is_waiting
from worker.store.schema.upgrade import HEAD, check_schema, revision
from worker.store.schema.upgrade import upgrade as upgrade_schema

UPGRADE = """Bring the database to this program's schema, and make the reporting views anew.

Rows of a program before version 0.2 are also rewritten without other persons' identifiers, odd
spellings of the person's own, and names of those who made a restriction; the next sync finds them
unchanged. That needs the pseudonym key, and takes the lease (exit 4 while a run is on).

Safe to run again, also after it was stopped. Run it once before the first sync and after each
upgrade of the program.

`--json`: schema (before, after), rewritten (persons, rows).

Example: `pts-worker db upgrade`
"""
CHECK = """Tell which schema the database has and which this program needs. Exit 78 if they differ.

Example: `pts-worker db check`
"""

log = structlog.get_logger(__name__)

command = group("db", "Create and upgrade the database. Example: `pts-worker db upgrade`")


@subcommand("upgrade", UPGRADE, of=command)
def upgrade(cli: Cli) -> int:
    """See ``UPGRADE``."""
    app = cli.load("report")
    document = cli.run(lambda: _upgrade(app))
    cli.emit(document, lambda: _print(document))
    return ExitCode.OK


async def _upgrade(app: App) -> dict[str, Any]:
    async with app.database(checked=False) as database:
        identity = await _identity(app, database)
        before, after = await upgrade_schema(database)
        done = Rewritten()
        if identity is not None:
            done = await _rewrite(app, database, identity)
    return {
        "schema": {"before": before, "after": after},
        "rewritten": {"persons": done.persons, "rows": done.rows},
    }


async def _identity(app: App, database: Database) -> Identity | None:
    """How persons are keyed, if rows wait to be rewritten; asked before anything is changed.

    The key is judged here as by every other command, where this one can read it: an account that
    only upgrades needs no key while no rows wait.
    """
    stored, waits = NEW, False
    if is_there(database) and await revision(database) is not None:
        stored = await stored_identity(database, DEFAULT_TENANT)
        waits = bool(stored.mode) and await is_waiting(database, DEFAULT_TENANT)
    privacy = app.settings.privacy
    file = privacy.pseudonym_key_file
    if not waits and (file is None or not os.access(app.path(file), os.R_OK)):
        return None
    if waits and privacy.identity == "pseudonym" and file is None:
        raise ConfigurationError(
            "privacy.pseudonym_key_file is not set: rows of an earlier program are to be rewritten "
            "without other persons' identifiers, which takes the key that the database was begun "
            "with; nothing was changed",
            hint="set it and run `pts-worker db upgrade` again",
        )
    identity = judged_identity(stored, app.identity())
    return identity if waits else None


async def _rewrite(app: App, database: Database, identity: Identity) -> Rewritten:
    def log_progress(done: Rewritten) -> None:
        log.info("upgrade.rewriting", persons=done.persons, rows=done.rows)

    async with held_lease(database, ttl_s=app.settings.lease.ttl_s) as lease:
        rewriter = Rewriter(
            database=database,
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
        f"the database is at schema {after}"
        + ("" if before == after else f" (was {before or 'empty'})")
    )
    done = document["rewritten"]
    if done["persons"]:
        print(
            f"{counted(done['rows'], 'row')} of {counted(done['persons'], 'person')} rewritten by "
            "today's privacy rules"
        )


@subcommand("check", CHECK, of=command)
def check(cli: Cli) -> int:
    """See ``CHECK``."""
    app = cli.load("report")

    async def work() -> str | None:
        async with app.database(checked=False) as database:
            require_file(database)
            found = await revision(database)
            if not cli.as_json:
                print(f"database: {found or 'no schema'}; program: {HEAD}")
            await check_schema(database)
            return found

    found = cli.run(work)
    cli.emit({"schema": {"database": found, "program": HEAD}}, lambda: None)
    return ExitCode.OK
