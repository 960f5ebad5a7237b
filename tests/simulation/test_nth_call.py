"""One fault at the n-th call of a run, on SQLite: readers see no part of it, the next run heals."""

import pytest

from tests.support.simulation.nth_call import (
    FLAVOURS,
    Point,
    all_points,
    on_sqlite,
    sample,
    try_point,
)
from tests.support.simulation.process import COMMIT

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
