"""The production clock, sleep, randomness and ids. No other module uses them directly."""

import time
from datetime import UTC, datetime
from random import SystemRandom
from secrets import token_hex

import anyio

from worker.ports import Runtime


def real_runtime() -> Runtime:
    """The production runtime: UTC wall clock, system randomness, 128-bit ids."""
    return Runtime(
        now=lambda: datetime.now(UTC),
        monotonic=time.monotonic,
        sleep=anyio.sleep,
        uniform=SystemRandom().random,
        new_id=lambda: token_hex(16),
    )
