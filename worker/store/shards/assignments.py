"""Several processes at one run: each under a lease of its own, all in one ledger (PostgreSQL only).

Whatever decides something for all of them (who may work, which run it is, whether it is whole)
happens in one transaction that has locked the lease ``run``. Writing does not: each shard renews
its own row, and no two of them ever write of the same person.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import orjson
from sqlalchemy import Row, delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.core.model import OPEN_STATUSES, RunKind, RunStatus
from worker.core.run import RunHandle, RunReport
from worker.core.sharding import ShardAssignment
from worker.errors import ConfigurationError, ExitCode, UsageError, WithheldError
from worker.store.database import Database
from worker.store.runs.lease import RUN, Lease, displace, held_by_shards, is_live, locked, take
from worker.store.runs.ledger import handle_of, last_progress, new_attempt, new_run, open_in, resume
from worker.store.runs.process_identity import Holder
from worker.store.runs.undo import PERSONS_PER_STEP, left_by, leftovers, undo_rest, undo_some
from worker.store.schema.tables import TOTALS, area_key, attempt, lease, run

_ANOTHER: Final = "use another --run-key to begin anew"


def refuse_sqlite(database: Database) -> None:
    """Shards write side by side, which SQLite cannot.

    Raises:
        ConfigurationError: the database is SQLite.
    """
    if database.dialect.name == "sqlite":
        raise ConfigurationError(
            "database.url: shards need PostgreSQL; SQLite takes one writer at a time",
            hint="set database.url to postgresql://…, or run `sync` without --shard: one process "
            "reads as fast as sync.requests_per_second lets it",
        )


async def acquire_shard(
    database: Database, holder: Holder, *, tenant_id: int, part: ShardAssignment, ttl_s: float
) -> Lease:
    """Take the lease of one shard.

    Raises:
        LeaseHeldError: another process is on with this shard, an ordinary run is on, or shards of
            another run.
    """
    name = f"{RUN}/{part.shard.index}"

    async def work(connection: AsyncConnection) -> Lease:
        front = await locked(database, connection, tenant_id)
        row = await locked(database, connection, tenant_id, name)
        now = await database.now(connection)
        for other in (front, *await held_by_shards(connection, tenant_id)):
            is_sister = (other.run_key, other.shards) == (part.run_key, part.shard.count)
            if other.holder is not None and other.name != name and not is_sister:
                await displace(connection, other, now)
        return await take(
            connection,
            row,
            holder,
            now,
            ttl_s,
            run_key=part.run_key,
            shards=part.shard.count,
            share_per_hour=0,
        )

    return await database.write(work)


async def begin_shard(
    database: Database,
    ours: Lease,
    *,
    part: ShardAssignment,
    areas: Sequence[str],
    host: str,
    continue_within: timedelta,
) -> RunHandle | RunReport:
    """Join the open run of the key, or begin it; or say how it ended, if it is over.

    A run that nobody works on and that made no progress for ``continue_within`` is given up, as
    every other open run is, and the key begins anew.

    Raises:
        LeaseLostError: another process took over this shard.
        UsageError: the open run of this key has other shards or areas.
        WithheldError: the run of this key was withheld.
    """
    now = database.runtime.now()

    async def work(connection: AsyncConnection) -> RunHandle | RunReport:
        await locked(database, connection, ours.tenant_id)
        await ours.renew(database, connection)
        row = await _latest(connection, ours.tenant_id, part.run_key)
        if row is not None and row.status not in OPEN_STATUSES:
            if now - (row.finished_at or row.started_at) <= continue_within:
                return _over(row, part, now)
            row = None
        if row is not None:
            is_moving = now - row.progressed_at <= continue_within
            if is_moving or await others_at(database, connection, ours, row.run_id):
                _check_same(row, part, areas)
                await resume(connection, row.run_id)
            else:
                row = None
        if row is None:
            await _give_up_all(connection, ours.tenant_id, now)
            row = await new_run(
                connection,
                ours.tenant_id,
                RunKind.SYNC,
                areas,
                now,
                run_key=part.run_key,
                shards=part.shard.count,
            )
        await _displace_others(database, connection, ours, row.run_id)
        return await _turn(connection, row, part, now, host)

    return await database.write(work)


async def clear_leftovers(database: Database, ours: Lease) -> None:
    """Take back what runs that were given up have left, before this shard writes.

    Other shards do the same, perhaps at the same time; whoever finds nothing left may write, and
    nobody takes anything back after that.

    Raises:
        LeaseLostError: another process took over this shard.
    """
    if not await leftovers(database, ours.tenant_id):
        return

    async def step(connection: AsyncConnection) -> tuple[int, int] | None:
        await locked(database, connection, ours.tenant_id)
        await ours.renew(database, connection)
        left = await left_by(connection, ours.tenant_id)
        if not left:
            return None
        behind = done[1] if done[0] == left[0] else 0
        persons = await undo_some(connection, database.dialect, left[0], behind=behind)
        if len(persons) < PERSONS_PER_STEP:
            # In the same transaction: what shows no leftover any more has none.
            await undo_rest(connection, left[0])
        return left[0], persons[-1] if persons else 0

    done = (0, 0)
    while (at := await database.write(step)) is not None:
        done = at


async def last_turns(connection: AsyncConnection, run_id: int) -> Mapping[int, Row[Any]]:
    """The last turn of each shard at a run, by the shard's index."""
    rows = await connection.execute(
        select(attempt).where(attempt.c.run_id == run_id).order_by(attempt.c.attempt_id)
    )
    return {row.shard: row for row in rows}


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardState:
    """The last turn of one shard at a run.

    Attributes:
        is_live: its process holds its lease.
        is_done: its part is done.
        exit_code: how the turn ended; None while it is on, and for a process that died.
    """

    index: int
    host: str
    started_at: datetime
    ended_at: datetime | None
    exit_code: int | None
    is_live: bool
    is_done: bool


