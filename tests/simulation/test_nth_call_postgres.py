"""One fault at the n-th call of a run, on a real PostgreSQL: some of every part of the run.

With ``NTH=all`` in the environment every call is tried; ``-s`` shows what came of it.
"""

import os
from collections import Counter
from functools import partial
from itertools import product

import anyio
import pytest

from tests.support.simulation.campaign import say
from tests.support.simulation.materials import materials
from tests.support.simulation.nth_call import Point
from tests.support.simulation.nth_call_postgres import AFTER, PHASES, Ground, prepare, try_point

IS_ALL = os.environ.get("NTH") == "all"


@pytest.fixture(scope="module")
def ground(postgres_url, migrated_postgres, tmp_path_factory) -> Ground:
    """The calls of a run, counted."""
    folder = tmp_path_factory.mktemp("ground")
    materials()  # made in a loop of its own
    return anyio.run(prepare, postgres_url, migrated_postgres, folder)


def test_every_call_is_counted(ground):
    """Connections, statements, and what begins and ends a transaction."""
    kinds = Counter(call.split()[0].rstrip(";") for call in ground.calls)
    assert kinds["connect"] > 0
    assert kinds["COMMIT"] > 5
    assert kinds["BEGIN"] == kinds["COMMIT"] + kinds["ROLLBACK"]
    assert kinds["SELECT"] + kinds["INSERT"] + kinds["UPDATE"] > 50


@pytest.mark.parametrize(
    ("how", "phase"),
    [
        *product(["once", "for good", "acknowledgement lost"], PHASES),
        *product(["acknowledgement lost for good"], PHASES if IS_ALL else ["publication"]),
    ],
)
def test_one_fault_anywhere_leaves_the_store_right(ground, tmp_path, phase, how):
    """The views keep to the last publication whatever the server does, and the next run heals."""
    points = ground.points(phase, how)
    assert points
    ends: Counter[int | None] = Counter()
    for point in points if IS_ALL else _sample(ground, points):
        outcome = anyio.run(partial(try_point, ground, point, tmp_path))
        ends[outcome.code] += 1
        assert outcome.process.injected.total() > 0, f"{point}: it met no fault"
        assert outcome.code in _codes(point, phase), f"{point}: {outcome.code}, {outcome.fault!r}"
    say(f"{phase}, {how}: {ends.total()} of {len(ground.calls)} calls, ended with {dict(ends)}")


def _codes(point: Point, phase: str) -> set[int]:
    """How a run may end; one that is published already has little to lose."""
    if not point.persistent:
        return {0}
    return {0, 69} if phase == "ending" else {69}


def _sample(ground, points):
    """One: in the middle, or the last commit, if its acknowledgement is lost."""
    if points[0].flavour == AFTER:
        return [point for point in points if ground.is_commit(point.number)][-1:]
    return [points[len(points) // 2]]
