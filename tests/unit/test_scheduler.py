"""Runs on a schedule, in a world where time passes only when everybody waits."""

import itertools
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from random import Random

import anyio
import pytest
from apscheduler.executors import base as executors
from apscheduler.schedulers import base as schedulers
from msgspec.structs import replace
from structlog.testing import capture_logs

from tests.support.clock import OSLO
from tests.support.simulation.loop import Clock, run_simulated
from worker.core.model import RunKind, RunStatus
from worker.core.run import RunReport
from worker.errors import ExitCode, LeaseHeldError, UnavailableError
from worker.scheduler import Schedule

EVENING = datetime(2026, 11, 27, 23, 17, 43, 518_204, tzinfo=OSLO)
MINUTE_S, HOUR_S = 60.0, 3600.0
TO_TWENTY_PAST_S = (EVENING.replace(minute=20, second=0, microsecond=0) - EVENING).total_seconds()
TO_HALF_PAST_TWO_S = (datetime(2026, 11, 28, 2, 30, tzinfo=OSLO) - EVENING).total_seconds()


class ItsDatetime:
    """What APScheduler asks for the time: the clock of the simulated world."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def now(self, zone: tzinfo) -> datetime:
        return self._clock.now().astimezone(zone)


@dataclass(kw_only=True)
class Nights:
    """A schedule in a world where time passes only when everybody waits.

    Attributes:
        begun: when runs have begun, in seconds since the schedule did.
        run_s: how long each takes.
        ends: what the next ones end with, in order; then 0.
        ended_s: when the schedule had ended.
    """

    clock: Clock
    stop: anyio.Event
    run_s: float
    begun: list[int] = field(default_factory=list)
    ends: list[Exception | ExitCode] = field(default_factory=list)
    ended_s: int = 0
    schedule: Schedule = field(init=False)

    async def run(self) -> RunReport:
        began_at = self.clock.now()
        self.begun.append(round(self.clock.elapsed_s))
        await anyio.sleep(self.run_s)
        end = self.ends.pop(0) if self.ends else ExitCode.OK
        if isinstance(end, Exception):
            raise end
        return RunReport(
            run_id=len(self.begun),
            kind=RunKind.SYNC,
            status=RunStatus.PUBLISHED if end == ExitCode.OK else RunStatus.INTERRUPTED,
            exit_code=end,
            started_at=began_at,
            finished_at=self.clock.now(),
            reasons=("why",),
        )


def nights(
    monkeypatch: pytest.MonkeyPatch,
    story: Callable[[Nights], Awaitable[None]],
    cron: str,
    *,
    begin: datetime = EVENING,
    now: bool = False,
    run_s: float = 60.0,
    uniform: float = 0.5,
) -> Nights:
    """What came of a schedule, which is stopped when the story is over."""
    clock = Clock(begin.astimezone(UTC))
    for module in (schedulers, executors):
        monkeypatch.setattr(module, "datetime", ItsDatetime(clock))

    async def play(_loop: object) -> Nights:
        made = Nights(clock=clock, stop=anyio.Event(), run_s=run_s)
        schedule = made.schedule = Schedule(
            made.run,
            cron=cron,
            timezone="Europe/Oslo",
            runtime=replace(clock.runtime(), uniform=lambda: uniform),
        )
        async with anyio.create_task_group() as tasks:

            async def run() -> None:
                with suppress(ExceptionGroup):
                    await schedule.run(made.stop, made.run if now else None)
                made.ended_s = round(clock.elapsed_s)

            tasks.start_soon(run)
            await anyio.sleep(0.5)
            await story(made)
            made.stop.set()
        return made

    found: Nights = run_simulated(play, clock, Random(1))
    return found


FIRST_S = {"30 2 * * *": TO_HALF_PAST_TWO_S, "*/10 * * * *": TO_TWENTY_PAST_S, "* * * * *": 16.5}
"""Seconds from ``EVENING`` to the first start."""


@pytest.mark.parametrize(
    ("cron", "late_s", "runs"),
    [
        ("30 2 * * *", 58 * MINUTE_S, 1),
        ("30 2 * * *", 73 * HOUR_S, 1),
        ("*/10 * * * *", 11 * HOUR_S + 3 * MINUTE_S, 1),
        ("* * * * *", 20 * 365 * 24 * HOUR_S, 5),
    ],
    ids=["an hour", "three nights", "many at once", "a clock that begins in the past"],
)
def test_a_start_that_was_missed(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    cron: str,
    late_s: float,
    runs: int,
) -> None:
    """A machine that slept makes up for it once, however long that was.

    Timers stand still while it sleeps (timer_create(2), CLOCK_MONOTONIC), the wall clock does not.
    """

    async def story(made: Nights) -> None:
        made.clock.leap_s += FIRST_S[cron] + late_s
        await anyio.sleep(5 * MINUTE_S)

    assert len(nights(monkeypatch, story, cron).begun) == runs
    assert [one.getMessage() for one in caplog.records if one.levelname == "WARNING"] == []


@pytest.mark.parametrize("runs_ahead", [False, True])
def test_a_clock_that_was_ahead(monkeypatch: pytest.MonkeyPatch, runs_ahead: bool) -> None:
    """Corrected, it costs no night, though a run was started while it was two days ahead."""
    ahead_s, begun_s = 48 * HOUR_S, 4 * HOUR_S if runs_ahead else HOUR_S

    async def story(made: Nights) -> None:
        await anyio.sleep(begun_s)
        made.clock.leap_s -= ahead_s
        await anyio.sleep(2 * MINUTE_S)
        assert made.schedule.next_at == expected
        await anyio.sleep(24 * HOUR_S)

    begin = EVENING + timedelta(seconds=ahead_s)
    tonight = EVENING + timedelta(seconds=TO_HALF_PAST_TWO_S)
    expected = (tonight + timedelta(days=runs_ahead)).astimezone(UTC)
    begun = nights(monkeypatch, story, "30 2 * * *", begin=begin).begun
    nightly = [TO_HALF_PAST_TWO_S, TO_HALF_PAST_TWO_S + 24 * HOUR_S]
    assert (nightly if runs_ahead else nightly[:1]) == pytest.approx(begun, abs=1)


AWAY = UnavailableError("PTS is away")


@pytest.mark.parametrize(("uniform", "retry_s"), [(0.0, 810), (0.5, 900), (1.0, 990)])
def test_69_does_not_wait_until_tomorrow(
    monkeypatch: pytest.MonkeyPatch, uniform: float, retry_s: int
) -> None:
    """PTS is away for a part of the night: waits, recovery, and then the next night.

    Hospitals retry at different times. A backfill that somebody started is waited for in the same
    way, and the log says so.
    """
    held = LeaseHeldError("another run holds the lease")

    async def story(made: Nights) -> None:
        made.ends = [AWAY, ExitCode.UNAVAILABLE, ExitCode.STOPPED, held, AWAY, AWAY, ExitCode.GAPS]
        await anyio.sleep(TO_HALF_PAST_TWO_S + 26 * HOUR_S)

    with capture_logs() as logs:
        begun = nights(monkeypatch, story, "30 2 * * *", uniform=uniform).begun
    assert {b - a for a, b in itertools.pairwise(begun[:7])} == {retry_s + MINUTE_S}
    nightly = [round(TO_HALF_PAST_TWO_S + night * 24 * HOUR_S) for night in range(2)]
    assert [begun[0], *begun[7:]] == nightly
    assert [one for one in logs if one["log_level"] == "error"] == []
    retries = [one for one in logs if one["event"] == "schedule.retrying"]
    assert (retries[3]["code"], retries[3]["reason"]) == (4, held.message)


@pytest.mark.parametrize("code", sorted(set(ExitCode) - {0, 3, 4, 69, 75}))
def test_what_waiting_cannot_mend_is_reported(
    monkeypatch: pytest.MonkeyPatch, code: ExitCode
) -> None:
    """One error with its reason, no retry, and the next night's start."""

    async def story(made: Nights) -> None:
        made.ends = [code]
        await anyio.sleep(TO_HALF_PAST_TWO_S + 26 * HOUR_S)

    with capture_logs() as logs:
        assert len(nights(monkeypatch, story, "30 2 * * *").begun) == 2
    (error,) = [one for one in logs if one["log_level"] == "error"]
    assert (error["event"], error["code"]) == ("schedule.run_failed", code)
    assert error["reason"] == "why"


