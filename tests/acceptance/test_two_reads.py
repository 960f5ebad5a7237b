"""A removal needs two reads, the second on a connection of its own (promise 1)."""

import os
import signal
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from tests.support.program import Installation, run, wait_for
from tests.support.raw_server import Reply, http
from tests.support.standin import (
    PRIVACY,
    SAFETY,
    Answerer,
    Ask,
    Heard,
    Standin,
    off_id_of,
    person,
    ref_of,
    safety,
)

pytestmark = pytest.mark.promise("1")

LATER_S = 2.0
FIRST = off_id_of(0)


def in_order(*replies: Answerer) -> Answerer:
    """Each answer once; the last again and again."""
    left = list(replies)

    def answer(ask: Ask) -> Reply:
        answerer = left.pop(0) if len(left) > 1 else left[0]
        return answerer(ask)

    return answer


def truth(ask: Ask) -> Reply:
    return http(ask.records)


def nothing(_: Ask) -> Reply:
    return http([])


def installed(
    standin: Standin, folder: Path, database_url: str, *, persons: int = 12, **sync: object
) -> Installation:
    """A worker after a first night in which every person had two restrictions of either area."""
    for number in range(persons):
        person(standin, number, safeties=2, privacies=2)
    worker = standin.install(folder, database_url, **sync)
    assert worker.sync().code == 0
    standin.heard.clear()
    return worker


def heard_of(standin: Standin, off_id: str, area: str) -> list[Heard]:
    return [one for one in standin.heard if (one.off_id, one.area) == (off_id, area)]


def ids_of(worker: Installation, off_id: str) -> set[str]:
    return {key for _, key in worker.store.ids() if key.startswith(f"S-{ref_of(off_id)}-")}


@pytest.fixture
def worker(standin: Standin, tmp_path: Path, sqlite_url: str) -> Installation:
    """A worker after its first night."""
    return installed(standin, tmp_path, sqlite_url)


def test_a_first_night_reads_nobody_twice(
    standin: Standin, tmp_path: Path, sqlite_url: str
) -> None:
    """Nothing is published, so nothing can be removed; nor on a night without changes."""
    for number in range(12):
        person(standin, number, safeties=1)
    worker = standin.install(tmp_path, sqlite_url)
    for _ in range(2):
        standin.asked.clear()
        assert worker.sync().code == 0
        assert set(standin.count().values()) == {1}


def test_what_two_reads_lack_is_closed(worker: Installation, standin: Standin) -> None:
    """Closed with both reads in its proof; the second came later, on a connection of its own.

    A night later it is the published state, which one read confirms.
    """
    standin.people[FIRST][SAFETY].pop()
    ended = worker.sync()
    assert ended.code == 0, ended.err
    assert len(ids_of(worker, FIRST)) == 1

    first, second = heard_of(standin, FIRST, SAFETY)
    assert second.at_s - first.at_s >= LATER_S
    assert [one for one in standin.heard if one.connection == second.connection] == [second]
    assert second.place == 1
    assert len(heard_of(standin, FIRST, PRIVACY)) == 1

    found = worker.run("explain", stdin=FIRST.encode()).document
    confirmed, other = found["areas"]
    assert {name: confirmed["first_read"][name] for name in ("records", "digest")} == {
        "records": 1,
        "digest": confirmed["digest"],
    }
    assert confirmed["first_read"]["read_at"] < confirmed["last_confirmed_at"]
    assert other["first_read"] is None
    reported = run(
        "--config", str(worker.config), "explain", folder=worker.folder, stdin=FIRST.encode()
    ).out
    assert reported.count("confirmed   by that read") == 1
    assert "(1 records, the same content)" in reported
    assert worker.store.rows(
        "SELECT count(*) FROM report_person_freshness WHERE first_read_at IS NOT NULL "
        "AND first_record_count = 1 AND first_digest = digest"
    ) == [(1,)]

    standin.heard.clear()
    assert worker.sync().code == 0
    assert len(heard_of(standin, FIRST, SAFETY)) == 1
    found = worker.run("explain", stdin=FIRST.encode()).document
    assert [area["first_read"] for area in found["areas"]] == [None, None]


def test_a_second_read_that_cannot_be_written_ends_the_run(
    worker: Installation, standin: Standin
) -> None:
    """The database refuses that one row alone, and yet nothing is published."""
    standin.people[FIRST][SAFETY].pop()
    worker.store.rows(
        "CREATE TRIGGER hinder BEFORE UPDATE ON person_area WHEN NEW.first_read_at IS NOT NULL "
        "BEGIN SELECT abs(-9223372036854775807 - 1); END"
    )
    ended = worker.sync()
    assert (ended.code, worker.store.runs()) == (69, [("published", 0), ("interrupted", 69)])
    assert len(ids_of(worker, FIRST)) == 2


