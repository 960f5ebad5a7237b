"""kill -9 at random moments. ``python -m tests.crash.many --times 300`` does it for hours."""

from functools import partial
from random import Random

from tests.acceptance.program import wait_for
from tests.acceptance.store import Store
from tests.crash.ground import TOO_LATE, Ground, die

DEATHS = 2
SEED = 20_261_124


def test_killed_at_random_moments(ground: Ground):
    """After each kill -9 readers see one snapshot whole, and the next run ends like the twin's."""
    random = Random(SEED)
    struck: list[str] = []
    while len(struck) < DEATHS:
        struck += [place for place in die(ground, random) if place != TOO_LATE]
    assert len(struck) >= DEATHS


def test_killed_again_and_again(ground: Ground):
    """A run that is killed each time it has done a little still comes to its end, and moves on."""
    worker = ground.worker()
    done: list[int] = []
    for _ in range(3):
        running = ground.start(worker)
        floor = done[-1] if done else 0
        wait_for(partial(_is_beyond, worker.store, floor), "a batch")
        running.kill()
        ground.databases.settle(worker.database_url)
        done.append(_written(worker.store))
    assert done == sorted(set(done))
    ended = ground.assert_recovers(worker)
    assert ended.run["continued"]


def _written(store: Store) -> int:
    """Person-areas that the second run has written so far."""
    found: int = store.one("SELECT count(*) FROM person_area WHERE run_id = 2")
    return found


def _is_beyond(store: Store, floor: int) -> bool:
    return _written(store) > floor
