"""No write of a run, of whatever kind, gets past another holder of the lease (promise 4).

Each kind of write transaction of each kind of run has its trial: just before it begins another
process takes the lease, under a higher token. Nothing may be written from then on, be it by that
transaction or by those that end the run. With ``NTH=all`` in the environment every single one.
"""

import os
from dataclasses import replace
from datetime import timedelta
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import anyio
import pytest
from msgspec import structs

from tests.support.fencing import FencedStage, Scenario, Trials, Usurper, Writes, nothing
from tests.support.published import Store
from tests.support.shard_world import Budget
from tests.support.simulation.materials import materials
from tests.support.simulation.nth_call import change
from tests.support.simulation.stage import Outcome
from worker.app import App
from worker.core.identity import NationalId
from worker.core.model import RunKind
from worker.core.sharding import Shard, ShardAssignment
from worker.errors import ExitCode, LeaseLostError
from worker.roster.csv_file import CsvRoster
from worker.sandbox.restrictions import PRIVACY, SAFETY
from worker.store.privacy.erasing import Mask, erase_traces, find_traces
from worker.store.runs.lease import Lease
from worker.store.runs.lease_context import held_lease
from worker.store.runs.process_identity import this_process
from worker.store.shards.assignments import acquire_shard, begin_shard
from worker.store.shards.rate_shares import balance
from worker.use_cases.observed_run import observed_run
from worker.use_cases.run_sync import RunRequest

pytestmark = pytest.mark.promise("4")

IS_ALL = os.environ.get("NTH") == "all"
HELD_FROM = 2
"""The first write takes the lease; it can be taken over from the second on."""


async def run(stage: FencedStage, **options: Any) -> Outcome:
    """One run of a process of its own."""
    return await stage.run(stage.process(), **{"accepts": True, **options})


async def stopped(stage: FencedStage, after: int, **options: Any) -> Outcome:
    """A run that is asked to stop before its write of that number, and is left open."""
    stop = anyio.Event()

    def ask(number: int) -> None:
        if number == after:
            stop.set()

    with Writes(before=ask).watched():
        return await run(stage, stop=stop, **options)


async def one_night(stage: FencedStage) -> None:
    """A published run."""
    assert (await run(stage)).code == 0


async def half_a_night(stage: FencedStage) -> None:
    """A first run that was stopped when it had written a batch."""
    stage.limit(requests_per_second=20.0)
    assert (await stopped(stage, after=5)).code == ExitCode.STOPPED


async def one_night_and_a_half(stage: FencedStage) -> None:
    """And after it one that was stopped when it had written a batch of the changed world."""
    await one_night(stage)
    change(stage)
    stage.limit(requests_per_second=20.0)
    outcome = await stopped(stage, after=4)
    assert outcome.code == ExitCode.STOPPED


async def changed(stage: FencedStage) -> Outcome:
    """A run over the changed world."""
    change(stage)
    return await run(stage)


async def interrupted(stage: FencedStage) -> Outcome:
    """The same, stopped on the way."""
    change(stage)
    stage.limit(requests_per_second=20.0)
    return await stopped(stage, after=4)


async def begun_anew(stage: FencedStage) -> Outcome:
    """The open run is too old: it is undone, and another begins."""
    stage.limit(continue_within=timedelta(0))
    return await changed(stage)


async def withheld(stage: FencedStage) -> Outcome:
    """Nobody has a restriction any more: the guard holds it back, and it is undone."""
    for areas in stage.upstream.truth.values():
        areas |= {SAFETY: {}, PRIVACY: {}}
    return await run(stage, accepts=False)


async def backfill(stage: FencedStage) -> Outcome:
    """Some persons beside an open run, who are taken back from it first."""
    change(stage)
    return await run(stage, kind=RunKind.BACKFILL, lines=stage.roster[:3])


async def forgetting(stage: FencedStage) -> Outcome:
    """A run whose end purges old versions and runs."""
    rules = structs.replace(
        stage.settings.retention, versions=timedelta(0), runs=timedelta(microseconds=1)
    )
    stage.settings = structs.replace(stage.settings, retention=rules)
    return await run(stage)


async def some_nights(stage: FencedStage) -> None:
    """What the last closed is old by the next; and one of the runs nothing refers to any more."""
    for _ in range(3):
        await one_night(stage)
    assert (await changed(stage)).code == 0


async def erasing(stage: FencedStage) -> None:
    """One person goes, and where others name them."""
    app = app_of(stage)
    identity, off_id = app.identity(), NationalId(stage.roster[0].off_id)
    key = identity.person_key(off_id)
    async with app.database() as database, held_lease(database, ttl_s=50) as lease:
        traces = await find_traces(database, key, off_id)
        assert traces.person_id is not None
        await erase_traces(lease, traces, Mask(off_id, key))


