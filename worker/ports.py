"""Ports: interfaces of a run that tests can replace."""

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from datetime import UTC, datetime
from random import SystemRandom
from secrets import token_hex
from typing import Protocol

import anyio

from worker.core.model import RosterEntry, RosterLineError
from worker.core.value import Value


class Runtime(Value, frozen=True, kw_only=True):
    """Clock, sleep, randomness and ids, passed in so that tests can replace them.

    Attributes:
        now: the wall clock, an aware UTC datetime.
        monotonic: a monotonic clock, in seconds.
        sleep: waits a number of seconds. A checkpoint even for 0.
        uniform: a random float in [0, 1).
        new_id: a new unique id, e.g. for ``jti``.
    """

    now: Callable[[], datetime]
    monotonic: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]
    uniform: Callable[[], float]
    new_id: Callable[[], str]


def real_runtime() -> Runtime:
    """Return the production runtime: UTC wall clock, system randomness, 128-bit ids."""
    # No other module reads a clock or randomness, so a test's runtime controls both everywhere.
    return Runtime(
        now=lambda: datetime.now(UTC),
        monotonic=time.monotonic,
        sleep=anyio.sleep,
        uniform=SystemRandom().random,
        new_id=lambda: token_hex(16),
    )


class Roster(Protocol):
    """The persons to read. Streamed, never completely in memory.

    Attributes:
        unknown_columns: names of ignored columns, available after the roster was read.
    """

    unknown_columns: Sequence[str]

    def entries(self) -> AsyncGenerator[RosterEntry | RosterLineError, None]:
        """Each line once, in order. A line that cannot be read is a roster error.

        Raises:
            RosterError: the roster cannot be read at all.
        """
        ...
