"""A PTS that answers every fault of a DPoP proof as NHN's sample API does, through the program."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.program import Installation
from tests.support.raw_server import Reply, http
from tests.support.standin import Ask, Standin, person

pytestmark = pytest.mark.promise("6")

PERSONS = 120
REFUSAL = http(
    status="401 Unauthorized", headers=['WWW-Authenticate: Bearer error="invalid_token"']
)


@pytest.fixture
def worker(standin: Standin, tmp_path: Path, sqlite_url: str) -> Installation:
    """A worker with 120 persons and no limit on its pace that matters."""
    for number in range(PERSONS):
        # A first publication of so many needs a record in each area.
        person(standin, number, safeties=1, privacies=1)
    return standin.install(tmp_path, sqlite_url)


def refuse(standin: Standin, is_refused: Callable[[int], bool]) -> None:
    """Refuse the searches whose number, from 1, is chosen."""

    def answer(ask: Ask) -> Reply:
        return REFUSAL if is_refused(len(standin.asked)) else http(ask.records)

    standin.everybody = answer


@pytest.mark.parametrize("accepted_before", [0, 60])
def test_a_burst_of_refused_proofs(
    worker: Installation, standin: Standin, accepted_before: int
) -> None:
    """31 refusals at once, at the start or in mid-run, cost one token at most and no person."""
    burst = range(accepted_before + 1, accepted_before + 32)
    refuse(standin, burst.__contains__)
    ended = worker.sync()
    assert (ended.code, ended.run["status"]) == (0, "published"), ended.out
    assert len(worker.store.ids()) == PERSONS
    assert standin.violations == []
    assert len(standin.tokens) <= 2