async def shard_states(database: Database, tenant_id: int, run_id: int) -> Sequence[ShardState]:
    """The last turn of each shard that has begun with its part of a run, by index."""

    async def work(connection: AsyncConnection) -> Sequence[ShardState]:
        now = await database.now(connection)
        live = {
            row.name
            for row in await held_by_shards(connection, tenant_id)
            if row.run_id == run_id and is_live(row, now)
        }
        return [
            ShardState(
                index=index,
                host=turn.host,
                started_at=turn.started_at,
                ended_at=turn.ended_at,
                exit_code=turn.exit_code,
                is_live=f"{RUN}/{index}" in live,
                is_done=turn.is_done,
            )
            for index, turn in sorted((await last_turns(connection, run_id)).items())
        ]

    return await database.read(work)


async def others_at(
    database: Database, connection: AsyncConnection, ours: Lease, run_id: int
) -> bool:
    """Whether another shard that lives works on this run."""
    now = await database.now(connection)
    return any(
        row.run_id == run_id and row.name != ours.name and is_live(row, now)
        for row in await held_by_shards(connection, ours.tenant_id)
    )


async def _latest(connection: AsyncConnection, tenant_id: int, run_key: str) -> Row[Any] | None:
    """The latest run of a key, but for one that was given up."""
    found = await connection.execute(
        select(run, last_progress())
        .where(
            run.c.tenant_id == tenant_id,
            run.c.run_key == run_key,
            run.c.kind == RunKind.SYNC,
            run.c.status != RunStatus.ABANDONED,
        )
        .order_by(run.c.run_id.desc())
        .limit(1)
    )
    return found.one_or_none()


def _over(row: Row[Any], part: ShardAssignment, now: datetime) -> RunReport:
    """The report of a run that has ended.

    Raises:
        WithheldError: it was withheld.
    """
    if row.status == RunStatus.WITHHELD:
        raise WithheldError(
            f"the run {part.run_key} was withheld: {row.reason}",
            hint=f"look at what changed, and {_ANOTHER}, with --accept-removals if it is right",
        )
    return RunReport(
        run_id=row.run_id,
        kind=RunKind.SYNC,
        status=RunStatus.PUBLISHED,
        exit_code=ExitCode(row.exit_code),
        started_at=row.started_at,
        finished_at=now,
        published_at=row.published_at,
        is_continued=True,
        totals={name: getattr(row, name) for name in TOTALS},
        reasons=(
            f"the run {part.run_key} is published already: there was nothing to do; {_ANOTHER}",
        ),
        shard=part.shard,
        shards_done=part.shard.count,
    )


def _check_same(row: Row[Any], part: ShardAssignment, areas: Sequence[str]) -> None:
    """Refuse to go on with a run that was begun otherwise.

    Raises:
        UsageError: it has another number of shards, or other areas.
    """
    if row.shards != part.shard.count:
        raise UsageError(
            f"--shard: the open run {part.run_key} has {row.shards} shards, not {part.shard.count}",
            hint=f"start it with the number that it has, or {_ANOTHER}",
        )
    if orjson.loads(row.areas) != list(areas):
        raise UsageError(
            f"--run-key: the open run {part.run_key} reads other areas",
            hint=f"set sync.areas as it was, or {_ANOTHER}",
        )


async def _give_up_all(connection: AsyncConnection, tenant_id: int, now: datetime) -> None:
    """Mark every open run abandoned. ``clear_leftovers`` takes back what they wrote."""
    for row in await open_in(connection, tenant_id):
        await connection.execute(
            update(run)
            .where(run.c.run_id == row.run_id)
            .values(status=RunStatus.ABANDONED, finished_at=now, exit_code=None, reason=None)
        )
        # No leftover shows a key that was claimed by a shard which then died.
        await connection.execute(delete(area_key).where(area_key.c.since_run == row.run_id))


async def _displace_others(
    database: Database, connection: AsyncConnection, ours: Lease, run_id: int
) -> None:
    """Shards that slept while their run was given up may write no more."""
    now = await database.now(connection)
    for row in await held_by_shards(connection, ours.tenant_id):
        if row.name != ours.name and row.run_id not in (None, run_id):
            await displace(connection, row, now)
    await connection.execute(
        update(lease)
        .where(lease.c.tenant_id == ours.tenant_id, lease.c.name == ours.name)
        .values(run_id=run_id)
    )


async def _turn(
    connection: AsyncConnection, row: Row[Any], part: ShardAssignment, now: datetime, host: str
) -> RunHandle:
    """A new turn of this shard; the one that this very call began, if its commit went unheard."""
    turns = (
        await connection.execute(
            select(attempt.c.attempt_id, attempt.c.started_at)
            .where(attempt.c.run_id == row.run_id, attempt.c.shard == part.shard.index)
            .order_by(attempt.c.attempt_id)
        )
    ).all()
    ours = [one.attempt_id for one in turns if one.started_at == now]
    attempt_id = (
        ours[-1]
        if ours
        else await new_attempt(connection, row.run_id, now, host, shard=part.shard.index)
    )
    is_continued = len(turns) > len(ours)
    return handle_of(row, attempt_id, is_continued=is_continued, shard=part.shard)
