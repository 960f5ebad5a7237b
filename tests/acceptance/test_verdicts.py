"""Verdicts about PTS need evidence: a few persons who cannot be read end no run, an outage does."""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import cycle, product
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.acceptance.conftest import MakeDatabase
from tests.support.program import Ended, Installation
from tests.support.published import Store
from tests.support.raw_server import Reply, http
from tests.support.standin import Answerer, Ask, Standin, person, ref_of
from tests.support.standin import standin as serve

pytestmark = pytest.mark.promise("6")

K = TypeVar("K")
V = TypeVar("V")
Url = Callable[[], str]

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
        assert (self.ended.code, self.ended.run["status"]) == (3, "published"), said
        assert self.ended.took_s < 60, said
        totals = self.ended.run["totals"]
        assert len(self.failing) == totals["persons_stale"]
        assert totals["areas_failed"] == 2 * len(self.failing)
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
        assert made.violations == []
        return Night(ended=ended, store=worker.store, persons=everyone, failing=struck)


NIGHTS: dict[tuple[str, ...], Callable[[Path, str], Night]] = {
    ("8 of 300", "503", "tail"): partial(
        night, kind="503", place="tail", persons=300, failing=8, retry_attempts=5
    ),
    **{
        ("3 of 60", "cut", place): partial(
            night, kind="cut", place=place, persons=60, failing=3, retry_attempts=5
        )
        for place in ("head", "tail")
    },
    **{
        ("2 readers", kind, "head"): partial(
            night, kind=kind, place="head", persons=100, failing=8, concurrency=2
        )
        for kind in ("500", "403")
    },
    **{
        ("8 of 100", kind, place): partial(night, kind=kind, place=place, persons=100, failing=8)
        for kind, place in zip(KINDS, cycle(PLACES))
    },
}


def all_at_once(cases: Mapping[K, Callable[[Path, str], V]], folder: Path, url: Url) -> dict[K, V]:
    """What becomes of each, several at the same time: most of it is waiting."""
    places = [(folder / str(number), url()) for number in range(len(cases))]
    with ThreadPoolExecutor(6) as threads:
        found = threads.map(lambda case, place: case(*place), cases.values(), places)
        return dict(zip(cases, found, strict=True))


@pytest.fixture(scope="module")
def nights(
    make_sqlite: MakeDatabase, tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, ...], Night]:
    return all_at_once(NIGHTS, tmp_path_factory.mktemp("nights"), make_sqlite)


@pytest.mark.parametrize("case", NIGHTS, ids="-".join)
def test_a_few_persons_end_no_run(
    nights: Mapping[tuple[str, ...], Night], case: tuple[str, ...]
) -> None:
    """Persons who fail for ever cost their own areas, whatever is wrong and wherever they stand."""
    nights[case].check()


@pytest.mark.parametrize(("kind", "bad_witnesses"), [("500", 1), ("403", 2)])
def test_a_known_good_person_who_fails_when_asked_again(
    standin: Standin, tmp_path: Path, sqlite_url: str, kind: str, bad_witnesses: int
) -> None:
    """One or two persons do not speak for PTS: others who were read are asked as well."""
    worker = install(standin, tmp_path, sqlite_url, 100, retry_attempts=5)
    everyone = list(standin.people)
    failing = everyone[-8:]
    asked: Counter[tuple[str, str]] = Counter()
    spoilt: set[str] = set()

    def everybody(ask: Ask) -> Reply:
        asked[ask.off_id, ask.area] += 1
        if asked[ask.off_id, ask.area] > 1 and len(spoilt) < bad_witnesses:
            spoilt.add(ask.off_id)
        return KINDS[kind](ask) if ask.off_id in spoilt else http(ask.records)

    standin.everybody = everybody
    standin.script = {(off_id, ""): KINDS[kind] for off_id in failing}
    ended = worker.sync()
    assert bad_witnesses == len(spoilt)
    Night(ended=ended, store=worker.store, persons=everyone, failing=failing).check()


