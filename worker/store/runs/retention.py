"""Deletes old rows of the access log, and closed versions if the operator chose so.

Current state is never deleted, and neither is a run with its facts. Afterwards history
and ``explain --as-of`` are complete only for times after the purged ones. The change feed lists the
purged versions.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, Insert, Select, Table, delete, func, insert, literal, select
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.core.value import Value
from worker.store.database import delete_securely
from worker.store.runs.lease import Lease
from worker.store.runs.ledger import last_publication_no
from worker.store.schema.tables import VERSIONS, access_log, change_feed, run
from worker.views import UtcTime

ACCESS_KEPT: Final = timedelta(days=730)
"""Who looked at whom is asked within two years, if ever; longer, the log itself would be a risk."""


class RetentionRules(Value, frozen=True, kw_only=True):
    """How long rows are kept.

    Attributes:
        versions: closed versions, from the publication that closed them; None: for ever.
        access_log: rows of the access log; the database's triggers keep them for 90 days at least.
        rows_per_step: rows per transaction.
    """

    versions: timedelta | None = None
    access_log: timedelta = ACCESS_KEPT
    rows_per_step: int = 2_000


class Purged(Value, frozen=True, kw_only=True):
    """The numbers of deleted rows."""

    versions: int = 0
    accesses: int = 0


async def purge(
    lease: Lease,
    rules: RetentionRules,
    *,
    is_stopping: Callable[[], bool] = lambda: False,
) -> Purged:
    """Delete what is older than the rules, in bounded transactions; a later call continues.

    Args:
        is_stopping: checked between transactions; the rest waits for the next call.

    Raises:
        LeaseLostError: another holder took over.
        UnavailableError: the database cannot be used after all retries.
    """
    now = await lease.database.read(lease.database.now)

    async def all_of(table: Table, condition: ColumnElement[bool], area: str = "") -> int:
        (key,) = table.primary_key
        some = select(key).where(condition).order_by(key).limit(rules.rows_per_step)

        async def step(connection: AsyncConnection) -> int:
            await delete_securely(connection)
            if area:
                number = await last_publication_no(connection)
                await connection.execute(_feed(area, some, number, now))
            return (await connection.execute(delete(table).where(key.in_(some)))).rowcount

        gone = 0
        while not is_stopping():
            in_step = await lease.write(step)
            gone += in_step
            if in_step < rules.rows_per_step:
                break
        return gone

    versions = 0
    if rules.versions is not None:
        last = select(func.max(run.c.publication_no)).where(
            run.c.published_at < now - rules.versions
        )
        for area, table in VERSIONS.items():
            versions += await all_of(table, table.c.closed_no <= last.scalar_subquery(), area)
    accesses = await all_of(access_log, access_log.c.accessed_at < now - rules.access_log)
    return Purged(versions=versions, accesses=accesses)


def _feed(area: str, versions: Select[tuple[int]], number: int, at: datetime) -> Insert:
    """Adds to the feed that these versions are purged."""
    table = VERSIONS[area].c
    values = (literal(number), literal(at, UtcTime()), literal("purge"), literal(area))
    return insert(change_feed).from_select(
        ("publication_no", "happened_at", "op", "area", "version_id", "person_id"),
        select(*values, table.version_id, table.person_id).where(table.version_id.in_(versions)),
    )
