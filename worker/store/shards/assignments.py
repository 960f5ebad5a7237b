"""Several processes share one run: each holds its own lease (PostgreSQL only).

Decisions that concern all shards (who may work, which run it is, whether it is complete) are made
in a transaction that locks the lease ``run``. Writes need no such lock: each shard renews its own
lease, and no two shards write the same person.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import orjson
from sqlalchemy import Row, delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.core.model import OPEN_STATUSES, RunKind, RunStatus
from worker.core.run import RunHandle, RunReport
from worker.core.sharding import ShardAssignment
from worker.core.value import Value
from worker.errors import ConfigurationError, ExitCode, UsageError, WithheldError
from worker.store.database import Database
from worker.store.runs.lease import RUN, Lease, displace, held_by_shards, is_live, lock_lease, take
from worker.store.runs.ledger import (
    handle_of,
    last_progress,
    new_attempt,
    new_run,
    open_runs,
    resume,
)
from worker.store.runs.process_identity import Holder
from worker.store.runs.undo import (
    PERSONS_PER_STEP,
    end_run,
    leftovers,
    undo_next_persons,
    undo_rest,
)
from worker.store.schema.tables import TOTALS, area_key, attempt, lease, run

_OTHER_KEY_HINT: Final = "use another --run-key to start a new run"


def refuse_sqlite(database: Database) -> None:
    """Refuse SQLite: shards write concurrently, and SQLite has one writer at a time.

    Raises:
        ConfigurationError: the database is SQLite.
    """
    if database.dialect.name == "sqlite":
        raise ConfigurationError(
            "database.url: shards need PostgreSQL; SQLite has one writer at a time",
            hint="set database.url to postgresql://…, or run `sync` without --shard: one process "
            "can use all of sync.requests_per_second",
        )


async def acquire_shard(
    database: Database, holder: Holder, *, part: ShardAssignment, ttl_s: float
) -> Lease:
    """Take the lease of one shard.

    Raises:
        LeaseHeldError: another process holds this shard, or an ordinary run or shards of another
            run are active.
    """
    name = f"{RUN}/{part.shard.index}"

    async def work(connection: AsyncConnection) -> Lease:
        run_lease = await lock_lease(database, connection)
        row = await lock_lease(database, connection, name)
        now = await database.now(connection)
        for held in (run_lease, *await held_by_shards(connection)):
            is_same_run = (held.run_key, held.shards) == (part.run_key, part.shard.count)
            if held.holder is not None and held.name != name and not is_same_run:
                await displace(connection, held, now)
        return await take(
            database,
            connection,
            row,
            holder,
            now,
            ttl_s=ttl_s,
            run_key=part.run_key,
            shards=part.shard.count,
            share_per_hour=0,
        )

    return await database.write(work)


async def begin_shard(
    own: Lease,
    *,
    part: ShardAssignment,
    areas: Sequence[str],
    continue_within: timedelta,
) -> RunHandle | RunReport:
    """Join the open run of this run key, or begin one. If it has ended, return its report.

    An open run that no shard works on and that made no progress for ``continue_within`` is
    abandoned, and a new run begins. Other open runs are abandoned too.

    Raises:
        LeaseLostError: another process took over this shard.
        UsageError: the open run of this key has other shards or areas.
        WithheldError: the run of this key was withheld.
    """
    now = own.database.runtime.now()

    async def work(connection: AsyncConnection) -> RunHandle | RunReport:
        row = await _latest_run(connection, part.run_key)
        if row is not None and row.status not in OPEN_STATUSES:
            if now - (row.finished_at or row.started_at) <= continue_within:
                return _report_of_ended(row, part, now)
            row = None
        if row is not None:
            has_progress = now - row.progressed_at <= continue_within
            if has_progress or await has_other_live_shards(connection, own, row.run_id):
                _check_same(row, part, areas)
                await resume(connection, row.run_id)
            else:
                row = None
        if row is None:
            await _abandon_open_runs(connection, now)
            row = await new_run(
                connection,
                RunKind.SYNC,
                areas,
                now,
                run_key=part.run_key,
                shards=part.shard.count,
            )
        await _displace_other_runs(connection, own, row.run_id)
        return await _begin_attempt(connection, row, part, now, own.holder)

    return await own.write_alone(work)


async def undo_leftovers(own: Lease) -> None:
    """Undo what withheld and abandoned runs have left, before this shard writes.

    Other shards may do the same concurrently. A shard writes once it finds nothing left, and no
    shard undoes anything after that.

    Raises:
        LeaseLostError: another process took over this shard.
    """
    if not await own.database.read(leftovers):
        return

    async def step(connection: AsyncConnection) -> tuple[int, int] | None:
        left = await leftovers(connection)
        if not left:
            return None
        after = done[1] if done[0] == left[0] else 0
        persons = await undo_next_persons(connection, left[0], after=after)
        if len(persons) < PERSONS_PER_STEP:
            # In the same transaction: a run that no longer shows as a leftover must have none.
            await undo_rest(connection, left[0])
        return left[0], persons[-1] if persons else 0

    done = (0, 0)
    while (position := await own.write_alone(step)) is not None:
        done = position


async def last_attempts(connection: AsyncConnection, run_id: int) -> Mapping[int, Row[Any]]:
    """The last attempt of each shard at a run, by shard index."""
    rows = await connection.execute(
        select(attempt).where(attempt.c.run_id == run_id).order_by(attempt.c.attempt_id)
    )
    return {row.shard: row for row in rows}


class ShardState(Value, frozen=True, kw_only=True):
    """The last attempt of one shard at a run.

    Attributes:
        is_live: its process holds its lease.
        is_done: the shard has finished its persons.
        exit_code: how the attempt ended; None while it runs, and for a process that died.
        of: the number of shards.
    """

    index: int
    host: str
    started_at: datetime
    ended_at: datetime | None
    exit_code: int | None
    is_live: bool
    is_done: bool
    of: int


async def shard_states(database: Database, run_id: int, shards: int) -> Sequence[ShardState]:
    """The last attempt of each of the shards that has started on a run, by index."""

    async def work(connection: AsyncConnection) -> Sequence[ShardState]:
        now = await database.now(connection)
        live = {
            row.name
            for row in await held_by_shards(connection)
            if row.run_id == run_id and is_live(row, now)
        }
        return [
            ShardState(
                index=index,
                host=last.host,
                started_at=last.started_at,
                ended_at=last.ended_at,
                exit_code=last.exit_code,
                is_live=f"{RUN}/{index}" in live,
                is_done=last.is_done,
                of=shards,
            )
            for index, last in sorted((await last_attempts(connection, run_id)).items())
        ]

    return await database.read(work)


async def has_other_live_shards(connection: AsyncConnection, own: Lease, run_id: int) -> bool:
    """Whether another live shard works on this run."""
    now = await own.database.now(connection)
    return any(
        row.run_id == run_id and row.name != own.name and is_live(row, now)
        for row in await held_by_shards(connection)
    )


async def _latest_run(connection: AsyncConnection, run_key: str) -> Row[Any] | None:
    """The latest run of a run key that was not abandoned."""
    found = await connection.execute(
        select(run, last_progress())
        .where(
            run.c.run_key == run_key,
            run.c.kind == RunKind.SYNC,
            run.c.status != RunStatus.ABANDONED,
        )
        .order_by(run.c.run_id.desc())
        .limit(1)
    )
    return found.one_or_none()


def _report_of_ended(row: Row[Any], part: ShardAssignment, now: datetime) -> RunReport:
    """The report of a run that has ended.

    Raises:
        WithheldError: it was withheld.
    """
    if row.status == RunStatus.WITHHELD:
        raise WithheldError(
            f"the run {part.run_key} was withheld: {row.reason}",
            hint=f"check what changed; then {_OTHER_KEY_HINT}, with --accept-removals if the "
            "removals are right",
        )
    return RunReport(
        run_id=row.run_id,
        kind=RunKind.SYNC,
        status=RunStatus.PUBLISHED,
        exit_code=ExitCode(row.exit_code),
        started_at=row.started_at,
        finished_at=now,
        attempt_started_at=now,
        published_at=row.published_at,
        is_continued=True,
        totals={name: getattr(row, name) for name in TOTALS},
        reasons=(f"the run {part.run_key} is already published; {_OTHER_KEY_HINT}",),
        shard=part.shard,
        shards_done=part.shard.count,
    )


def _check_same(row: Row[Any], part: ShardAssignment, areas: Sequence[str]) -> None:
    """Refuse to continue a run that was started with other options.

    Raises:
        UsageError: it has another number of shards, or other areas.
    """
    if row.shards != part.shard.count:
        raise UsageError(
            f"--shard: the open run {part.run_key} has {row.shards} shards, not {part.shard.count}",
            hint=f"continue it with --shard i/{row.shards}, or {_OTHER_KEY_HINT}",
        )
    if orjson.loads(row.areas) != list(areas):
        raise UsageError(
            f"--run-key: the open run {part.run_key} reads other areas",
            hint=f"set sync.areas back to what it was, or {_OTHER_KEY_HINT}",
        )


async def _abandon_open_runs(connection: AsyncConnection, now: datetime) -> None:
    """Mark every open run as abandoned. ``undo_leftovers`` undoes what they wrote."""
    for row in await open_runs(connection):
        await end_run(connection, row.run_id, RunStatus.ABANDONED, now)
        # A record key claimed by a shard that died since does not show as a leftover.
        await connection.execute(delete(area_key).where(area_key.c.since_run == row.run_id))


async def _displace_other_runs(connection: AsyncConnection, own: Lease, run_id: int) -> None:
    """Displace shards that were paused while their run was abandoned; they may not write again."""
    now = await own.database.now(connection)
    for row in await held_by_shards(connection):
        if row.name != own.name and row.run_id not in (None, run_id):
            await displace(connection, row, now)
    await connection.execute(update(lease).where(lease.c.name == own.name).values(run_id=run_id))


async def _begin_attempt(
    connection: AsyncConnection, row: Row[Any], part: ShardAssignment, now: datetime, holder: Holder
) -> RunHandle:
    """Begin a new attempt of this shard.

    If this call was committed before and its acknowledgement was lost, the same attempt is used.
    """
    attempts = (
        await connection.execute(
            select(attempt.c.attempt_id, attempt.c.started_at)
            .where(attempt.c.run_id == row.run_id, attempt.c.shard == part.shard.index)
            .order_by(attempt.c.attempt_id)
        )
    ).all()
    own_ids = [found.attempt_id for found in attempts if found.started_at == now]
    attempt_id = (
        own_ids[-1]
        if own_ids
        else await new_attempt(connection, row.run_id, now, holder, shard=part.shard.index)
    )
    is_continued = len(attempts) > len(own_ids)
    return handle_of(row, attempt_id, is_continued=is_continued, shard=part.shard)
