"""kill -9: readers see one complete snapshot, and the next run continues to the twin's result."""

import pytest

from tests.support.crash.ground import LOW_RATE, Ground, settle
from tests.support.crash.servers import PUBLISHES, halted

pytestmark = pytest.mark.promise("3")


@pytest.mark.promise("4")
@pytest.mark.parametrize("deaths", [1, pytest.param(3, marks=pytest.mark.nightly)])
def test_killed_again_and_again(ground: Ground, deaths: int):
    """Killed after a batch: the next takes over from the dead, and comes further.

    By night, it waits until the leases of the dead expire.
    """
    worker = ground.worker()
    for _ in range(deaths):
        ground.begun(worker, rate=LOW_RATE).kill()
        settle(worker.database_url)
        if deaths == 1:
            worker.store.end_lease()
    assert ground.before == ground.seen(worker)
    assert ground.assert_recovers(worker).run["continued"]


def test_killed_while_it_publishes(on_postgres: Ground):
    """Within the transaction of the publication: it is rolled back."""
    worker = on_postgres.worker()
    with halted(worker.database_url, "run", PUBLISHES) as wait_for_publication:
        running = on_postgres.start(worker)
        wait_for_publication()
        running.kill()
    assert on_postgres.before == on_postgres.seen(worker)
    worker.store.end_lease()
    assert on_postgres.assert_recovers(worker).run["continued"]
