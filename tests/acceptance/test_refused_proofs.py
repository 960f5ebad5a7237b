"""A PTS that answers every fault of a DPoP proof as NHN's sample API does, through the program."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.program import Installation, sandbox
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
        person(standin, number, safeties=1)
    return standin.install(tmp_path, sqlite_url)


def refusing(standin: Standin, is_refused: Callable[[int], bool]) -> list[float]:
    """Refuse the searches whose number, from 1, is chosen; the times of those refused."""
    refused_s: list[float] = []

    def answer(ask: Ask) -> Reply:
        if not is_refused(len(standin.asked)):
            return http(ask.records)
        refused_s.append(time.monotonic())
        return REFUSAL

    standin.everybody = answer
    return refused_s


@pytest.mark.parametrize("accepted_before", [0, 60])
def test_a_burst_of_refused_proofs(
    worker: Installation, standin: Standin, accepted_before: int
) -> None:
    """31 refusals at once, at the start or in mid-run, cost one token at most and no person."""
    burst = range(accepted_before + 1, accepted_before + 32)
    refused_s = refusing(standin, burst.__contains__)
    ended = worker.sync()
    assert (ended.code, ended.run["status"]) == (0, "published"), ended.out
    assert len(worker.store.ids()) == PERSONS
    assert (len(refused_s), standin.violations) == (31, [])
    assert len(standin.tokens) <= 2


@pytest.mark.parametrize("concurrency", [1, 16])
def test_a_moment_of_refused_proofs(
    worker: Installation, standin: Standin, concurrency: int
) -> None:
    """A PTS that refuses everybody for a second, as after a restart, fails nobody."""
    until_s: list[float] = []

    def is_refused(_number: int) -> bool:
        until_s[:] = until_s or [time.monotonic() + 1.0]
        return time.monotonic() < until_s[0]

    refused_s = refusing(standin, is_refused)
    worker.configure(sync={"concurrency": concurrency})
    ended = worker.sync()
    assert (ended.code, ended.run["status"]) == (0, "published"), ended.out
    assert refused_s
    assert len(standin.tokens) <= 2


@pytest.mark.parametrize("concurrency", [1, 40])
def test_a_client_that_is_denied(worker: Installation, standin: Standin, concurrency: int) -> None:
    """Every call of everybody refused is 77, within 300 requests (200 if not busy), two tokens."""
    refusing(standin, lambda _: True)
    worker.configure(sync={"concurrency": concurrency})
    ended = worker.sync()
    assert ended.code == 77, ended.out
    assert len(standin.asked) <= 300
    assert len(standin.tokens) == 2
    assert set() == worker.store.ids()


@pytest.mark.parametrize(
    ("style", "skew_s", "concurrency", "replica_by"),
    [
        ("bearer", 600, 16, "request"),
        ("dpop", -600, 16, "request"),
        ("bearer", 30, 2, "request"),
        ("dpop", 600, 4, "connection"),
    ],
)
def test_one_replica_of_three_has_a_wrong_clock(
    tmp_path: Path, sqlite_url: str, *, style: str, skew_s: int, concurrency: int, replica_by: str
) -> None:
    """A third of all calls refused, by chance: everybody is read, and hardly a token is spent."""
    fault = {"action": "clock_skew", "skew_s": skew_s, "replicas": 3, "replica_by": replica_by}
    arguments = ("--persons", str(PERSONS), "--challenge-style", style)
    with sandbox(tmp_path / "sandbox", *arguments) as made:
        made.control(faults=[fault])
        worker = made.install(tmp_path / "worker", sqlite_url)
        worker.configure(sync={"concurrency": concurrency})
        ended = worker.sync()
        (struck,) = made.control()["faults_struck"]
        tokens = made.stats()["tokens_issued"]
    assert (ended.code, ended.run["status"]) == (0, "published"), ended.out
    assert struck > (PERSONS / 2 if replica_by == "request" else 1)
    assert tokens <= 2