@pytest.mark.parametrize("kind", ["500", "403", "shape"])
def test_only_those_who_fail_are_left(
    standin: Standin, tmp_path: Path, sqlite_url: str, kind: str
) -> None:
    """A start that has nobody else to read asks for somebody whom an earlier one has read."""
    worker = install(standin, tmp_path, sqlite_url, 60, retry_attempts=2)
    everyone = list(standin.people)
    failing = everyone[:8]
    silence = Reply(data=b"", then="hang")
    standin.script = {(off_id, ""): lambda _: silence for off_id in failing}
    worker.configure(sync={"deadline": "3s"})
    assert worker.sync().code == 75
    worker.configure(sync={"deadline": None})
    standin.script = {(off_id, ""): KINDS[kind] for off_id in failing}
    ended = worker.sync()
    Night(ended=ended, store=worker.store, persons=everyone, failing=failing).check()
    again = worker.run("backfill", "--failed")
    assert (again.code, again.run["status"]) == (3, "published"), again.out
    standin.script = {(off_id, ""): KINDS[kind] for off_id in failing[1:]}
    healed = worker.run("backfill", "--failed")
    assert (healed.code, healed.run["totals"]["persons_stale"]) == (3, 7), healed.out
    assert ref_of(failing[0]) in {ref for ref, _ in worker.store.ids()}


def outage(folder: Path, url: str, *, kind: str, good: int) -> tuple[Ended, int, int]:
    """How a run ends that PTS answers so many times; the requests after that, and what it left."""
    with serve() as made:
        worker = install(made, folder, url, 300)
        made.everybody = lambda ask: (
            http(ask.records) if len(made.asked) <= good else KINDS[kind](ask)
        )
        ended = worker.sync()
        return ended, len(made.asked) - good, len(worker.store.ids())


OUTAGES = {
    (kind, start): partial(outage, kind=kind, good=good)
    for kind, (start, good) in (
        *product(KINDS, [("later", 60)]),
        *product(["503", "403", "shape"], [("from the start", 0)]),
    )
}


@pytest.fixture(scope="module")
def outages(
    make_sqlite: MakeDatabase, tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, str], tuple[Ended, int, int]]:
    return all_at_once(OUTAGES, tmp_path_factory.mktemp("outages"), make_sqlite)


@pytest.mark.parametrize("case", OUTAGES, ids="-".join)
def test_an_outage_ends_the_run(
    outages: Mapping[tuple[str, str], tuple[Ended, int, int]], case: tuple[str, str]
) -> None:
    """What fails for everybody is a verdict, after few requests, and nothing is published."""
    ended, requests, published = outages[case]
    said = f"{ended.out}\n{ended.err[-3000:]}"
    assert (CODES[case[0]], "interrupted") == (ended.code, ended.run["status"]), said
    assert requests <= 250
    assert published == 0


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
    assert (ended.code, ended.run["status"]) == (69, "interrupted"), ended.out
    assert "until 9999-12-31T23:59:59+00:00" in ended.run["reasons"][0]
    assert ended.took_s < 60
    assert len(standin.asked) - good <= 20
    assert worker.store.rows("SELECT holder FROM lease") == [(None,)]
    standin.everybody = None
    worker.store.rows("UPDATE run_attempt SET not_before = NULL")  # it is over
    assert worker.sync().code == 0


@pytest.mark.parametrize("persons", [60, 12])
def test_a_long_quiet_for_one_person(
    standin: Standin, tmp_path: Path, sqlite_url: str, persons: int
) -> None:
    """If others are answered it is that person's failure, without a second attempt.

    Also of few, before anybody was read: those who are under way speak for PTS.
    """
    worker = install(standin, tmp_path, sqlite_url, persons)
    struck = list(standin.people)[persons // 2 - 1]
    standin.everybody = lambda ask: http(ask.records, before_s=0.0 if persons == 60 else 0.3)
    standin.script = {(struck, ""): lambda _: QUIET}
    ended = worker.sync()
    assert (ended.code, ended.run["status"]) == (3, "published"), ended.out
    assert ended.took_s < 60
    assert ended.run["totals"]["persons_stale"] == 1
    assert sum(off_id == struck for off_id, _ in standin.asked) == 2
    assert len(worker.store.ids()) == persons - 1


def test_retry_after_max(standin: Standin, tmp_path: Path, sqlite_url: str) -> None:
    """The limit is configured, and a pause below it is obeyed and logged with its end."""
    worker = install(standin, tmp_path, sqlite_url, 20)
    busy = http(status="429 Too Many Requests", headers=["Retry-After: 6"])
    left = [busy]
    standin.everybody = lambda ask: left.pop() if left else http(ask.records)
    ended = worker.sync()
    assert (ended.code, ended.took_s > 6) == (0, True), ended.out
    pause = next(line for line in map(json.loads, ended.err.splitlines()) if "until" in line)
    assert (
        pause["event"],
        pause["level"],
        pause["reason"],
    ) == ("pts.pause", "info", "status 429, Retry-After")
    standin.everybody = lambda _: busy
    assert worker.sync("--set", "sync.retry_after_max=5s").code == 69
