"""A shard's share of the ceiling, as its process keeps it."""

import pytest

from tests.support.clock import FakeRuntime
from worker.pts.throttle import Throttle
from worker.sync.rate_share import RateShare

pytestmark = pytest.mark.promise("7")


async def test_nothing_is_asked_without_a_share():
    """Nor after the lease may have expired; the pace is the share's."""
    fake = FakeRuntime()
    throttle = Throttle(20.0, fake.runtime)
    share = RateShare(throttle, 72_000, fake.runtime)
    assert not share.is_usable()
    share.use(36_000, until_s=fake.monotonic() + 50)
    assert (share.is_usable(), throttle.rate) == (True, 10.0)
    await share.wait()
    assert fake.waits_s == []
    fake.advance(50)
    assert not share.is_usable()
    share.use(0, until_s=fake.monotonic() + 50)
    assert not share.is_usable()