def test_a_bug_ends_the_schedule(monkeypatch: pytest.MonkeyPatch) -> None:
    """No start is left behind, and nothing that would look at the clock."""

    async def story(made: Nights) -> None:
        made.ends = [NotImplementedError()]
        await anyio.sleep(2 * MINUTE_S)
        assert made.schedule.next_at is None

    assert nights(monkeypatch, story, "30 2 * * *", now=True).ended_s == MINUTE_S


def test_what_becomes_due_during_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs never overlap; of all starts that fall into a run, one is made good after it."""

    async def story(made: Nights) -> None:
        made.ends = [AWAY]  # the next start comes before a retry would
        await anyio.sleep(TO_TWENTY_PAST_S + MINUTE_S)
        made.run_s = MINUTE_S
        await anyio.sleep(HOUR_S)

    begun = nights(monkeypatch, story, "*/10 * * * *", run_s=45 * MINUTE_S).begun
    after_s = [0, 45 * MINUTE_S, 50 * MINUTE_S, 60 * MINUTE_S]
    assert [TO_TWENTY_PAST_S + one for one in after_s] == pytest.approx(begun, abs=1)


@pytest.mark.parametrize(
    ("ends", "run_s"), [([], HOUR_S), ([AWAY], MINUTE_S)], ids=["running", "waiting to retry"]
)
def test_a_stop_waits_for_the_run_and_begins_no_other(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    ends: list[Exception | ExitCode],
    run_s: float,
) -> None:
    """Though others are due; a wait for a retry ends at once."""

    async def story(made: Nights) -> None:
        made.ends = ends
        await anyio.sleep(2 * MINUTE_S)

    found = nights(monkeypatch, story, "30 2 * * *", now=True, run_s=run_s)
    assert found.begun == [0]
    assert found.ended_s == pytest.approx(max(run_s, 2 * MINUTE_S), abs=1)
    assert [one.getMessage() for one in caplog.records if one.levelname == "ERROR"] == []
