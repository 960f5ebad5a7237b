"""One fault at the n-th call of a run, on SQLite: readers see no part of it, the next run heals."""

import pytest

from tests.support.simulation.nth_call import (
    FLAVOURS,
    Point,
    all_points,
    calls,
    commits,
    sample,
    try_point,
)
from tests.support.simulation.process import COMMIT, WRITE

SAMPLE = 60
"""Of some 2,900; `make simulate SEEDS=0` tries them all."""


def test_the_run_makes_every_kind_of_call():
    """There is something to fail of each kind."""
    assert all(calls()[kind] > 0 for kind in FLAVOURS)


@pytest.mark.parametrize("part", range(4))
def test_one_fault_anywhere_leaves_the_store_right(part):
    """Transient or persistent: the views keep to the last publication, and the next run heals."""
    points = sample(list(all_points()), SAMPLE)
    for point in points[part::4]:
        try_point(point)


def test_a_file_that_cannot_be_written():
    """Each step of it fails: the run ends as it would, and the old numbers stand."""
    points = [point for point in all_points() if point.kind == WRITE]
    assert len(points) >= 6 * 3 * 2
    assert len({point.number for point in points[::5]}) == len({point.number for point in points})
    for point in points[::5]:
        try_point(point)


@pytest.mark.parametrize(("flavour", "step"), [("done-lost", 1), ("done-io", 4)])
def test_a_commit_that_is_not_heard_of_is_not_done_twice(flavour, step):
    """Commits of a run, the publication among them: done, and reported as failed."""
    for number in range(commits(), 0, -step):
        try_point(Point(kind=COMMIT, number=number, flavour=flavour))
