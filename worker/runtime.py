"""The real clock, sleep, randomness and ids: the one module where the worker touches them."""

import time
from datetime import UTC, datetime
from random import SystemRandom
from secrets import token_hex

import anyio

from worker.ports import Runtime


def real_runtime() -> Runtime:
    """The runtime of a real process: UTC wall clock, system randomness, ids of 128 bits."""
    return Runtime(
        now=lambda: datetime.now(UTC),
        monotonic=time.monotonic,
        sleep=anyio.sleep,
        uniform=SystemRandom().random,
        new_id=lambda: token_hex(16),
    )
