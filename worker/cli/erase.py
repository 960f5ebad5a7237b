"""``erase``: remove one person completely."""

from typing import Any

import click

from worker.app import App
from worker.cli import options
from worker.cli.access import purpose_option
from worker.cli.base import Cli, subcommand
from worker.cli.showing import columns, read_identifier
from worker.core.identity import Identity, NationalId
from worker.errors import ExitCode
from worker.store.identity import see_identity
from worker.store.privacy.erasing import Mask, Traces, erase_traces, find_traces, scrub
from worker.store.privacy.searching import NOT_SEARCHED, Wanted, search
from worker.store.runs.lease_context import held_lease
from worker.store.runs.ledger import DEFAULT_TENANT
from worker.use_cases.access import log_access
from worker.use_cases.reading_store import store_to_read

HELP = """Remove one person completely: versions, history, proofs, failures, and the person.

The identifier stands on standard input, on one line, and is never printed. Where keys, columns or
payloads of another person name this one (say, as the author), identifier and pseudonym are masked
there. What runs have counted stays in the ledger, which names nobody. Nothing is done while a run
is on (exit 4).

Afterwards the database is searched for the identifier, the pseudonym and the local reference, and
what was found is reported: the bytes of SQLite's files, the rows of PostgreSQL's tables.

A person who is still on the roster is read again by the next sync: take them off it first. Backups,
replicas, archived WAL and exported files are beyond this program. SQLite's file is written anew
and holds nothing afterwards; PostgreSQL's tables are vacuumed, and with `--rewrite` written anew.

The access is logged, with the purpose that `--purpose` gives (`report_access`); that row stays, and
names nobody once the person is gone.

`--json`: is_known, is_dry_run, rows (by table), mentions (rows of others), is_scrubbed (nothing was
found afterwards), is_rewritten, found (searched, not_searched, identifier, pseudonym, local_ref,
rows).

Example: `pts-worker erase --dry-run < identifier.txt`

Example: `pts-worker erase < identifier.txt`
"""


@subcommand("erase", HELP)
@click.option("--dry-run", is_flag=True, help="Count what would go, and change nothing.")
@click.option(
    "--rewrite",
    is_flag=True,
    help="PostgreSQL: write the tables anew (VACUUM FULL), so that its data files hold "
    "nothing. Keeps readers out of each table meanwhile.",
)
@purpose_option
@options.database
def command(cli: Cli, *, dry_run: bool, rewrite: bool, purpose: str | None) -> int:
    """See ``HELP``."""
    app = cli.load("person")
    identity = app.identity()
    off_id = read_identifier()
    document = cli.run(
        lambda: _erase(app, identity, off_id, purpose, dry_run=dry_run, rewrite=rewrite)
    )
    cli.emit(document, lambda: _print(document))
    return ExitCode.OK


async def _erase(
    app: App,
    identity: Identity,
    off_id: NationalId,
    why: str | None,
    *,
    dry_run: bool,
    rewrite: bool,
) -> dict[str, Any]:
    async with store_to_read(app) as store:
        identity = await see_identity(store, DEFAULT_TENANT, identity)
        key = identity.person_key(off_id)
        is_rewritten = rewrite or store.dialect.name == "sqlite"
        if dry_run:
            await log_access(app, store, "erase --dry-run", why, person_key=key)
            found = await find_traces(store, DEFAULT_TENANT, key, off_id)
            return _document(found, is_rewritten=False)
        async with held_lease(store, ttl_s=app.settings.lease.ttl_s) as lease:
            await log_access(app, store, "erase", why, person_key=key)
            found = await find_traces(store, DEFAULT_TENANT, key, off_id)
            await erase_traces(store, lease, found, Mask(off_id, key))
            await scrub(store, rewrite=rewrite)
        wanted = Wanted(off_id=off_id, person_key=key, local_refs=found.local_refs)
        left = await search(store, wanted)
        again = await find_traces(store, DEFAULT_TENANT, key, off_id)
        left_document = {
            "searched": list(left.searched),
            "not_searched": NOT_SEARCHED[store.dialect.name],
            "identifier": left.identifier,
            "pseudonym": left.pseudonym,
            "local_ref": left.local_ref,
            "rows": again.mention_count + sum(again.rows.values()),
        }
        return _document(found, is_rewritten=is_rewritten, left=left_document)


def _document(
    found: Traces, *, is_rewritten: bool, left: dict[str, Any] | None = None
) -> dict[str, Any]:
    return {
        "is_known": found.person_id is not None,
        "is_dry_run": left is None,
        "rows": dict(found.rows),
        "mentions": found.mention_count,
        "is_scrubbed": left is not None
        and not (left["identifier"] or left["pseudonym"] or left["rows"]),
        "is_rewritten": is_rewritten,
        "found": left,
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
    _print_found(document["found"])
    print("if the person is still on the roster, the next sync reads them again")
    if not document["is_rewritten"]:
        print("freed bytes stay in PostgreSQL's data files until overwritten; see --rewrite")
    print("backups, replicas, archived WAL and exported files are yours to look after")


def _print_found(found: dict[str, Any]) -> None:
    where = ", ".join(found["searched"])
    left = {name: found[name] for name in ("identifier", "pseudonym", "local_ref") if found[name]}
    if found["rows"]:
        left["rows that name the person"] = found["rows"]
    if left:
        counts = ", ".join(f"{name} {count:,} times" for name, count in left.items())
        print(f"still found in {where}: {counts}")
    else:
        print(f"searched, and nothing of the person is left: {where}")
    if found["local_ref"]:
        print("a local reference may be found in somebody else's data; look before you worry")
    print(f"cannot be searched from here: {found['not_searched']}")
