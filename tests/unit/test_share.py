"""A shard's share of the ceiling, as its process keeps it."""

from dataclasses import dataclass, field

import anyio

from tests.support.clock import FakeRuntime
from worker.sync.rate_share import RateShare


@dataclass
class Pace:
    """The rates that the pace was given."""

    reported: list[tuple[str, float]] = field(default_factory=list)

    def set_rate(self, requests_per_second: float) -> None:
        self.reported.append(("rate", requests_per_second))

    def pause_for(self, seconds: float) -> None:
        self.reported.append(("pause", seconds))


def made() -> tuple[RateShare, Pace, FakeRuntime]:
    fake, pace = FakeRuntime(), Pace()
    return RateShare(pace, 72_000, fake.runtime), pace, fake


def test_a_smaller_share_counts_for_those_who_wait_too():
    """They were given times at the old pace, and must queue anew; a larger one needs no such."""
    share, pace, fake = made()
    until_s = fake.monotonic() + 50
    for per_hour in (36_000, 36_000, 18_000, 72_000):
        share.use(per_hour, until_s=until_s)
    assert pace.reported == [("rate", 10.0), ("rate", 5.0), ("pause", 0.2), ("rate", 20.0)]


async def test_nothing_is_asked_without_a_share():
    """Nor after the lease may have expired."""
    share, _, fake = made()
    assert not share.is_usable()
    share.use(36_000, until_s=fake.monotonic() + 50)
    assert share.is_usable()
    await share.wait()
    assert fake.waits_s == []
    fake.advance(50)
    assert not share.is_usable()
    share.use(0, until_s=fake.monotonic() + 50)
    assert not share.is_usable()


async def test_those_who_waited_go_one_by_one():
    """When the share is back, all that were held up do not go at one moment."""
    share, _, fake = made()
    gone_s = []

    async def ask() -> None:
        await share.wait()
        gone_s.append(fake.monotonic())

    async def come_back() -> None:
        await fake.sleep(3.0)
        share.use(36_000, until_s=fake.monotonic() + 50)

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(ask)
        tasks.start_soon(come_back)
    assert gone_s[0] >= 1_000.25 + 3.0
    assert len(set(gone_s)) == 3
