"""What shards of one run do beside one another, and what else may happen between two attempts."""

from datetime import timedelta

import anyio
import pytest
from msgspec.structs import replace

from tests.support.shard_world import KEY, World, names, run_code, shard_code
from tests.support.store_world import PRIVACY, SAFETY, TTL_S, complete, person_named, read, record
from worker.core.model import CompleteArea, Drift, PersonRead, RunKind, RunStatus
from worker.core.run import RunProgress, RunReport
from worker.core.sharding import Shard, ShardAssignment
from worker.errors import ExitCode, UnavailableError
from worker.store.runs.process_identity import this_process
from worker.store.runs.quiet import keep_quiet, refuse_during_quiet
from worker.store.shards.assignments import acquire_shard

A, B, C = names(0, 3)
P, Q, R = names(1, 3)


@pytest.mark.parametrize("new_first", [True, False])
async def test_a_restriction_moves_to_a_person_of_another_shard(world: World, new_first: bool):
    """It is one moved row and no removal, in whichever order the two shards write."""
    await world.sharded_run(A, P, key="night-0", codes=())
    first, second = await world.shard(0, key="night-1"), await world.shard(1, key="night-1")
    await first.write(read(world, A, "x"))
    await second.write(read(world, P))
    await first.end()
    await second.end()
    since = await world.rows("SELECT first_seen_at FROM report_patient_safety_current")

    old, new = await world.shard(0, key="night-2"), await world.shard(1, key="night-2")
    writes = [(old, read(world, A)), (new, read(world, P, "x"))]
    for attempt, one in reversed(writes) if new_first else writes:
        await attempt.write(one)
    await old.end()
    assert run_code(await new.end()) == ExitCode.OK
    assert await world.current() == {(P, "x", "NORU", False)}
    assert since == await world.rows("SELECT first_seen_at FROM report_patient_safety_current")
    assert await world.rows(
        "SELECT rows_moved, rows_opened, rows_closed FROM report_run ORDER BY run_id DESC LIMIT 1"
    ) == [(1, 0, 0)]


async def test_it_moves_from_a_person_who_left(world: World):
    """The old identifier is gone from the roster, so its shard meets nobody: moved, not removed."""
    await world.sharded_run(P, key="night-0")
    old, new = await world.shard(0), await world.shard(1)
    await old.write(read(world, A, "x"))
    await new.write(read(world, P))
    await old.end()
    await new.end()
    old, new = await world.shard(0, key="night-2"), await world.shard(1, key="night-2")
    await new.write(read(world, P, "x"))
    await new.end()
    assert run_code(await old.end()) == ExitCode.OK
    assert await world.current() == {(P, "x", "NORU", False)}
    assert await world.rows(
        "SELECT persons_departed, rows_moved, rows_closed FROM report_run "
        "ORDER BY run_id DESC LIMIT 1"
    ) == [(1, 1, 0)]


def keyed(world: World, key: str, path: str, *codes: str) -> PersonRead:
    """A person whose records were keyed by another path."""
    one = read(world, key, *codes)
    areas = tuple(
        replace(area, proof=replace(area.proof, key_path=path if area.records else ""))
        for area in one.areas
        if isinstance(area, CompleteArea)
    )
    return replace(one, areas=areas)


async def test_the_first_record_key_serves_all_shards(world: World):
    """What another shard finds keyed otherwise is a failure, in the same batch and ever after."""
    first, second = await world.shard(0), await world.shard(1)
    await first.write(keyed(world, A, "id", "x"))
    await second.write(keyed(world, P, "guid", "y"), keyed(world, Q, "id", "z"))
    await second.write(keyed(world, R, "guid", "k"))
    assert shard_code(await second.end()) == ExitCode.GAPS
    assert run_code(await first.end()) == ExitCode.GAPS
    assert await world.current() == {(A, "x", "NORU", False), (Q, "z", "NORU", False)}
    assert await world.rows("SELECT kind, status FROM failure") == [("contract", 200)] * 2
    assert await world.rows("SELECT area, key_path FROM area_key") == [(SAFETY, "id")]


def busy(world: World, key: str, number: int) -> PersonRead:
    """A person with restrictions in both areas and drift, in an order of its own."""
    drift = frozenset(Drift(field=f"[].f{n}", kind="unknown_field") for n in range(number % 7))
    areas = [
        replace(complete(world, area, record(f"{area}-{key}-{n}", area=area)), drift=drift)
        for n, area in enumerate((SAFETY, PRIVACY))
    ]
    if number % 2:
        areas.reverse()
    return PersonRead(person=person_named(key), areas=tuple(areas))


async def test_four_write_at_once(world: World):
    """Transactions run side by side and meet in the keys and the drift: nothing is lost."""
    persons, count = 60, 4

    async def work(index: int) -> None:
        async with world.process() as database:
            attempt = await world.shard(index, count, database=database)
            ours = names(index, persons, count)
            for start in range(0, persons, 5):
                await attempt.write(
                    *(busy(world, key, start + index) for key in ours[start : start + 5])
                )
                await attempt.store.renew()
            await attempt.end()

    async with anyio.create_task_group() as tasks:
        for index in range(count):
            tasks.start_soon(work, index)
    total = persons * count
    assert await world.rows(
        "SELECT status, exit_code, persons_complete, rows_read, rows_opened FROM report_run"
    ) == [("published", 0, total, 2 * total, 2 * total)]
    assert await world.rows("SELECT count(*) FROM drift") == [(2 * 6,)]


