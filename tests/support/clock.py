"""Fakes that stand in for the world in tests; no mock library."""

import itertools
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import anyio.lowlevel

from worker.ports import Runtime

START = datetime(2026, 3, 28, 22, 17, 43, 518_204, tzinfo=UTC)
"""A non-round instant, the evening before the clocks change in Norway."""

OSLO = ZoneInfo("Europe/Oslo")
NIGHT_OF_25_H = datetime(2026, 10, 24, 23, 59, tzinfo=OSLO)
NIGHT_OF_23_H = datetime(2026, 3, 28, 23, 59, tzinfo=OSLO)


class FakeRuntime:
    """A world in which time passes only when someone sleeps or the test says so.

    ``fake.runtime`` is handed to the part under test. ``sleep`` records the wait, advances both
    clocks and makes a checkpoint, so that cancellation still works. ``uniform`` gives the values of
    ``uniforms`` in a circle; ``new_id`` gives ``id-1``, ``id-2``, …
    """

    def __init__(self, *, start: datetime = START, uniforms: tuple[float, ...] = (0.5,)) -> None:
        self._now = start
        self._monotonic_s = 1_000.25
        self._ids = itertools.count(1)
        self._uniforms = itertools.cycle(uniforms)
        self.waits_s: list[float] = []
        self.runtime = Runtime(
            now=self.now,
            monotonic=self.monotonic,
            sleep=self.sleep,
            uniform=self.uniform,
            new_id=self.new_id,
        )

    def now(self) -> datetime:
        """The fake wall clock, aware UTC."""
        return self._now

    def monotonic(self) -> float:
        """Fake seconds that never go back."""
        return self._monotonic_s

    async def sleep(self, wait_s: float) -> None:
        """Record the wait, advance the clocks by it, and let others run."""
        self.waits_s.append(wait_s)
        self.advance(wait_s)
        await anyio.lowlevel.checkpoint()

    def uniform(self) -> float:
        """The next of the given values."""
        return next(self._uniforms)

    def new_id(self) -> str:
        """A new id: ``id-1``, then ``id-2``."""
        return f"id-{next(self._ids)}"

    def advance(self, seconds: float) -> None:
        """Let that much time pass on both clocks."""
        self._now += timedelta(seconds=max(seconds, 0.0))
        self._monotonic_s += max(seconds, 0.0)

    def set_wall_clock(self, now: datetime) -> None:
        """Move the wall clock alone, as a correction of the system time does."""
        self._now = now
