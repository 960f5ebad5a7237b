"""The real runtime."""

import time
from datetime import UTC, datetime, timedelta

from worker.runtime import real_runtime


async def test_real_runtime_is_the_real_world():
    """UTC wall clock, a clock that goes on, randomness in [0, 1), distinct ids, a real sleep."""
    runtime = real_runtime()
    before = time.monotonic()
    await runtime.sleep(0.01)
    assert runtime.monotonic() - before >= 0.01
    assert runtime.now().utcoffset() == timedelta(0)
    assert abs(runtime.now() - datetime.now(UTC)) < timedelta(seconds=5)
    drawn = {runtime.uniform() for _ in range(100)}
    assert len(drawn) > 90
    assert all(0 <= one < 1 for one in drawn)
    assert len({runtime.new_id() for _ in range(100)}) == 100
