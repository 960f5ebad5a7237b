"""The real clock, sleep, randomness and ids: the one module where the worker touches them."""

import time
import uuid
from datetime import UTC, datetime
from random import SystemRandom

import anyio

from worker.ports import Runtime


def real_runtime() -> Runtime:
    """The runtime of a real process: UTC wall clock, system randomness, random UUIDs."""
    return Runtime(
        now=lambda: datetime.now(UTC),
        monotonic=time.monotonic,
        sleep=anyio.sleep,
        uniform=SystemRandom().random,
        new_id=lambda: str(uuid.uuid4()),
    )