async def test_a_stopped_shard_leaves_the_run_to_the_others(world: World):
    """The run is interrupted when the last who worked on it stops, not before."""
    first, second = await world.shard(0), await world.shard(1)
    await first.write(read(world, A))
    status = "SELECT status, exit_code FROM run"
    await first.store.interrupt(ExitCode.STOPPED, "stopped", RunProgress(requests=2))
    await first.lease.release()
    assert await world.rows(status) == [("running", None)]
    await second.store.interrupt(ExitCode.UNAVAILABLE, "PTS is away", RunProgress(requests=3))
    await second.lease.release()
    assert await world.rows(status) == [("interrupted", 69)]
    assert await world.rows(
        "SELECT shard, exit_code, requests FROM run_attempt ORDER BY shard"
    ) == [(0, 75, 2), (1, 69, 3)]
    again = await world.shard(0)
    assert await world.rows(status) == [("running", None)]
    assert await again.settled(A) == {A: {SAFETY, PRIVACY}}


async def test_a_backfill_between_has_every_part_looked_at_again(world: World):
    """It takes back what the open run had of a person: that shard must meet them anew."""
    await world.sharded_run(A, B, P, key="night-0", codes=("x",))
    first, second = await world.shard(0), await world.shard(1)
    await first.write(read(world, A, "x"), read(world, B, "x"))
    await first.end()
    await world.expire("run/1")
    backfill = await world.begin(RunKind.BACKFILL)
    await backfill.write(read(world, A, "x", "y"))
    assert run_code(await backfill.end()) == ExitCode.OK

    second = await world.shard(1)
    await second.write(read(world, P, "x"))
    assert shard_code(await second.end()) == ExitCode.OK
    again = await world.shard(0)
    assert await again.settled(A, B) == {B: {SAFETY, PRIVACY}}
    await again.write(read(world, A, "x", "y"))
    assert run_code(await again.end()) == ExitCode.OK
    assert await world.rows("SELECT 1 FROM person WHERE departed_run IS NOT NULL") == []


async def test_an_ordinary_sync_finishes_what_shards_began(world: World):
    """It continues their run over the whole roster; a shard that comes later has nothing to do."""
    await world.sharded_run(A, P, key="night-0", codes=("x",))
    first, second = await world.shard(0), await world.shard(1)
    await first.write(read(world, A, "x"))
    await first.end()
    await world.expire("run/1")
    attempt = await world.begin()
    assert (second.handle.run_id, True) == (attempt.handle.run_id, attempt.handle.is_continued)
    assert await attempt.settled(A, P) == {A: {SAFETY, PRIVACY}}
    await attempt.write(read(world, P, "x"))
    assert run_code(await attempt.end()) == ExitCode.OK
    assert await world.rows("SELECT 1 FROM person WHERE departed_run IS NOT NULL") == []
    report = await world.join(1)
    assert isinstance(report, RunReport)
    assert report.status == RunStatus.PUBLISHED


async def test_shards_come_back_to_a_run_that_an_ordinary_sync_had(world: World):
    """Every part is looked at again: whom the ordinary run saw counts for no shard."""
    await world.sharded_run(A, P, key="night-0", codes=("x",))
    first, second = await world.shard(0), await world.shard(1)
    await first.write(read(world, A, "x"))
    await second.write(read(world, P, "x"))
    await first.end()
    await world.expire("run/1")
    attempt = await world.begin()
    await attempt.settled(A, P)
    await attempt.store.interrupt(ExitCode.STOPPED, "stopped", RunProgress())
    await attempt.lease.release()
    second = await world.shard(1)
    await second.settled(P)
    assert shard_code(await second.end()) == ExitCode.OK
    first = await world.shard(0)
    await first.settled(A)
    assert run_code(await first.end()) == ExitCode.OK
    assert await world.rows("SELECT 1 FROM person WHERE departed_run IS NOT NULL") == []
    assert len(await world.current()) == 2


@pytest.mark.promise("7")
async def test_the_quiet_that_ended_a_shard_binds_the_starts_of_all(world: World):
    """Also of an ordinary run. A shard that waits for its end goes on with the same run."""
    first, second = await world.shard(0), await world.shard(1)
    await first.write(read(world, A))
    until = world.fake.now() + timedelta(seconds=2 * TTL_S)
    await first.store.interrupt(
        ExitCode.UNAVAILABLE, "PTS asks for quiet", RunProgress(), not_before=until
    )
    await first.lease.release()
    with pytest.raises(UnavailableError) as raised:
        await refuse_during_quiet(world.database)
    assert until == raised.value.not_before
    await second.lease.release()

    part = ShardAssignment(shard=Shard(index=0, count=2), run_key=KEY)
    holder = this_process(world.fake.runtime.new_id())
    lease = await acquire_shard(world.database, holder, part=part, ttl_s=TTL_S)
    await keep_quiet(lease, wait_s_max=3 * TTL_S, stop=anyio.Event())
    assert until == world.fake.now()
    await lease.release()
    again = await world.shard(0)
    assert again.handle.run_id == first.handle.run_id