@pytest.mark.parametrize(
    ("kind", "replies"),
    [
        pytest.param("unstable", (nothing, truth), id="nothing-then-all"),
        pytest.param(
            "unstable", (nothing, lambda ask: http(ask.records[:1])), id="nothing-then-one-of-two"
        ),
        pytest.param(
            "unstable",
            (lambda ask: http(ask.records[:1]), lambda ask: http(ask.records[1:])),
            id="another-one-each-time",
        ),
        pytest.param(
            "rejected", (nothing, lambda _: http(status="400 Bad Request")), id="nothing-then-error"
        ),
    ],
)
def test_contradicting_reads_remove_nothing(
    worker: Installation, standin: Standin, kind: str, replies: tuple[Answerer, ...]
) -> None:
    """The area is a failure; what was published stands, stale; and it heals."""
    standin.script[FIRST, SAFETY] = in_order(*replies)
    before = ids_of(worker, FIRST)
    ended = worker.sync()
    assert (3, {kind: 1}) == (ended.code, ended.run["failures"])
    assert before == ids_of(worker, FIRST)
    assert worker.store.stale() == {ref_of(FIRST)}
    (failure,) = worker.run("failures", "list").document["failures"]
    assert (kind, SAFETY) == (failure["kind"], failure["area"])

    standin.script.clear()
    assert worker.sync().code == 0
    assert set() == worker.store.stale()
    assert worker.run("failures", "list").document["failures"] == []


def test_a_backfill_needs_two_reads_as_well(worker: Installation, standin: Standin) -> None:
    """Beside an open sync which has closed the restriction, what counts is what is published."""
    standin.people[FIRST][SAFETY].pop()
    standin.delay_s = 0.3  # the others take longer than the second read
    running = worker.start("sync", "--set", "sync.batch_persons=1", "--set", "sync.concurrency=1")
    wait_for(
        lambda: worker.store.rows(
            "SELECT 1 FROM patient_safety_version WHERE closed_run IS NOT NULL"
        ),
        "the closing by the sync",
    )
    running.kill()
    running.wait()
    standin.delay_s = 0.0
    standin.heard.clear()
    standin.script[FIRST, SAFETY] = in_order(nothing, truth)
    ended = worker.run("backfill", "--person", "-", stdin=FIRST.encode())
    assert (ended.code, ended.run["failures"]) == (3, {"unstable": 1})
    assert len(heard_of(standin, FIRST, SAFETY)) == 2
    assert len(ids_of(worker, FIRST)) == 2


def test_a_stop_while_persons_wait(worker: Installation, standin: Standin) -> None:
    """SIGKILL: nothing is written of persons who wait; the next run reads them again."""
    standin.people[FIRST][SAFETY].clear()
    running = worker.start("sync")
    wait_for(lambda: heard_of(standin, FIRST, SAFETY), "the first read")
    running.kill()
    running.wait()
    closed = "SELECT count(*) FROM patient_safety_version WHERE closed_run IS NOT NULL"
    assert worker.store.one(closed) == 0
    standin.heard.clear()
    assert worker.sync().code == 0
    assert len(heard_of(standin, FIRST, SAFETY)) == 2
    assert set() == ids_of(worker, FIRST)


def test_a_signal_while_persons_wait(worker: Installation, standin: Standin) -> None:
    """SIGTERM ends the run with 75 within its grace, and a read that hangs closes nothing."""
    hangs = http([], before_s=60.0)
    standin.script[FIRST, SAFETY] = in_order(nothing, lambda _: hangs)
    running = worker.start("sync")
    wait_for(lambda: len(heard_of(standin, FIRST, SAFETY)) == 2, "the second read")
    running.signal(signal.SIGTERM)
    assert running.wait(15).code == 75
    assert len(ids_of(worker, FIRST)) == 2
    standin.script.clear()
    standin.people[FIRST][SAFETY].clear()
    standin.heard.clear()
    assert worker.sync().code == 0
    assert len(heard_of(standin, FIRST, SAFETY)) == 2


def test_every_change_is_confirmed(worker: Installation, standin: Standin) -> None:
    """`sync.confirm = changes`: what is new, changed or gone is read twice, and nothing else."""
    new, changed, gone, false = (off_id_of(number) for number in range(4))
    standin.people[new][SAFETY].append(safety(new, "new"))
    standin.people[changed][SAFETY][0]["confidentialityCode"] = "NORN"
    standin.people[gone][SAFETY].pop()
    standin.script[false, SAFETY] = in_order(
        lambda ask: http([*ask.records, safety(false, "false")]), truth
    )
    worker.configure(sync={"confirm": "changes"})
    ended = worker.sync()
    assert (ended.code, ended.run["failures"]) == (3, {"unstable": 1})
    twice = {key for key, number in standin.count().items() if number == 3}
    assert {(one, SAFETY) for one in (new, changed, gone, false)} == twice
    assert [len(ids_of(worker, one)) for one in (new, changed, gone, false)] == [3, 2, 1, 2]


