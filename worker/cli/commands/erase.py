"""``erase``: remove one person completely."""

import sys
from typing import Any, Final

import click

from worker.cli import options
from worker.cli.access import ask_person, log_access, purpose_option, unknown_person
from worker.errors import LeaseHeldError, StoppedError

_NEXT: Final = "if the person is still on the roster, the next sync reads them again"
_LEASE_HINT: Final = "nothing was erased: try again when the run has ended (`pts-worker status`)"


@click.command("erase", cls=options.Command)
@click.option(
    "--rewrite",
    is_flag=True,
    help="PostgreSQL: rewrite the tables (VACUUM FULL), so that nothing remains in its data files. "
    "Readers of a table wait meanwhile.",
)
@click.option("--yes", is_flag=True, help="Do not ask for confirmation on a terminal.")
@purpose_option
@click.pass_obj
def command(cli: options.Cli, *, rewrite: bool, yes: bool, purpose: str | None) -> None:
    """Remove one person completely: versions, history, proofs, failures, drafts, and the person.

    Give the identifier on standard input, on one line. It is never printed. On a terminal you get a
    prompt, and confirm the erasure. During a run nothing is erased (exit 4).

    First remove the person from the roster, or the next sync reads them again. SQLite's file is
    rewritten. For PostgreSQL see `--rewrite`. Backups, replicas, archived WAL and exported files
    are not changed. The access is logged.

    Example: `pts-worker erase < identifier.txt`
    """
    from worker.store.identity import verify_identity
    from worker.store.privacy import count_traces, erase_traces, scrub
    from worker.store.runs.lease import held_lease

    app, off_id = ask_person(cli)
    question = "Erase everything that is stored about this person? It cannot be undone."
    if not yes and sys.stdin.isatty() and not click.confirm(question, err=True):
        raise StoppedError("not confirmed; nothing was erased")

    async def remove() -> dict[str, Any]:
        async with app.database() as store:
            identity = app.identity()
            await verify_identity(store, identity)
            key = identity.person_key(off_id)
            # Under the lease, because a run could write the person again while they are erased.
            async with held_lease(store, ttl_s=app.settings.lease.ttl_s) as lease:
                await log_access(store, "erase", purpose, person_key=key)
                rows = await count_traces(store, key)
                await erase_traces(lease, key)
                # DELETE leaves the rows readable in the file.
                await scrub(store, rewrite=rewrite)
            return {
                "is_known": bool(rows),
                "rows": dict(rows),
                "is_rewritten": rewrite or store.is_file,
                "next": _NEXT if rows else None,
            }

    try:
        erased = cli.run(remove)
    except LeaseHeldError as error:
        error.hint = _LEASE_HINT
        raise
    is_known = erased["is_known"]
    cli.emit(
        erased, None if is_known else lambda: print(f"{unknown_person(off_id)}; nothing was erased")
    )
