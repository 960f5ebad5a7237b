"""``erase``: remove one person wholly."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.cli.access import PurposeOption, checked_purpose, log_access
from worker.cli.base import Cli, add_command
from worker.cli.showing import columns, read_identifier, store_to_read
from worker.cli.sync import DatabaseOption

if TYPE_CHECKING:
    from worker.app import App
    from worker.core.identity import Identity, NationalId
    from worker.store.erasing import Traces

HELP = """Remove one person wholly: versions, history, proofs, failures, and the person.

The identifier stands on standard input, on one line, and is never printed. Where the payload of
another person names this one (say, as the author), the identifier is masked there. What runs have
counted stays in the ledger, which names nobody. Nothing is done while a run is on (exit 4).

A person who is still on the roster is read again by the next sync: take them off it first. Backups,
replicas, archived WAL and exported files are beyond this program. SQLite's file is written anew
and holds nothing afterwards; PostgreSQL's tables are vacuumed, and with `--rewrite` written anew.

The access is logged, with the purpose that `--purpose` gives (`report_access`); that row stays, and
names nobody once the person is gone.

`--json`: is_known, is_dry_run, rows (by table), mentions (rows of others), is_scrubbed,
is_rewritten.

Example: `pts-worker erase --dry-run < identifier.txt`

Example: `pts-worker erase < identifier.txt`
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    add_command(app, "erase", erase, HELP)


def erase(
    cli: Cli,
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count what would go, and change nothing.")
    ] = False,
    rewrite: Annotated[
        bool,
        typer.Option(
            "--rewrite",
            help="PostgreSQL: write the tables anew (VACUUM FULL), so that its data files hold "
            "nothing. Keeps readers out of each table meanwhile.",
        ),
    ] = False,
    purpose: PurposeOption = None,
    database: DatabaseOption = None,
) -> int:
    """See ``HELP``."""
    from worker.errors import ExitCode

    why = checked_purpose(purpose)
    app = cli.load("person", {"database.url": database}, {"database.url": "--database"})
    identity = app.identity()
    off_id = read_identifier()
    document = cli.run(lambda: _erase(app, identity, off_id, why, dry_run=dry_run, rewrite=rewrite))
    cli.emit(document, lambda: _print(document))
    return ExitCode.OK


async def _erase(
    app: "App",
    identity: "Identity",
    off_id: "NationalId",
    why: str | None,
    *,
    dry_run: bool,
    rewrite: bool,
) -> dict[str, Any]:
    from worker.store.erasing import erase_traces, find_traces, scrub
    from worker.store.holding import held_lease
    from worker.store.ledger import DEFAULT_TENANT
    from worker.store.reading import see_identity

    key = identity.person_key(off_id)
    async with store_to_read(app) as store:
        await see_identity(
            store, DEFAULT_TENANT, identity=identity.mode, key_check=identity.key_check
        )
        is_rewritten = rewrite or store.dialect.name == "sqlite"
        if dry_run:
            await log_access(app, store, "erase --dry-run", why, person_key=key)
            found = await find_traces(store, DEFAULT_TENANT, key, off_id)
            return _document(found, is_dry_run=True, is_rewritten=is_rewritten)
        async with held_lease(store, ttl_s=app.settings.lease.ttl_s) as lease:
            await log_access(app, store, "erase", why, person_key=key)
            found = await find_traces(store, DEFAULT_TENANT, key, off_id)
            await erase_traces(store, lease, found, off_id)
            await scrub(store, rewrite=rewrite)
        return _document(found, is_dry_run=False, is_rewritten=is_rewritten)


def _document(found: "Traces", *, is_dry_run: bool, is_rewritten: bool) -> dict[str, Any]:
    return {
        "is_known": found.person_id is not None,
        "is_dry_run": is_dry_run,
        "rows": dict(found.rows),
        "mentions": found.mention_count,
        "is_scrubbed": not is_dry_run,
        "is_rewritten": is_rewritten and not is_dry_run,
    }


def _print(document: dict[str, Any]) -> None:
    is_dry_run = document["is_dry_run"]
    if document["is_known"]:
        print("would be erased:" if is_dry_run else "erased:")
        columns((), list(document["rows"].items()), indent="  ")
    else:
        print("this person is not known here: never read, or erased already")
    if document["mentions"]:
        verb = "would be masked" if is_dry_run else "masked"
        print(f"{verb} in {document['mentions']:,} rows of other persons")
    if is_dry_run:
        print("nothing was changed (--dry-run)")
        return
    print("if the person is still on the roster, the next sync reads them again")
    if not document["is_rewritten"]:
        print("freed bytes stay in PostgreSQL's data files until overwritten; see --rewrite")
    print("backups, replicas, archived WAL and exported files are yours to look after")