def test_a_first_night_of_changes(standin: Standin, tmp_path: Path, sqlite_url: str) -> None:
    """Records of whom nothing is published are a difference; an empty area is none."""
    holder, other = (person(standin, number, safeties=number) for number in (1, 0))
    worker = standin.install(tmp_path, sqlite_url, confirm="changes")
    assert worker.sync().code == 0
    assert len(worker.store.ids()) == 1
    assert {(holder, SAFETY): 2, (holder, PRIVACY): 1, (other, SAFETY): 1, (other, PRIVACY): 1} == (
        dict(standin.count())
    )


# A counterpart that says more than it was asked


class Proxy:
    """Answers one request in sixty twice, or adds an empty answer, on a kept connection.

    The surplus comes just before the answer to the next request of that connection: no client can
    tell it from that answer.
    """

    def __init__(self, standin: Standin, extra: Callable[[Ask], Reply]) -> None:
        self._standin = standin
        self._extra = extra
        self._requests = count(1)
        self._owed: dict[int, Reply] = {}
        self.added = 0

    def __call__(self, ask: Ask) -> Reply:
        connection = self._standin.heard[-1].connection
        owed = self._owed.pop(connection, None)
        if next(self._requests) % 60 == 0:
            self._owed[connection] = self._extra(ask)
        if owed is None:
            return http(ask.records)
        self.added += 1
        data = owed.data + http(ask.records).data
        # The surplus by itself, then the rest.
        return Reply(data=data, cuts=(len(owed.data),), pause_s=0.02)


NIGHTS = int(os.environ.get("NIGHTS", "3"))
"""20 take some minutes: ``NIGHTS=20 pytest tests/acceptance/test_two_reads.py -k extra``."""


@pytest.mark.parametrize("engine", ["httpx", "fast"])
@pytest.mark.parametrize("extra", [truth, nothing], ids=["twice", "one-too-many"])
def test_an_extra_answer_removes_nothing(
    standin: Standin, tmp_path: Path, sqlite_url: str, extra: Answerer, engine: str
) -> None:
    """No restriction is lost over some nights, whatever else fails, on either engine."""
    worker = installed(standin, tmp_path, sqlite_url, persons=90, concurrency=4)
    before = worker.store.ids(), worker.store.ids("patient_privacy")
    worker.configure(api={"engine": engine})
    proxy = standin.everybody = Proxy(standin, extra)
    for _ in range(NIGHTS):
        ended = worker.sync()
        assert ended.code in (0, 3), ended.err
        assert before == (worker.store.ids(), worker.store.ids("patient_privacy"))
    assert proxy.added > NIGHTS


# Everything is gone

MANY = 600


IN_FLIGHT = 2 * 16
"""Requests of persons who are under way when first reads pause; they are read to their end."""


@pytest.mark.parametrize("rate", [60.0, 300.0])
def test_a_mass_removal_is_not_read_twice(
    standin: Standin, tmp_path: Path, sqlite_url: str, rate: float
) -> None:
    """600 persons lose everything: withheld (5), for at most 1.25 times the requests.

    First reads pause where a run of single reads would have stopped; so their number, without those
    under way, is what such a run would have sent. Measured on a quiet machine: 298 and 554, where
    the version before sent 267 and 517.
    """
    worker = installed(standin, tmp_path, sqlite_url, persons=MANY, requests_per_second=5000.0)
    worker.configure(sync={"requests_per_second": rate})
    before = worker.store.ids()
    standin.asked.clear()
    standin.everybody = nothing
    ended = worker.sync()
    assert ended.code == 5, ended.err
    assert "sync.max_removed_share" in ended.run["reasons"][0]
    assert before == worker.store.ids()
    first_reads = len(standin.count())
    assert first_reads < 2 * MANY
    assert len(standin.asked) > first_reads, "a sample was read again"
    assert len(standin.asked) <= 1.25 * (first_reads - IN_FLIGHT)


def test_accepted_removals_are_all_confirmed(
    standin: Standin, tmp_path: Path, sqlite_url: str
) -> None:
    """`--accept-removals`: no early stop, and two reads of everybody."""
    worker = installed(standin, tmp_path, sqlite_url, persons=300)
    standin.asked.clear()
    standin.everybody = nothing
    ended = worker.sync("--accept-removals")
    assert ended.code == 0, ended.err
    assert set() == worker.store.ids()
    assert set(standin.count().values()) == {2}
