"""Opens the store of one run, for the holder of the run's lease or of one shard's lease."""

from collections.abc import Sequence
from datetime import timedelta

from worker.core.confirmation import Confirm
from worker.core.model import RunKind
from worker.core.run import RunReport
from worker.core.sharding import ShardAssignment
from worker.ports import RateBudget
from worker.store.runs.lease import Lease
from worker.store.runs.ledger import begin_run, open_runs
from worker.store.runs.run_store import Choice, SqlRunStore
from worker.store.runs.undo import leftovers, undo_writes
from worker.store.shards.assignments import begin_shard, undo_leftovers
from worker.store.shards.run_store import ShardRunStore
from worker.store.writes.notes import AgreedRecordKeys


async def open_run_store(
    lease: Lease,
    *,
    kind: RunKind,
    areas: Sequence[str],
    continue_within: timedelta,
    choice: Choice | None = None,
    confirm: Confirm = Confirm.REMOVALS,
) -> SqlRunStore:
    """Undo the leftovers of withheld and abandoned runs; continue or begin a run; open its store.

    Raises:
        LeaseLostError: another holder took over.
    """
    for run_id in await lease.database.read(leftovers):
        await undo_writes(lease, run_id)
    handle = await begin_run(lease, kind=kind, areas=areas, continue_within=continue_within)
    others = await lease.database.read(open_runs)
    return SqlRunStore(
        lease=lease,
        handle=handle,
        unpublished=tuple(row.run_id for row in others if row.run_id != handle.run_id),
        confirm=confirm,
        choice=choice,
    )


async def open_shard_store(
    lease: Lease,
    part: ShardAssignment,
    *,
    areas: Sequence[str],
    continue_within: timedelta,
    budget: RateBudget,
    confirm: Confirm = Confirm.REMOVALS,
) -> ShardRunStore | RunReport:
    """Join or begin a run and open the store of one shard. If the run has ended, return its report.

    Raises:
        LeaseLostError: another process took over this shard.
        UsageError: the open run of this key has other shards or areas.
        WithheldError: the run of this key was withheld.
    """
    handle = await begin_shard(lease, part=part, areas=areas, continue_within=continue_within)
    if isinstance(handle, RunReport):
        return handle
    await undo_leftovers(lease)
    return ShardRunStore(
        lease=lease,
        handle=handle,
        confirm=confirm,
        shard=part.shard,
        keys=AgreedRecordKeys(lease=lease, handle=handle),
        budget=budget,
    )
