"""One fault at the n-th call of a run: readers see no part of it, the next run heals."""

from pathlib import Path

import pytest

from tests.support.simulation.materials import materials
from tests.support.simulation.nth_call import (
    FLAVOURS,
    Point,
    all_points,
    on_sqlite,
    sample,
    try_point,
)
from tests.support.simulation.nth_call_postgres import AFTER, on_postgres
from tests.support.simulation.process import COMMIT, DATABASE

pytestmark = pytest.mark.promise("3")

FEW, MANY = 4, 240
"""Of some 2,800; `make simulate SEEDS=0` tries them all."""


def test_the_run_makes_every_kind_of_call():
    """There is something to fail of each kind."""
    counts = on_sqlite().undisturbed.counts
    assert [kind for kind in FLAVOURS if not counts[kind]] == []


def test_a_few_faults_leave_the_store_right():
    """Transient or persistent: the views keep to the last publication, and the next run heals."""
    for point in sample(list(all_points()), FEW):
        try_point(point)


@pytest.mark.nightly
@pytest.mark.parametrize("part", range(4))
def test_one_fault_anywhere_leaves_the_store_right(part):
    """So it is wherever it strikes."""
    for point in sample(list(all_points()), MANY)[part::4]:
        try_point(point)


@pytest.mark.parametrize(
    ("flavour", "most"),
    [
        ("done-lost", 2),
        pytest.param("done-lost", 100, marks=pytest.mark.nightly),
        pytest.param("done-io", 100, marks=pytest.mark.nightly),
    ],
)
def test_a_commit_that_is_not_heard_of_is_not_done_twice(flavour, most):
    """The last commits of a run, the publication among them: done, and reported as failed."""
    count = on_sqlite().undisturbed.counts[COMMIT]
    for number in range(count, max(0, count - most), -1):
        try_point(Point(kind=COMMIT, number=number, flavour=flavour))


def test_a_publication_on_postgresql_that_is_not_heard_of(
    postgres_url: str, migrated_postgres: str, tmp_path: Path
):
    """The server commits, and the connection is gone before it has said so.

    Other calls that fail there: ``tests/simulation/stateful``.
    """
    materials()  # made in a loop of its own
    prepared = on_postgres(postgres_url, migrated_postgres, tmp_path)
    calls = prepared.undisturbed.calls
    published = next(
        number for number, call in enumerate(calls) if call.startswith("UPDATE run SET status")
    )
    commit = calls.index("COMMIT;", published) + 1
    outcome = try_point(Point(kind=DATABASE, number=commit, flavour=AFTER), prepared)
    assert (outcome.code, outcome.process.injected.total()) == (0, 1)
