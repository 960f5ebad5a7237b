"""``erase``: removes one person completely."""

from collections.abc import Mapping

import msgspec

from worker.app import App
from worker.core.identity import NationalId
from worker.core.value import Value
from worker.store.database import Database
from worker.store.identity import see_identity
from worker.store.privacy.erasing import Traces, erase_traces, find_traces, scrub
from worker.store.privacy.searching import FoundText, Wanted, search
from worker.store.runs.lease import held_lease
from worker.use_cases.access import log_access


class Remains(FoundText, frozen=True, kw_only=True):
    """What a search of the database finds after the erasure; ``rows`` still mention the person."""

    rows: int


class Erasure(Value, frozen=True, kw_only=True):
    """What was erased, or would be.

    Attributes:
        rows: rows of the person by table.
        is_scrubbed: the search found nothing afterwards.
        is_rewritten: the files of the database were rewritten.
        found: ``None`` if nothing was changed.
    """

    is_known: bool
    is_dry_run: bool
    rows: Mapping[str, int]
    is_scrubbed: bool
    is_rewritten: bool
    found: Remains | None


async def erase(
    app: App, off_id: NationalId, *, purpose: str | None, dry_run: bool, rewrite: bool
) -> Erasure:
    """Erase one person, and search the database afterwards. The access is logged.

    Args:
        rewrite: rewrite PostgreSQL's tables. SQLite's file is always rewritten.

    Raises:
        ConfigurationError: the pseudonym key is missing, or not that of the store; or the access
            cannot be logged.
        LeaseHeldError: a run is active; nothing was done.
        SchemaError: the database is missing, behind or ahead.
    """
    identity = app.identity()
    async with app.database() as store:
        identity = await see_identity(store, identity)
        key = identity.person_key(off_id)
        if dry_run:
            await log_access(app, store, "erase --dry-run", purpose, person_key=key)
            traces = await find_traces(store, key)
            return _erasure(traces, None, is_rewritten=False)
        async with held_lease(store, ttl_s=app.settings.lease.ttl_s) as lease:
            await log_access(app, store, "erase", purpose, person_key=key)
            traces = await find_traces(store, key)
            await erase_traces(lease, traces)
            await scrub(store, rewrite=rewrite)
        wanted = Wanted(off_id=off_id, person_key=key, local_refs=traces.local_refs)
        remains = await _remains(store, wanted)
        is_rewritten = rewrite or store.dialect.name == "sqlite"
        return _erasure(traces, remains, is_rewritten=is_rewritten)


async def _remains(store: Database, wanted: Wanted) -> Remains:
    found = await search(store, wanted)
    traces = await find_traces(store, wanted.person_key)
    return Remains(**msgspec.structs.asdict(found), rows=sum(traces.rows.values()))


def _erasure(traces: Traces, found: Remains | None, *, is_rewritten: bool) -> Erasure:
    return Erasure(
        is_known=bool(traces.rows),
        is_dry_run=found is None,
        rows=dict(traces.rows),
        is_scrubbed=found is not None and not (found.identifier or found.pseudonym or found.rows),
        is_rewritten=is_rewritten,
        found=found,
    )
