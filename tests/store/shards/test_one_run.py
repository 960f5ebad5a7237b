"""The shards of a key are one run: begun once, published once, by the last."""

import anyio
import pytest

from tests.support.second_reads import read_again
from tests.support.shard_world import KEY, World, names, run_code, shard_code
from tests.support.store_world import HOLD, PRIVACY, SAFETY, failed, read
from worker.core.guard import GuardLimits
from worker.core.model import RunStatus
from worker.core.run import Publication, RunReport
from worker.core.sharding import Shard
from worker.errors import ExitCode, LeaseLostError, UsageError, WithheldError

A, B, C = names(0, 3)
P, Q, R = names(1, 3)


async def test_the_last_publishes_for_all(world: World):
    """Nothing shows before every part is done; then everything does, in one line of the ledger."""
    first, second = await world.shard(0), await world.shard(1)
    assert first.handle.run_id == second.handle.run_id
    await first.write(read(world, A, "x"), read(world, B))
    await second.write(read(world, P, "y", "z"))
    assert shard_code(await first.end(requests=4)) == ExitCode.OK
    assert set() == await world.current()
    assert run_code(await second.end(requests=3)) == ExitCode.OK
    assert {
        key: len([row for row in await world.current() if row[0] == key]) for key in (A, P)
    } == {A: 1, P: 2}
    assert await world.rows(
        "SELECT status, exit_code, persons_total, persons_complete, rows_opened, requests "
        "FROM report_run"
    ) == [("published", 0, 3, 3, 3, 7)]


async def test_two_that_begin_at_one_moment_begin_one_run(world: World):
    """Eight shards at once: one run, eight attempts."""
    found = []

    async def begin(index: int) -> None:
        async with world.process() as database:
            attempt = await world.shard(index, 8, database=database)
            found.append(attempt.handle)

    async with anyio.create_task_group() as tasks:
        for index in range(8):
            tasks.start_soon(begin, index)
    assert len({handle.run_id for handle in found}) == 1
    assert len({handle.attempt_id for handle in found}) == 8
    assert await world.rows("SELECT count(*) FROM run") == [(1,)]


@pytest.mark.promise("1")
async def test_a_removal_needs_two_reads_in_a_shard(world: World):
    """Each shard holds its own persons back, and closes what a second read confirms."""
    first, second = await world.shard(0), await world.shard(1)
    await first.write(read(world, A, "x", "w"))
    await second.write(read(world, P, "y", "z"))
    await first.end()
    await second.end()
    first, second = [await world.shard(index, key="next") for index in (0, 1)]
    (found,) = (await first.store.apply([read(world, A, "x"), read(world, B)])).unconfirmed
    assert (A, {SAFETY: frozenset({"x", "w"})}) == (found.read.person.person_key, found.published)
    await first.store.apply([read_again(found)])
    await second.write(read(world, P, "y", "z"))
    await first.end()
    assert run_code(await second.end()) == ExitCode.OK
    assert {row[:2] for row in await world.current()} == {(A, "x"), (P, "y"), (P, "z")}


async def test_a_part_with_gaps_shows(world: World):
    """A shard that could not read everyone says 3, and so does the whole; another says 0."""
    first, second, third = [await world.shard(index, 3) for index in range(3)]
    a, b, c = (names(index, 1, 3)[0] for index in range(3))
    await first.write(read(world, a))
    await second.write(failed(world, b))
    await third.write(read(world, c))
    assert shard_code(await second.end()) == ExitCode.GAPS
    assert shard_code(await first.end()) == ExitCode.OK
    assert run_code(await third.end()) == ExitCode.GAPS


async def test_a_bad_line_counts_once(world: World):
    """Each shard reads the whole roster: its bad lines are not added up, and nobody departs."""
    await world.sharded_run(A, P, key="night-0")
    first, second = await world.shard(0), await world.shard(1)
    await first.write(read(world, A, "x"), read(world, B), read(world, C))
    assert shard_code(await first.end(may_depart=False, faults=1)) == ExitCode.GAPS
    # The file was mended before the second read it, and P is not in it.
    await second.write(read(world, Q))
    assert run_code(await second.end(faults=1)) == ExitCode.GAPS
    assert await world.rows(
        f"SELECT roster_faults, persons_departed FROM report_run WHERE run_id = "
        f"{first.handle.run_id}"
    ) == [(1, 0)]


async def test_persons_not_sent_are_added_up_and_do_not_depart(world: World):
    """Each shard notes its own; of a shard that was started again its last attempt counts."""
    await world.sharded_run(A, B, P, Q, key="night-0")
    first, second = await world.shard(0), await world.shard(1)
    await first.write(read(world, A, "x"))
    await first.store.not_sent([B])
    await world.expire("run/0")
    first = await world.shard(0)
    assert await first.settled(A) == {A: {SAFETY, PRIVACY}}
    await first.store.not_sent([B])
    assert shard_code(await first.end(not_sent=1)) == ExitCode.OK
    await second.write(read(world, P))
    await second.store.not_sent([Q])
    assert run_code(await second.end(not_sent=1)) == ExitCode.OK
    assert await world.rows(
        f"SELECT persons_not_sent, persons_departed FROM report_run WHERE run_id = "
        f"{first.handle.run_id}"
    ) == [(2, 0)]


