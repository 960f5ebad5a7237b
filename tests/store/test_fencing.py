"""No write of a run, of whatever kind, gets past another holder of the lease (promise 4).

Each kind of write transaction of each kind of run has its trial: just before it begins another
process takes the lease, under a higher token. Nothing may be written from then on, be it by that
transaction or by those that end the run. With ``NTH=all`` in the environment every single one. In
simulated worlds every commit is watched, too (``tests/support/simulation/process.py``).
"""

import os
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from msgspec import structs
from structlog.testing import capture_logs

from tests.support.fencing import FencedStage, Scenario, Trials, Usurper, Writes, nothing
from tests.support.published import Store
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
from worker.store.runs.lease_context import held_lease
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


async def sharded(stage: FencedStage) -> Outcome:
    """A run over the changed world, in one shard."""
    change(stage)
    path = stage.folder / "roster.csv"
    path.write_text("\n".join(["off_id,local_ref", *(line.text() for line in stage.roster), ""]))
    part = ShardAssignment(shard=Shard(index=0, count=1), run_key="night")
    request = RunRequest(roster=CsvRoster(path), part=part, accept_removals=True)
    report = await observed_run(app_of(stage), request, stop=anyio.Event())
    return Outcome(process=stage.processes[-1], code=int(report.exit_code), report=report)


ENDED = "UPDATE run_attempt SET ended_at"
PUBLISHED = "publication_no="
GIVEN_BACK = "UPDATE lease SET holder"

SCENARIOS: dict[str, Scenario] = {
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
    "a shard": Scenario(
        before=one_night,
        act=sharded,
        writes=("INSERT INTO run_attempt", "UPDATE lease SET share_per_hour", PUBLISHED, ENDED),
    ),
}
ALWAYS = ("sqlite", "a changed world")


@pytest.mark.parametrize(
    ("database_url", "name"),
    [
        pytest.param(kind, name, marks=[] if (kind, name) == ALWAYS else [pytest.mark.nightly])
        for kind in ("sqlite", "postgresql")
        for name in SCENARIOS
        if (kind, name) != ("sqlite", "a shard")  # only PostgreSQL has them
    ],
    indirect=["database_url"],
)
def test_no_write_gets_past_another_holder(database_url: str, tmp_path: Path, name: str):
    """Every kind of write of a run and of an erasure."""
    materials()  # made in a loop of its own
    anyio.run(partial(try_all, SCENARIOS[name], database_url, tmp_path))


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("piece", ["UPDATE person_area", "UPDATE run SET status"])
def test_a_lost_lease_is_reported_after_another_error(
    database_url: str, tmp_path: Path, piece: str
):
    """Asked to stop, it finds the lease lost with its last batch, or with the end that it notes."""
    materials()
    events: list[str] = []

    async def act(stage: FencedStage) -> Outcome:
        with capture_logs() as logs:
            ended = await interrupted(stage)
        events[:] = [one["event"] for one in logs]
        return ended

    async def lose() -> tuple[Any, Usurper]:
        scenario = Scenario(before=one_night, act=act, writes=())
        trials = Trials(scenario=scenario, url=database_url, folder=tmp_path)
        await trials.prepare()
        writes = (await trials.run()).writes
        number = next(n for n, write in enumerate(writes, start=1) if piece in write)
        usurper = Usurper(store=Store(database_url), number=number)
        return (await trials.run(usurper)).ended, usurper

    ended, usurper = anyio.run(lose)
    assert isinstance(ended.fault, LeaseLostError)
    assert ended.code == ExitCode.STOPPED
    assert "run.stopping" in events
    assert ("run.interrupted" in events) == (piece == "UPDATE run SET status")
    usurper.assert_nothing_written()


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
