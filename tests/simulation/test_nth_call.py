"""One fault at the n-th call of a run: readers see no part of it, the next run heals."""

import anyio
import pytest
from structlog.testing import capture_logs

from tests.support.simulation.nth_call import (
    FLAVOURS,
    Point,
    all_points,
    apart,
    assert_lease_lost,
    changed_world,
    crashes_of_the_publication,
    in_world,
    sample,
    try_point,
    undisturbed,
)
from tests.support.simulation.process import BEGIN_WRITE, COMMIT
from tests.support.simulation.stage import Outcome

pytestmark = pytest.mark.promise("3")

FEW, MANY = 4, 240
"""Of some 4,200; `make simulate SEEDS=0` tries them all."""
STOPPED_AT = 5
"""The write before which a run is asked to stop: it has written a batch."""


def test_the_run_makes_every_kind_of_call():
    """There is something to fail of each kind."""
    counts = undisturbed().counts
    assert [kind for kind in FLAVOURS if not counts[kind]] == []


def test_a_few_faults_leave_the_store_right():
    """Transient or persistent: the views keep to the last publication, and the next run heals."""
    for point in sample(list(all_points()), FEW):
        try_point(point)


@pytest.mark.promise("4")
def test_no_write_gets_past_another_holder():
    """Another process takes the lease before each write transaction: nothing more is written."""
    points = [point for point in all_points() if point.kind == BEGIN_WRITE]
    assert len(points) > 5
    for point in points:
        try_point(point)


@pytest.mark.promise("4")
def test_a_run_that_writes_seldom_keeps_its_lease():
    """At one request in 100 s nothing is written for longer than the lease: it is renewed."""
    with changed_world() as stage:
        left_s = list[float]()
        stage.limit(requests_per_second=0.01)
        stage.before_write = lambda _: left_s.append(stage.lease_ends_in_s())
        assert stage.play(accepts=True).code == 0
        held_s = left_s[1:]
        assert min(held_s) > stage.settings.lease.ttl_s / 2, held_s


@pytest.mark.parametrize("most", [FEW, pytest.param(1_000, marks=pytest.mark.nightly)])
def test_killed_while_it_publishes(most):
    """Before the COMMIT nothing is published, after it everything; drafts go with the next run."""
    points = crashes_of_the_publication()
    assert 30 < len(points) < 1_000
    for point in sample(points, most):
        try_point(point)


def stopped(taken_at: int) -> tuple[Outcome, list[str]]:
    """A run that is asked to stop, and loses its lease before this write; what it logged."""
    with changed_world() as stage:
        stop = anyio.Event()

        def before_write(number: int) -> None:
            if number == STOPPED_AT:
                stop.set()
            if number == taken_at:
                stage.take_lease()

        async def run() -> tuple[Outcome, list[str]]:
            with capture_logs() as logs:
                ended = await apart(stage, accepts=True, stop=stop)
            return ended, [entry["event"] for entry in logs]

        stage.before_write = before_write
        outcome, events = in_world(stage, run)
        if taken_at:
            assert_lease_lost(stage, outcome)
    return outcome, events


@pytest.mark.promise("4")
def test_a_lost_lease_is_reported_after_another_error():
    """A run that was asked to stop finds its lease lost: that is what it says, with 75."""
    outcome, _ = stopped(0)
    writes = outcome.process.counts[BEGIN_WRITE]
    assert (outcome.code, outcome.report is None, writes > STOPPED_AT + 1) == (75, False, True)
    found = [stopped(number) for number in range(STOPPED_AT, writes + 1)]
    # Of its last write, which gives the lease back, nobody hears.
    assert [one.report is None for one, _ in found] == [*[True] * (len(found) - 1), False]
    assert "run.stopping" in found[0][1]
    assert ["run.interrupted" in events for _, events in (found[0], found[-2])] == [False, True]


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
    """The last commits of a run, the publication among them: done, and reported as failed.

    How PostgreSQL does it: ``tests/crash/test_postgres.py``.
    """
    count = undisturbed().counts[COMMIT]
    for number in range(count, max(0, count - most), -1):
        try_point(Point(kind=COMMIT, number=number, flavour=flavour))