@pytest.mark.promise("3")
async def test_a_run_in_shards_goes_on_as_long_as_one_makes_progress(world: World):
    """Whichever shard it is; when none has for too long, the key begins anew."""
    first, second = await world.shard(0), await world.shard(1)
    await first.write(read(world, A, "x"))
    for _ in range(3):
        world.fake.advance(0.9 * HOLD.total_seconds())
        await world.expire("run/0", "run/1")
        second = await world.shard(1)
        assert first.handle.run_id == second.handle.run_id
        await second.write(read(world, P, "y"))
    world.fake.advance(0.9 * HOLD.total_seconds())
    await world.expire("run/0", "run/1")
    first = await world.shard(0)
    assert first.handle.run_id == second.handle.run_id
    world.fake.advance(0.2 * HOLD.total_seconds())
    await world.expire("run/0", "run/1")
    second = await world.shard(1)
    assert first.handle.run_id < second.handle.run_id
    assert await world.rows("SELECT status FROM run ORDER BY run_id") == [
        ("abandoned",),
        ("running",),
    ]


async def test_who_left_is_departed_whichever_shard_they_were_of(world: World):
    """Absent is whom no shard's last attempt has met; whom another shard met is not absent."""
    await world.sharded_run(A, B, C, P, Q, R, key="night-0")
    first, second = await world.shard(0), await world.shard(1)
    await first.write(read(world, A), read(world, B))
    await first.end()
    await second.write(read(world, P), read(world, Q), read(world, R))
    assert run_code(await second.end()) == ExitCode.OK
    departed = "SELECT person_key FROM person WHERE departed_run IS NOT NULL"
    assert await world.rows(departed) == [(C,)]


async def test_a_restarted_shard_sees_its_persons_again(world: World):
    """Who was read before the restart and has left since is departed, as in one process."""
    await world.sharded_run(A, B, P, key="night-0")
    first, second = await world.shard(0), await world.shard(1)
    await first.write(read(world, A, "x"), read(world, B, "y"))
    await second.write(read(world, P))
    await second.end()
    await world.expire("run/0")
    again = await world.shard(0)
    assert again.handle.is_continued
    assert await again.settled(A) == {A: {SAFETY, PRIVACY}}
    done = await again.end()
    assert run_code(done) == ExitCode.OK
    assert await world.current() == {(A, "x", "NORU", False)}
    assert await world.rows("SELECT person_key FROM person WHERE departed_run IS NOT NULL") == [
        (B,)
    ]


async def test_a_part_that_is_looked_at_again_holds_publication_back(world: World):
    """A shard that had done its part and is started once more has it open until it is done."""
    first, second = await world.shard(0), await world.shard(1)
    await first.write(failed(world, A))
    await first.end()
    again = await world.shard(0)
    await second.write(read(world, P))
    assert shard_code(await second.end()) == ExitCode.OK
    assert await again.settled(A) == {A: {PRIVACY}}
    await again.write(read(world, A, "x"))
    assert run_code(await again.end()) == ExitCode.OK


async def test_every_call_may_be_repeated(world: World):
    """Commits whose acknowledgement was lost: the repetition finds what it did and does no more."""
    first, second = await world.shard(0), await world.shard(1)
    await first.write(read(world, A))
    await second.write(read(world, P))
    assert await first.finish() == await first.finish()
    done = await second.finish()
    assert done == await second.finish()
    assert done == await first.finish()
    assert await world.rows("SELECT status, publication_no FROM run") == [("published", 1)]
    assert await world.rows("SELECT count(*) FROM run_attempt") == [(2,)]


@pytest.mark.parametrize("code", [ExitCode.OK, ExitCode.GAPS])
async def test_a_published_key_leaves_nothing_to_do(world: World, code: ExitCode):
    """A shard that is started after publication says what the run's end was, and begins nothing."""
    first, second = await world.shard(0), await world.shard(1)
    await first.write(read(world, A, "x") if code == ExitCode.OK else failed(world, A))
    await second.write(read(world, P))
    await first.end()
    await second.end()
    report = await world.join(1)
    assert isinstance(report, RunReport)
    assert (RunStatus.PUBLISHED, code) == (report.status, report.exit_code)
    assert "already published" in report.reasons[0]
    assert (Shard(index=1, count=2), 2) == (report.shard, report.shards_done)
    assert await world.rows(
        "SELECT (SELECT count(*) FROM run), (SELECT count(*) FROM run_attempt)"
    ) == [(1, 2)]


async def test_a_key_of_long_ago_begins_anew(world: World):
    """The same key the night after is another run."""
    await world.sharded_run(A, P)
    world.fake.advance(HOLD.total_seconds())
    second = await world.sharded_run(A, P)
    assert isinstance(second, Publication)
    assert await world.rows("SELECT status FROM run") == [("published",), ("published",)]


