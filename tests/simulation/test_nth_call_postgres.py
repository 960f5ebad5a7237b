"""One fault at the n-th call of a run, on a real PostgreSQL.

With ``NTH=all`` in the environment every call is tried; ``-s`` shows what came of it.
"""

import os
from collections import Counter

import pytest

from tests.support.simulation.campaign import say
from tests.support.simulation.materials import materials
from tests.support.simulation.nth_call import Point, Prepared, sample, try_point
from tests.support.simulation.nth_call_postgres import AFTER, on_postgres, points_of
from tests.support.simulation.process import DATABASE

pytestmark = pytest.mark.promise("3")

IS_ALL = os.environ.get("NTH") == "all"
MANY = 16


@pytest.fixture(scope="module")
def prepared(postgres_url, migrated_postgres, tmp_path_factory) -> Prepared:
    """The calls of a run, counted."""
    materials()  # made in a loop of its own
    return on_postgres(postgres_url, migrated_postgres, tmp_path_factory.mktemp("prepared"))


def try_it(prepared: Prepared, point: Point) -> int | None:
    """How the disturbed run ended; the next one has healed the store."""
    outcome = try_point(point, prepared)
    assert outcome.process.injected.total() > 0, f"{point}: no fault met, but {outcome.fault!r}"
    # One that is published already has little to lose.
    codes = {0, 69} if point.persistent else {0}
    assert outcome.code in codes, f"{point}: {outcome.code}, {outcome.fault!r}"
    return outcome.code


def test_a_publication_that_is_not_heard_of(prepared):
    """Every call is counted, and the last commits but one is the publication's."""
    calls = prepared.undisturbed.calls
    kinds = Counter(call.split()[0].rstrip(";") for call in calls)
    assert kinds["connect"] > 0
    assert kinds["COMMIT"] > 5
    assert kinds["BEGIN"] == kinds["COMMIT"] + kinds["ROLLBACK"]
    assert kinds["SELECT"] + kinds["INSERT"] + kinds["UPDATE"] > 50
    published = next(
        number for number, call in enumerate(calls) if call.startswith("UPDATE run SET status")
    )
    commits = [number for number, call in enumerate(calls, 1) if call.startswith("COMMIT")]
    commit = next(number for number in commits if number > published)
    assert try_it(prepared, Point(kind=DATABASE, number=commit, flavour=AFTER)) == 0


@pytest.mark.nightly
@pytest.mark.parametrize(
    "how", ["once", "for good", "acknowledgement lost", "acknowledgement lost for good"]
)
def test_one_fault_anywhere_leaves_the_store_right(prepared, how):
    """The views keep to the last publication whatever the server does, and the next run heals."""
    points = points_of(prepared, how)
    chosen = points if IS_ALL else sample(points, MANY)
    ends = Counter(try_it(prepared, point) for point in chosen)
    say(
        f"{how}: {ends.total()} of {len(prepared.undisturbed.calls)} calls, ended with {dict(ends)}"
    )