def app_of(stage: FencedStage) -> App:
    """The configured program of a new process."""
    loaded = replace(materials().loaded, settings=stage.settings, cwd=stage.folder)
    return App(loaded=loaded, runtime=stage.process().runtime())


async def as_shard(stage: FencedStage, *, index: int = 0, of: int = 1, **more: Any) -> Outcome:
    """One shard of a run."""
    path = stage.folder / "roster.csv"
    path.write_text("\n".join(["off_id,local_ref", *(line.text() for line in stage.roster), ""]))
    app = app_of(stage)
    part = ShardAssignment(shard=Shard(index=index, count=of), run_key="night")
    request = RunRequest(roster=CsvRoster(path), part=part, **more)
    report = await observed_run(app, request, stop=anyio.Event())
    return Outcome(process=stage.processes[-1], code=int(report.exit_code), report=report)


async def sharded(stage: FencedStage) -> Outcome:
    """A run in one shard, after one that was left open is given up and taken back."""
    change(stage)
    return await as_shard(stage, accept_removals=True)


async def one_of_two(stage: FencedStage) -> Outcome:
    """A shard whose part is done, and that is not the last."""
    return await as_shard(stage, of=2)


async def sharded_withheld(stage: FencedStage) -> Outcome:
    """The only shard, over a world in which nobody has a restriction."""
    for areas in stage.upstream.truth.values():
        areas |= {SAFETY: {}, PRIVACY: {}}
    return await as_shard(stage)


async def sharded_interrupted(stage: FencedStage) -> Outcome:
    """A shard whose roster is not there."""
    app = app_of(stage)
    part = ShardAssignment(shard=Shard(index=0, count=1), run_key="night")
    request = RunRequest(roster=CsvRoster(stage.folder / "nowhere.csv"), part=part)
    report = await observed_run(app, request, stop=anyio.Event())
    return Outcome(process=stage.processes[-1], code=int(report.exit_code), report=report)


async def two_shards(stage: FencedStage) -> None:
    """The first has the whole rate, and the second has just come."""
    async with app_of(stage).database() as database:
        for index in range(2):
            part = ShardAssignment(shard=Shard(index=index, count=2), run_key="night")
            holder = this_process(f"shard-{index}")
            lease = await acquire_shard(database, holder, part=part, ttl_s=50)
            await begin_shard(
                lease,
                part=part,
                areas=(SAFETY, PRIVACY),
                continue_within=timedelta(hours=1),
            )
            for _ in range(2):
                await balance(lease, Budget(), shards=2)


async def making_room(stage: FencedStage) -> None:
    """The first gives half of the rate away."""
    holder = this_process("shard-0")
    async with app_of(stage).database() as database:
        lease = Lease(database=database, name="run/0", fencing_token=1, holder=holder, ttl_s=50)
        await balance(lease, Budget(), shards=2)


ENDED = "UPDATE run_attempt SET ended_at"
PUBLISHED = "publication_no="
GIVEN_BACK = "UPDATE lease SET holder"

