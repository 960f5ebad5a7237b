"""``erase``: removes one person completely."""

from collections.abc import Mapping

from worker.app import App
from worker.core.identity import NationalId
from worker.core.value import Value
from worker.store.identity import see_identity
from worker.store.privacy.erasing import erase_traces, find_traces, scrub
from worker.store.runs.lease import held_lease
from worker.use_cases.access import log_access


class Erasure(Value, frozen=True, kw_only=True):
    """What was erased, or would be.

    Attributes:
        rows: rows of the person by table.
        is_rewritten: the files of the database were rewritten, and hold nothing of the person.
    """

    is_known: bool
    is_dry_run: bool
    rows: Mapping[str, int]
    is_rewritten: bool


async def erase(
    app: App, off_id: NationalId, *, purpose: str | None, dry_run: bool, rewrite: bool
) -> Erasure:
    """Erase one person. The access is logged.

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
        else:
            async with held_lease(store, ttl_s=app.settings.lease.ttl_s) as lease:
                await log_access(app, store, "erase", purpose, person_key=key)
                traces = await find_traces(store, key)
                await erase_traces(lease, traces)
                await scrub(store, rewrite=rewrite)
        return Erasure(
            is_known=bool(traces.rows),
            is_dry_run=dry_run,
            rows=dict(traces.rows),
            is_rewritten=not dry_run and (rewrite or store.dialect.name == "sqlite"),
        )
