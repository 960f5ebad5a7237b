"""Progress as bar, log and systemd show it; on a virtual clock."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import anyio
import pytest
from structlog.testing import capture_logs

from tests.support.simulation.loop import Clock, run_simulated
from worker.cli.output import notify
from worker.cli.run_command import RunWatch
from worker.core.run import RunProgress
from worker.ports import Runtime


def simulated(story: Callable[[Clock, Runtime], Awaitable[None]]) -> None:
    clock = Clock(datetime(2026, 11, 26, 2, 30, tzinfo=UTC))

    async def run(_loop: object) -> None:
        await story(clock, clock.runtime())

    run_simulated(run, clock, Random(1))


def test_the_rate_is_that_of_the_last_minute() -> None:
    """Ten a second, then two, then none: what was before does not count."""

    async def story(clock: Clock, _runtime: Runtime) -> None:
        watch = RunWatch(lambda: clock.elapsed_s)

        async def after(seconds: int, per_s: int, progress: RunProgress) -> str:
            for _ in range(seconds):
                progress.persons_complete += per_s
                watch.describe()
                await anyio.sleep(1)
            return watch.describe()

        with watch.run(anyio.Event()) as progress:
            assert await after(300, 10, progress) == "3,000 persons, total unknown, 10.0/s"
            assert await after(70, 2, progress) == "3,140 persons, total unknown, 2.0/s"
            progress.persons_expected = progress.persons_done + 260
            words = await after(70, 2, progress)
            assert words.startswith("3,280 of about 3,400 persons, 2.0/s, 1m"), words
            assert await after(130, 0, progress) == "3,280 of about 3,400 persons, 0.0/s"

    simulated(story)


def test_a_total_that_was_exceeded_is_unknown() -> None:
    """A roster that grew since the last run has no total and no time left; a header counts."""

    async def story(clock: Clock, _runtime: Runtime) -> None:
        watch = RunWatch(lambda: clock.elapsed_s)
        with watch.run(anyio.Event()) as progress:
            progress.persons_expected = 200
            for _ in range(60):
                progress.persons_complete += 4
                watch.describe()
                await anyio.sleep(1)
            assert watch.describe() == "240 persons, total unknown, 4.0/s"
            progress.persons_expected = 239
            assert watch.describe().startswith("240 of about 239 persons, 4.0/s")

    simulated(story)


def test_a_resumed_run_does_not_count_old_work() -> None:
    """Persons whom an earlier process has read are done, and tell nothing of the rate."""

    async def story(clock: Clock, _runtime: Runtime) -> None:
        watch, stop = RunWatch(lambda: clock.elapsed_s), anyio.Event()
        assert watch.describe() == ""
        with watch.run(stop) as progress:
            progress.persons_expected = 1000
            progress.persons_skipped, progress.persons_complete = 600, 1
            watch.describe()
            await anyio.sleep(30)
            progress.persons_skipped, progress.persons_complete = 700, 59
            progress.persons_with_gaps = 2
            words = "761 of about 1,000 persons, 2.0/s, 2m left, 2 with gaps"
            assert watch.describe() == words
            progress.slowness = lambda: "status 429"
            assert watch.describe() == f"{words} (status 429)"
            stop.set()
            assert watch.describe().startswith(f"{words} (stopping: ")
        assert watch.describe() == ""

    simulated(story)


def test_a_heartbeat_every_minute_of_a_run() -> None:
    """And none while no run is on."""

    async def story(clock: Clock, runtime: Runtime) -> None:
        watch = RunWatch(lambda: clock.elapsed_s)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch.report, runtime)
            await anyio.sleep(600)
            with watch.run(anyio.Event()) as progress:
                for minute in range(3):
                    progress.persons_complete = 60 * minute
                    await anyio.sleep(60)
            await anyio.sleep(600)
            tasks.cancel_scope.cancel()

    with capture_logs() as logs:
        simulated(story)
    beats = [one["progress"] for one in logs if one["event"] == "run.heartbeat"]
    assert [words.split()[0] for words in beats] == ["0", "60", "120"]


def test_nobody_who_listens_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outside of systemd, and where its socket has gone."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", f"{tmp_path}/gone")
    notify("READY=1")