async def test_an_old_open_run_is_given_up_with_all_that_slept_in_it(world: World):
    """Nobody live is at it: it is undone, and a shard that wakes up may write nothing of it."""
    await world.sharded_run(A, P, key="night-0")
    first, second = await world.shard(0), await world.shard(1)
    await first.write(read(world, A, "x"))
    await second.write(read(world, P, "y"))
    await world.expire("run/0", "run/1")
    world.fake.advance(HOLD.total_seconds() + 1)
    anew = await world.shard(0)
    assert anew.handle.run_id != first.handle.run_id
    assert await world.rows(f"SELECT 1 FROM person_area WHERE run_id = {first.handle.run_id}") == []
    with pytest.raises(LeaseLostError):
        await second.write(read(world, Q, "z"))
    assert await world.rows("SELECT status FROM run ORDER BY run_id") == [
        ("published",),
        ("abandoned",),
        ("running",),
    ]


async def test_an_old_run_that_is_worked_on_is_joined(world: World):
    """Age counts only when nobody is at it."""
    first = await world.shard(0)
    world.fake.advance(HOLD.total_seconds() + 1)
    second = await world.shard(1)
    assert first.handle.run_id == second.handle.run_id


async def test_another_open_run_is_undone_before_anybody_writes(world: World):
    """Shards that join while another takes back leave nothing of the other run standing."""
    await world.sharded_run(A, P, key="night-0")
    left = await world.begin()
    await left.write(read(world, A, "x"), read(world, P, "y"), read(world, Q, "z"))
    await left.lease.release()
    attempts = []

    async def begin(index: int) -> None:
        async with world.process() as database:
            attempt = await world.shard(index, database=database)
            await attempt.write(read(world, (A, P)[index], "k"))
            attempts.append(await attempt.end())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(begin, 0)
        tasks.start_soon(begin, 1)
    assert await world.current() == {(A, "k", "NORU", False), (P, "k", "NORU", False)}
    assert await world.rows(f"SELECT 1 FROM person WHERE person_key = '{Q}'") == []
    assert await world.rows("SELECT rows_opened FROM report_run ORDER BY run_id DESC LIMIT 1") == [
        (2,)
    ]


@pytest.mark.parametrize(
    ("count", "areas"), [(3, None), (2, ("patient-safety",))], ids=["shards", "areas"]
)
async def test_another_shape_of_the_run_is_refused(world: World, count: int, areas):
    """A key whose open run has other shards or areas is not continued, and not given up."""
    first = await world.shard(0)
    await first.lease.release()
    with pytest.raises(UsageError, match=KEY):
        await world.join(1, count, **({"areas": areas} if areas else {}))
    assert await world.rows("SELECT status FROM run") == [("running",)]


STRICT = GuardLimits(max_removed_share=0.0, min_completeness=1.0)


async def test_a_withheld_run_leaves_no_trace(world: World):
    """The last judges the whole; all of it is undone, the key is over, another one begins anew."""
    await world.sharded_run(A, P, key="night-0", codes=("x",))
    before = await world.current()
    first, second = await world.shard(0), await world.shard(1)
    await first.write(read(world, A, "x"))
    await second.write(failed(world, P))
    await first.end()
    with pytest.raises(WithheldError, match="person-areas could be read") as caught:
        await second.finish(limits=STRICT)
    # No shard can join between judgement and end.
    with pytest.raises(WithheldError, match="night-1 was withheld"):
        await world.join(0)
    with pytest.raises(WithheldError):
        await second.finish(limits=STRICT)
    await second.store.withhold(caught.value.message)
    await second.lease.release()
    assert before == await world.current()
    assert await world.rows(f"SELECT 1 FROM person_area WHERE run_id = {first.handle.run_id}") == []
    assert await world.rows(
        f"SELECT status, exit_code FROM run WHERE run_id = {first.handle.run_id}"
    ) == [("withheld", 5)]
    with pytest.raises(WithheldError, match="night-1 was withheld"):
        await world.join(0)
    assert run_code(await world.sharded_run(A, P, key="night-2", codes=("x",))) == ExitCode.OK


async def test_the_last_may_die_while_it_takes_back(world: World):
    """What it had not yet taken back is taken by the next run's shards before they write."""
    await world.sharded_run(A, P, key="night-0", codes=("x",))
    first, second = await world.shard(0), await world.shard(1)
    await first.write(read(world, A, "x", "new"))
    await second.write(failed(world, P))
    await first.end()
    with pytest.raises(WithheldError):
        await second.finish(limits=STRICT)
    await world.expire("run/1")
    await world.sharded_run(A, P, key="night-2", codes=("x",))
    assert await world.current() == {(A, "x", "NORU", False), (P, "x", "NORU", False)}
    assert await world.rows(
        "SELECT rows_opened, rows_closed FROM report_run ORDER BY run_id DESC LIMIT 1"
    ) == [(0, 0)]
