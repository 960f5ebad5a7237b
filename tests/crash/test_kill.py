"""kill -9: readers see one complete snapshot, and the next run continues to the twin's result."""

import pytest

from tests.support.crash.ground import LOW_RATE, WRITTEN, Ground, settle
from tests.support.crash.servers import PUBLISHES, halted

pytestmark = pytest.mark.promise("3")

BY_NIGHT = ("run", "patient_safety_version", "change_feed")


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


@pytest.mark.parametrize(
    "table",
    [
        "person",
        "publication_figure",
        *(pytest.param(table, marks=pytest.mark.nightly) for table in BY_NIGHT),
    ],
)
def test_killed_while_it_publishes(on_postgres: Ground, table: str):
    """In the transaction of the publication, from its first table to its last: it is rolled back.

    How it is on SQLite: ``tests/simulation/test_nth_call.py``.
    """
    worker, when = on_postgres.worker(), PUBLISHES if table == "run" else "true"
    with halted(worker.database_url, table, when) as wait_for_publication:
        running = on_postgres.start(worker)
        wait_for_publication()
        running.kill()
    assert on_postgres.before == on_postgres.seen(worker)
    worker.store.end_lease()
    assert on_postgres.assert_recovers(worker).run["continued"]


@pytest.mark.nightly
def test_killed_while_it_deletes_drafts(on_postgres: Ground):
    """After the publication, which stands; the next run deletes them."""
    worker = on_postgres.worker()
    with halted(worker.database_url, "draft", event="DELETE") as wait_for_deletion:
        running = on_postgres.start(worker)
        wait_for_deletion()
        running.kill()
    assert on_postgres.after == on_postgres.seen(worker)
    assert worker.store.one(WRITTEN) > 0
    worker.store.end_lease()
    assert on_postgres.sync(worker).code == 0
    assert worker.store.one(WRITTEN) == 0
