"""Progress as log, status line and systemd show it; on a virtual clock."""

import socket
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import anyio
import pytest
from structlog.testing import capture_logs

from tests.support.simulation.loop import Clock, run_simulated
from worker.cli.notify import Notifier
from worker.cli.run_watch import RunWatch, keep_logging, keep_notified
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
        watch, done = RunWatch(lambda: clock.elapsed_s), 0
        watch.begin_run()

        async def after(seconds: int, per_s: int, total: int | None = None) -> tuple[Any, Any]:
            nonlocal done
            watch.total = total
            for _ in range(seconds):
                done += per_s
                watch.changed(RunProgress(persons_complete=done))
                watch.figures()
                await anyio.sleep(1)
            figures = watch.figures()
            assert figures is not None
            return figures["rate_per_s"], figures["eta_s"]

        assert await after(300, 10) == (pytest.approx(10, rel=0.02), None)
        assert await after(70, 2) == (pytest.approx(2, rel=0.02), None)
        rate, left_s = await after(70, 2, total=done + 260)
        assert (rate, left_s) == (pytest.approx(2, rel=0.02), pytest.approx(60, rel=0.02))
        assert await after(130, 0, total=done + 120) == (0, None)

    simulated(story)


def test_a_resumed_run_does_not_count_old_work() -> None:
    """Persons whom an earlier process has read are done, and tell nothing of the rate."""

    async def story(clock: Clock, _runtime: Runtime) -> None:
        watch = RunWatch(lambda: clock.elapsed_s)
        assert watch.figures() is None
        assert watch.words == ""
        watch.total = 1000
        watch.begin_run()
        watch.changed(RunProgress(persons_skipped=600, persons_complete=1))
        watch.figures()
        await anyio.sleep(30)
        watch.changed(RunProgress(persons_skipped=700, persons_complete=59, persons_with_gaps=2))
        assert watch.figures() == {
            "persons_done": 761,
            "persons_total": 1000,
            "persons_with_gaps": 2,
            "rate_per_s": 2.0,
            "eta_s": 120,
            "slowness": "",
        }
        watch.describe()
        assert watch.words == "761 of 1,000 persons, 2.0/s, 2m left, 2 with gaps"
        await anyio.sleep(1)
        watch.changed(RunProgress(persons_complete=5, slowness=lambda: "status 429"))
        assert watch.note == "status 429"
        watch.end()
        assert watch.figures() is None

    simulated(story)


def test_a_heartbeat_every_minute_of_a_run() -> None:
    """And none while no run is on."""

    async def story(clock: Clock, runtime: Runtime) -> None:
        watch = RunWatch(lambda: clock.elapsed_s)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(keep_logging, watch, runtime)
            await anyio.sleep(600)
            watch.begin_run()
            for minute in range(3):
                watch.changed(RunProgress(persons_complete=60 * minute))
                await anyio.sleep(60)
            watch.end()
            await anyio.sleep(600)
            tasks.cancel_scope.cancel()

    with capture_logs() as logs:
        simulated(story)
    beats = [one for one in logs if one["event"] == "run.heartbeat"]
    assert [one["persons_done"] for one in beats] == [0, 60, 120]
    assert {one["log_level"] for one in beats} == {"info"}
    assert beats[1]["eta_s"] is None  # nobody knows the total


class Manager:
    """The socket that systemd would listen on."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.setblocking(False)

    def received(self) -> list[str]:
        found: list[str] = []
        while True:
            try:
                found += self.socket.recv(4096).decode().split("\n")
            except BlockingIOError:
                return found


def test_a_run_that_is_stuck_is_not_alive(tmp_path: Path) -> None:
    """The loop turns, but without progress of the run systemd hears nothing; progress helps."""
    manager = Manager(f"\0{tmp_path}/notify")  # abstract, as in some containers
    environ = {"NOTIFY_SOCKET": f"@{tmp_path}/notify", "WATCHDOG_USEC": "120000000"}

    async def story(clock: Clock, runtime: Runtime) -> None:
        watch = RunWatch(lambda: clock.elapsed_s, stalled_s_max=3600)
        watch.begin_run()

        async def heard(minutes: int) -> bool:
            manager.received()
            lines = []
            for _ in range(2 * minutes):  # the queue of a socket is short
                await anyio.sleep(30)
                lines += manager.received()
            return "WATCHDOG=1" in lines

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(keep_notified, Notifier(environ), watch, runtime, lambda: "idle")
            for _ in range(11):
                assert await heard(5)
            await heard(6)
            assert not await heard(5)
            watch.changed(RunProgress())
            assert await heard(5)
            await anyio.sleep(3600)
            assert not await heard(5)
            watch.end()
            assert await heard(5)
            tasks.cancel_scope.cancel()

    with manager.socket, capture_logs() as logs:
        simulated(story)
    assert "run.stuck" in {one["event"] for one in logs}


@pytest.mark.parametrize(
    ("environ", "expected_s"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "120000000"}, 120.0),
        ({"WATCHDOG_USEC": "120000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "-1"}, None),
    ],
)
def test_how_often_systemd_wants_to_hear(environ: dict[str, Any], expected_s: float | None) -> None:
    """sd_watchdog_enabled(3): only the process that is named is meant."""
    assert Notifier(environ).watchdog_s == expected_s


def test_nobody_who_listens_is_no_error(tmp_path: Path) -> None:
    """Outside of systemd, and where its socket has gone."""
    Notifier({}).send("READY=1")
    Notifier({"NOTIFY_SOCKET": f"{tmp_path}/gone"}).send("READY=1")
