"""kill -9 at random moments; ``tests/support/crash/many.py`` does it for hours."""

from random import Random

import pytest

from tests.support.crash.ground import TOO_LATE, WRITTEN, Ground, die
from tests.support.program import wait_for

pytestmark = pytest.mark.promise("3")

DEATHS = 2
SEED = 20_261_124


def test_killed_at_random_moments(ground: Ground):
    """After kill -9 readers see one complete snapshot, and the next run ends like the twin's."""
    random = Random(SEED)
    struck: list[str] = []
    while len(struck) < DEATHS:
        struck += [place for place in die(ground, random) if place != TOO_LATE]
    assert len(struck) >= DEATHS


@pytest.mark.promise("4")
def test_killed_again_and_again(ground: Ground):
    """A run that is killed each time it has done a little still comes to its end, and moves on."""
    worker = ground.worker()
    done = [0]
    for _ in range(3):
        running = ground.start(worker)
        wait_for(lambda: worker.store.one(WRITTEN) > done[-1], "a batch")
        running.kill()
        ground.databases.settle(worker.database_url)
        done.append(worker.store.one(WRITTEN))
    assert done == sorted(set(done))
    ended = ground.assert_recovers(worker)
    assert ended.run["continued"]
    assert ended.took_s < 40  # the lease of a dead process is for longer