ORDINARY: dict[str, Scenario] = {
    "the first run": Scenario(
        before=nothing,
        act=run,
        writes=(
            "UPDATE store_identity SET identity",
            "INSERT INTO run (",
            "INSERT INTO person (",
            "INSERT INTO area_key",
            PUBLISHED,
            ENDED,
        ),
    ),
    "a changed world": Scenario(
        before=one_night,
        act=changed,
        writes=("INSERT INTO run_attempt", "UPDATE patient_safety_version", PUBLISHED, ENDED),
    ),
    "an interrupted run": Scenario(
        before=one_night,
        act=interrupted,
        writes=("INSERT INTO run_attempt", "UPDATE run SET status", ENDED),
    ),
    "a continued run": Scenario(
        before=one_night_and_a_half,
        act=changed,
        writes=("INSERT INTO run_attempt", "UPDATE person_area SET attempt_id", PUBLISHED, ENDED),
    ),
    "a run that is given up": Scenario(
        before=one_night_and_a_half,
        act=begun_anew,
        writes=(
            "UPDATE run SET status",
            "DELETE FROM patient_safety_version",
            "DELETE FROM area_key",
            PUBLISHED,
        ),
    ),
    "a first run that is given up": Scenario(
        before=half_a_night,
        act=begun_anew,
        writes=("DELETE FROM area_key", "DELETE FROM person WHERE", PUBLISHED),
    ),
    "a withheld run": Scenario(
        before=one_night,
        act=withheld,
        writes=(
            "UPDATE run SET status",
            "DELETE FROM patient_safety_version",
            "DELETE FROM area_key",
        ),
    ),
    "a backfill": Scenario(
        before=one_night_and_a_half, act=backfill, writes=("DELETE FROM person_area", PUBLISHED)
    ),
    "retention": Scenario(
        before=some_nights,
        act=forgetting,
        writes=(PUBLISHED, "DELETE FROM patient_safety_version", "DELETE FROM run WHERE"),
    ),
    "an erasure": Scenario(before=one_night, act=erasing, writes=("DELETE FROM person WHERE",)),
}
SHARDED: dict[str, Scenario] = {
    "the first run of a shard": Scenario(
        before=nothing, act=as_shard, writes=("INSERT INTO area_key", PUBLISHED, ENDED)
    ),
    "a shard that is the last": Scenario(
        before=one_night_and_a_half,
        act=sharded,
        writes=(
            "INSERT INTO run_attempt",
            "DELETE FROM person_area",
            "UPDATE lease SET share_per_hour",
            "INSERT INTO area_key",
            "INSERT INTO person (",
            PUBLISHED,
            ENDED,
        ),
    ),
    "a shard that is not": Scenario(
        before=one_night,
        act=one_of_two,
        writes=("UPDATE lease SET share_per_hour", "is_done=", ENDED),
    ),
    "a withheld shard": Scenario(
        before=one_night,
        act=sharded_withheld,
        writes=("UPDATE run SET status", "DELETE FROM patient_safety_version"),
    ),
    "a shard that makes room": Scenario(
        before=two_shards, act=making_room, writes=("UPDATE lease SET share_per_hour",)
    ),
    "an interrupted shard": Scenario(
        before=one_night, act=sharded_interrupted, writes=("UPDATE run SET status", ENDED)
    ),
}


NOT_SHARDED = ("a continued run", "a backfill", "retention", "an erasure")
"""What no shard does: on PostgreSQL the others are those of shards."""


@pytest.mark.parametrize(
    ("database_url", "name"),
    [*product(["sqlite"], ORDINARY), *product(["postgresql"], NOT_SHARDED)],
    indirect=["database_url"],
)
def test_an_ordinary_run(database_url: str, tmp_path: Path, name: str):
    """Every write of a run in one process, and of an erasure."""
    materials()  # made in a loop of its own
    anyio.run(partial(try_all, ORDINARY[name], database_url, tmp_path))


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("name", SHARDED)
def test_a_shard(database_url: str, tmp_path: Path, name: str):
    """Every write of a shard."""
    materials()
    anyio.run(partial(try_all, SHARDED[name], database_url, tmp_path))


async def try_all(scenario: Scenario, url: str, folder: Path) -> None:
    """The lease is taken over before each write that the scenario is about, and the last."""
    trials = Trials(scenario=scenario, url=url, folder=folder)
    await trials.prepare()
    undisturbed = await trials.run()
    assert not isinstance(undisturbed.ended, Exception)
    count = len(undisturbed.writes)
    numbers = {count}
    for piece in scenario.writes:
        holding = [n for n, write in enumerate(undisturbed.writes, start=1) if piece in write]
        assert holding, f"no write holds: {piece}"
        numbers.add(max(HELD_FROM, holding[0]))
    for number in range(HELD_FROM, count + 1) if IS_ALL else sorted(numbers):
        usurper = Usurper(store=Store(url), number=number)
        tried = await trials.run(usurper)
        is_over = number == count and GIVEN_BACK in undisturbed.writes[-1]
        await anyio.to_thread.run_sync(check, usurper, tried.ended, number, is_over)


def check(usurper: Usurper, ended: Any, number: int, is_over: bool) -> None:
    """Nothing was written; and the lease's loss is reported, unless the run had ended already.

    Args:
        usurper: who took over.
        ended: how what was disturbed ended.
        number: before which write.
        is_over: nothing was left to be done but to give the lease back.
    """
    where = f"a takeover before write {number}"
    usurper.assert_nothing_written()
    fault = ended.fault if isinstance(ended, Outcome) else ended
    if isinstance(ended, Outcome) and ended.report is not None:
        # Published, or left open: what is noted afterwards does not change how it ended.
        assert usurper.runs[ended.report.run_id] == ended.report.status, where
    elif not is_over:
        assert isinstance(fault, LeaseLostError), f"{where}: {fault!r}"
        assert fault.exit_code == ExitCode.STOPPED
