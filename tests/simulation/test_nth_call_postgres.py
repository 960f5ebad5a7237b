"""One fault at the n-th call of a run, on a real PostgreSQL.

With ``NTH=all`` in the environment every call is tried; ``-s`` shows what came of it.
"""

import os
from collections import Counter
from functools import partial

import anyio
import pytest

from tests.support.simulation.campaign import say
from tests.support.simulation.materials import materials
from tests.support.simulation.nth_call import Point, sample
from tests.support.simulation.nth_call_postgres import PreparedServer, prepare, try_point

pytestmark = pytest.mark.promise("3")

IS_ALL = os.environ.get("NTH") == "all"
MANY = 16


@pytest.fixture(scope="module")
def prepared(postgres_url, migrated_postgres, tmp_path_factory) -> PreparedServer:
    """The calls of a run, counted."""
    folder = tmp_path_factory.mktemp("prepared")
    materials()  # made in a loop of its own
    return anyio.run(prepare, postgres_url, migrated_postgres, folder)


def try_it(prepared: PreparedServer, point: Point, folder) -> int | None:
    """How the disturbed run ended; the next one has healed the store."""
    outcome = anyio.run(partial(try_point, prepared, point, folder))
    assert outcome.process.injected.total() > 0, f"{point}: no fault met, but {outcome.fault!r}"
    # One that is published already has little to lose.
    codes = {0, 69} if point.persistent else {0}
    assert outcome.code in codes, f"{point}: {outcome.code}, {outcome.fault!r}"
    return outcome.code


def test_a_publication_that_is_not_heard_of(prepared, tmp_path):
    """Every call is counted, and the last commits but one is the publication's."""
    kinds = Counter(call.split()[0].rstrip(";") for call in prepared.calls)
    assert kinds["connect"] > 0
    assert kinds["COMMIT"] > 5
    assert kinds["BEGIN"] == kinds["COMMIT"] + kinds["ROLLBACK"]
    assert kinds["SELECT"] + kinds["INSERT"] + kinds["UPDATE"] > 50
    published = prepared.first("UPDATE run_attempt SET requests")
    points = prepared.points("acknowledgement lost")
    commit = next(p for p in points if p.number > published and prepared.is_commit(p.number))
    assert try_it(prepared, commit, tmp_path) == 0


@pytest.mark.nightly
@pytest.mark.parametrize(
    "how", ["once", "for good", "acknowledgement lost", "acknowledgement lost for good"]
)
def test_one_fault_anywhere_leaves_the_store_right(prepared, tmp_path, how):
    """The views keep to the last publication whatever the server does, and the next run heals."""
    points = prepared.points(how)
    chosen = points if IS_ALL else sample(points, MANY)
    ends = Counter(try_it(prepared, point, tmp_path) for point in chosen)
    say(f"{how}: {ends.total()} of {len(prepared.calls)} calls, ended with {dict(ends)}")
