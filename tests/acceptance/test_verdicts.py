"""Verdicts about PTS need evidence: a few persons who cannot be read end no run, an outage does."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.conftest import MakeDatabase
from tests.acceptance.program import Ended, Installation, Store
from tests.acceptance.standin import Answerer, Ask, Reply, Standin, http, person, ref_of
from tests.acceptance.standin import standin as serve

RATE = 300
KINDS: dict[str, Answerer] = {
    "500": lambda _: http(status="500 Internal Server Error"),
    "503": lambda _: http(status="503 Service Unavailable"),
    "reset": lambda _: Reply(data=b"", then="reset"),
    "cut": lambda _: http(b"[", length=2, then="close"),
    "401": lambda _: http(
        status="401 Unauthorized", headers=['WWW-Authenticate: Bearer error="invalid_token"']
    ),
    "403": lambda _: http({"title": "no"}, status="403 Forbidden"),
    "shape": lambda _: http({"title": "maintenance"}),
}
CODES = {"500": 69, "503": 69, "reset": 69, "cut": 69, "401": 77, "403": 77, "shape": 65}
PLACES: dict[str, Callable[[int, int], range]] = {
    "head": lambda _, failing: range(failing),
    "tail": lambda persons, failing: range(persons - failing, persons),
    "spread": lambda persons, failing: range(persons // failing - 1, persons, persons // failing),
}


@dataclass(frozen=True, kw_only=True)
class Night:
    """A run in which certain persons fail, and what it left."""

    ended: Ended
    store: Store
    persons: list[str]
    failing: list[str]

    def check(self) -> None:
        """Everybody else is published, in less than a minute."""
        said = f"{self.ended.out}\n{self.ended.err[-3000:]}"
        assert (3, "published") == (self.ended.code, self.ended.run["status"]), said
        assert self.ended.took_s < 60, said
        totals = self.ended.run["totals"]
        assert len(self.failing) == totals["persons_stale"]
        assert 2 * len(self.failing) == totals["areas_failed"]
        published = {ref_of(off_id) for off_id in set(self.persons) - set(self.failing)}
        assert published == {ref for ref, _ in self.store.ids()}


def install(made: Standin, folder: Path, url: str, persons: int, **sync: Any) -> Installation:
    """A worker with so many persons on its roster, each with one restriction."""
    for number in range(persons):
        person(made, number, safeties=1)
    assert persons == len(made.people)
    return made.install(folder, url, requests_per_second=RATE, **sync)


def night(
    folder: Path, url: str, kind: str, place: str, *, persons: int, failing: int, **sync: Any
) -> Night:
    with serve() as made:
        worker = install(made, folder, url, persons, **sync)
        everyone = list(made.people)
        struck = [everyone[number] for number in PLACES[place](persons, failing)]
        assert failing == len(struck)
        made.script = {(off_id, ""): KINDS[kind] for off_id in struck}
        ended = worker.sync()
        assert [] == made.violations
        return Night(ended=ended, store=worker.store, persons=everyone, failing=struck)


@pytest.mark.parametrize(
    ("kind", "place"), [("503", "tail"), ("reset", "spread"), ("403", "head"), ("500", "tail")]
)
def test_eight_of_six_hundred(tmp_path: Path, sqlite_url: str, kind: str, place: str) -> None:
    """Eight persons who fail for ever cost their own areas, with the retries that are the default.

    So it is wherever they stand on the roster.
    """
    found = night(tmp_path, sqlite_url, kind, place, persons=600, failing=8, retry_attempts=5)
    found.check()


def test_five_of_six_hundred(tmp_path: Path, sqlite_url: str) -> None:
    """Nor do five."""
    night(tmp_path, sqlite_url, "500", "tail", persons=600, failing=5, retry_attempts=5).check()


@pytest.mark.parametrize("kind", ["500", "403"])
def test_few_readers(tmp_path: Path, sqlite_url: str, kind: str) -> None:
    """Eight at the head of the roster are not all that a run with two readers asks first."""
    night(tmp_path, sqlite_url, kind, "head", persons=100, failing=8, concurrency=2).check()


@pytest.fixture(scope="module")
def matrix(make_sqlite: MakeDatabase, tmp_path_factory: pytest.TempPathFactory) -> dict[Any, Night]:
    """Every kind at every place: eight of a hundred; several at the same time."""
    cases = [(kind, place) for kind in KINDS for place in PLACES]
    urls = [make_sqlite() for _ in cases]
    folders = [tmp_path_factory.mktemp("-".join(case)) for case in cases]

    def tell(number: int) -> Night:
        kind, place = cases[number]
        return night(folders[number], urls[number], kind, place, persons=100, failing=8)

    with ThreadPoolExecutor(6) as threads:
        return dict(zip(cases, threads.map(tell, range(len(cases))), strict=True))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_few_persons_end_no_run(matrix: dict[Any, Night], kind: str, place: str) -> None:
    """Whatever is wrong with them, and wherever they stand."""
    matrix[kind, place].check()


@pytest.mark.parametrize("place", ["head", "tail"])
def test_three_of_sixty(tmp_path: Path, sqlite_url: str, place: str) -> None:
    """Three persons whose answers are cut, on a small roster."""
    night(tmp_path, sqlite_url, "cut", place, persons=60, failing=3, retry_attempts=5).check()


@pytest.mark.parametrize("good", [0, 150], ids=["from the start", "later"])
@pytest.mark.parametrize("kind", KINDS)
def test_an_outage_ends_the_run(
    standin: Standin, tmp_path: Path, sqlite_url: str, kind: str, good: int
) -> None:
    """What fails for everybody is a verdict, after few requests, and nothing is published."""
    worker = install(standin, tmp_path, sqlite_url, 300)

    def everybody(ask: Ask) -> Reply:
        return http(ask.records) if len(standin.asked) <= good else KINDS[kind](ask)

    standin.everybody = everybody
    ended = worker.sync()
    assert CODES[kind] == ended.code, ended.out + ended.err[-3000:]
    assert "interrupted" == ended.run["status"]
    assert len(standin.asked) - good <= 250
    assert set() == worker.store.ids()


NEVER = "Fri, 31 Dec 9999 23:59:59 GMT"
QUIET = http(status="503 Service Unavailable", headers=[f"Retry-After: {NEVER}"])


@pytest.mark.parametrize("good", [0, 50], ids=["from the start", "later"])
def test_a_long_quiet_ends_the_run(
    standin: Standin, tmp_path: Path, sqlite_url: str, good: int
) -> None:
    """A Retry-After beyond sync.retry_after_max is 69 at once, with its end; the lease is free."""
    worker = install(standin, tmp_path, sqlite_url, 100)

    def everybody(ask: Ask) -> Reply:
        return http(ask.records) if len(standin.asked) <= good else QUIET

    standin.everybody = everybody
    ended = worker.sync()
    assert (69, "interrupted") == (ended.code, ended.run["status"]), ended.out
    assert "until 9999-12-31T23:59:59+00:00" in ended.run["reasons"][0]
    assert ended.took_s < 20
    assert len(standin.asked) - good <= 20
    assert [(None,)] == worker.store.rows("SELECT holder FROM lease")
    standin.everybody = None
    assert 0 == worker.sync().code


def test_a_long_quiet_for_one_person(standin: Standin, tmp_path: Path, sqlite_url: str) -> None:
    """If others are answered it is that person's failure, without a second attempt."""
    worker = install(standin, tmp_path, sqlite_url, 60)
    struck = list(standin.people)[30]
    standin.script = {(struck, ""): lambda _: QUIET}
    ended = worker.sync()
    assert (3, "published") == (ended.code, ended.run["status"]), ended.out
    assert ended.took_s < 20
    assert 1 == ended.run["totals"]["persons_stale"]
    assert 2 == sum(off_id == struck for off_id, _ in standin.asked)
    assert 59 == len(worker.store.ids())


def test_retry_after_max(standin: Standin, tmp_path: Path, sqlite_url: str) -> None:
    """The limit is configured, and a pause below it is obeyed and logged with its end."""
    worker = install(standin, tmp_path, sqlite_url, 20)
    busy = http(status="429 Too Many Requests", headers=["Retry-After: 6"])
    left = [busy]
    standin.everybody = lambda ask: left.pop() if left else http(ask.records)
    ended = worker.sync()
    assert (0, True) == (ended.code, ended.took_s > 6), ended.out
    pause = next(line for line in map(json.loads, ended.err.splitlines()) if "until" in line)
    assert ("pts.pause", "info", "status 429, Retry-After") == (
        pause["event"],
        pause["level"],
        pause["reason"],
    )
    standin.everybody = lambda _: busy
    assert 69 == worker.sync("--set", "sync.retry_after_max=5s").code
