"""``erase``: remove one person completely."""

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from worker.cli import options
from worker.cli.access import ask_person, purpose_option
from worker.cli.output import print_table
from worker.errors import StoppedError

if TYPE_CHECKING:
    from worker.app import App
    from worker.core.identity import NationalId


@click.command("erase", cls=options.Command)
@click.option("--dry-run", is_flag=True, help="Count what would be removed, and change nothing.")
@click.option(
    "--rewrite",
    is_flag=True,
    help="PostgreSQL: rewrite the tables (VACUUM FULL), so that its data files hold nothing. "
    "Keeps readers out of each table meanwhile.",
)
@click.option("--yes", is_flag=True, help="Do not ask for confirmation on a terminal.")
@purpose_option
@options.database
@click.pass_obj
def command(
    cli: options.Cli, *, dry_run: bool, rewrite: bool, yes: bool, purpose: str | None
) -> None:
    """Remove one person completely: versions, history, proofs, failures, drafts, and the person.

    Give the identifier on standard input, on one line. It is never printed. On a terminal you are
    asked for it, and to confirm. Nothing is done during a run (exit 4).

    A person who is still on the roster is read again by the next sync: take them off it first.
    SQLite's file is rewritten. PostgreSQL's tables are vacuumed, and with `--rewrite` rewritten.
    Backups and exported files are out of reach. The access is logged.

    `--json`: is_known, is_dry_run, rows (by table), is_rewritten.

    Example: `pts-worker erase --dry-run < identifier.txt`

    Example: `pts-worker erase < identifier.txt`
    """
    app, off_id = ask_person(cli)
    question = "Erase everything that is stored of this person? It cannot be undone."
    if not (yes or dry_run) and sys.stdin.isatty() and not click.confirm(question, err=True):
        raise StoppedError(
            "not confirmed; nothing was erased", hint="--dry-run counts what would go"
        )
    document = cli.run(
        lambda: _erase(app, off_id, purpose=purpose, dry_run=dry_run, rewrite=rewrite)
    )
    cli.emit(document, lambda: _print(document))


async def _erase(
    app: "App", off_id: "NationalId", *, purpose: str | None, dry_run: bool, rewrite: bool
) -> dict[str, Any]:
    from worker.cli.access import log_access
    from worker.store.identity import see_identity
    from worker.store.privacy import count_traces, erase_traces, scrub
    from worker.store.runs.lease import held_lease

    async with app.database() as store:
        identity = app.identity()
        await see_identity(store, identity)
        key = identity.person_key(off_id)
        if dry_run:
            await log_access(store, "erase --dry-run", purpose, person_key=key)
            rows = await count_traces(store, key)
        else:
            async with held_lease(store, ttl_s=app.settings.lease.ttl_s) as lease:
                await log_access(store, "erase", purpose, person_key=key)
                rows = await count_traces(store, key)
                await erase_traces(lease, key)
                await scrub(store, rewrite=rewrite)
        return {
            "is_known": bool(rows),
            "is_dry_run": dry_run,
            "rows": dict(rows),
            "is_rewritten": not dry_run and (rewrite or store.dialect.name == "sqlite"),
        }


def _print(erasure: Mapping[str, Any]) -> None:
    if erasure["is_known"]:
        print("would be erased:" if erasure["is_dry_run"] else "erased:")
        rows = [(name, rows) for name, rows in erasure["rows"].items() if rows]
        print_table((), rows, indent="  ")
    else:
        print("this person is not known here: never read, or erased already")
    if erasure["is_dry_run"]:
        print("nothing was changed (--dry-run)")
        return
    print("if the person is still on the roster, the next sync reads them again")
    if not erasure["is_rewritten"]:
        print("freed bytes stay in PostgreSQL's data files until overwritten; see --rewrite")
    print("backups, replicas, archived WAL and exported files are yours to look after")
