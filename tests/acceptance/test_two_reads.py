"""A removal needs two reads, the second on a connection of its own (promise 1)."""

import signal
from collections.abc import Mapping
from itertools import count
from pathlib import Path

import pytest

from tests.support.made_databases import BOTH
from tests.support.program import REQUEST_TIMEOUT_S, Installation, wait_for
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
    persons,
    ref_of,
    safety,
)

pytestmark = pytest.mark.promise("1")

LATER_S = 2.0
FIRST = off_id_of(0)
CLOSED = "SELECT count(*) FROM draft_patient_safety WHERE op = 'close'"
NEVER = Reply(data=b"", before_s=600.0)


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


def installed(standin: Standin, folder: Path, database_url: str, **sync: object) -> Installation:
    """A worker after a first night in which every person had two restrictions of either area."""
    persons(standin, range(12), safeties=2, privacies=2)
    worker = standin.install(folder, database_url, **sync)
    assert worker.sync().code == 0
    assert set(standin.count().values()) == {1}, "with nothing published nobody is read twice"
    standin.heard.clear()
    standin.asked.clear()
    return worker


def heard_of(standin: Standin, off_id: str, area: str) -> list[Heard]:
    return [one for one in standin.heard if (one.off_id, one.area) == (off_id, area)]


def ids_of(worker: Installation, off_id: str) -> set[str]:
    return {key for _, key in worker.store.ids() if key.startswith(f"S-{ref_of(off_id)}-")}


@pytest.fixture
def worker(standin: Standin, tmp_path: Path, sqlite_url: str) -> Installation:
    """A worker after its first night."""
    return installed(standin, tmp_path, sqlite_url)


def test_what_two_reads_lack_is_closed(standin: Standin, tmp_path: Path, database_url: str) -> None:
    """Closed with both reads in its proof; the second came later, on a connection of its own.

    So many at once are no error yet, but a warning. A night later it is the published state, which
    one read confirms.
    """
    worker = installed(standin, tmp_path, database_url, confirm_after=f"{LATER_S:g}s")
    for number in range(4):
        standin.people[off_id_of(number)][SAFETY].pop()
    ended = worker.sync()
    assert ended.code == 0, ended.err
    assert "4 of 48 open restrictions of 4 persons were closed" in ended.run["reasons"]
    assert len(ids_of(worker, FIRST)) == 1

    first, second = heard_of(standin, FIRST, SAFETY)
    assert second.at_s - first.at_s >= LATER_S
    assert [one for one in standin.heard if one.connection == second.connection] == [second]
    assert second.place == 1
    assert len(heard_of(standin, FIRST, PRIVACY)) == 1

    found = worker.run("explain", stdin=FIRST.encode()).document
    confirmed, other = found["areas"]
    assert confirmed["first_digest"] == confirmed["digest"]
    assert confirmed["first_read_at"] < confirmed["last_confirmed_at"]
    assert other["first_read_at"] is None
    assert worker.store.rows(
        "SELECT count(*) FROM report_person_freshness WHERE first_read_at IS NOT NULL "
        "AND record_count = 1 AND first_digest = digest"
    ) == [(4,)]

    standin.heard.clear()
    assert worker.sync().code == 0
    assert len(heard_of(standin, FIRST, SAFETY)) == 1
    found = worker.run("explain", stdin=FIRST.encode()).document
    assert [area["first_read_at"] for area in found["areas"]] == [None, None]


def test_a_failed_read_is_repeated_later(worker: Installation, standin: Standin) -> None:
    """`sync.confirm_after` counts from the failure, not from the start of the run."""
    failed = http(status="400 Bad Request", before_s=1.0)
    standin.script[FIRST, SAFETY] = in_order(lambda _: failed, truth)
    ended = worker.sync("--set", f"sync.confirm_after={LATER_S:g}s")
    assert ended.code == 0, ended.story()
    first, second = heard_of(standin, FIRST, SAFETY)
    assert second.at_s - first.at_s >= LATER_S + failed.before_s


CONTRADICTIONS: Mapping[str, tuple[str, tuple[Answerer, Answerer]]] = {
    "nothing, then all": ("unstable", (nothing, truth)),
    "nothing, then one of two": ("unstable", (nothing, lambda ask: http(ask.records[:1]))),
    "another one each time": (
        "unstable",
        (lambda ask: http(ask.records[:1]), lambda ask: http(ask.records[1:])),
    ),
    "out of effect, then in effect": (
        "unstable",
        (
            lambda ask: http([ask.records[0] | {"confidentialityCode": "N"}, *ask.records[1:]]),
            truth,
        ),
    ),
    "nothing, then an error": ("rejected", (nothing, lambda _: http(status="400 Bad Request"))),
}


def test_contradicting_reads_remove_nothing(worker: Installation, standin: Standin) -> None:
    """The area is a failure; what was published stands, stale; and it heals."""
    struck = {ref_of(off_id_of(number)): name for number, name in enumerate(CONTRADICTIONS)}
    for number, (_, replies) in enumerate(CONTRADICTIONS.values()):
        standin.script[off_id_of(number), SAFETY] = in_order(*replies)
    before = worker.store.ids()
    ended = worker.sync()
    assert ended.code == 3, ended.story()
    assert worker.store.ids() == before
    assert {struck[ref] for ref in worker.store.stale()} == set(CONTRADICTIONS)
    failures = worker.run("failures", "list").document["failures"]
    assert {struck[one["local_ref"]]: (one["kind"], one["area"]) for one in failures} == {
        name: (kind, SAFETY) for name, (kind, _) in CONTRADICTIONS.items()
    }

    standin.script.clear()
    assert worker.sync().code == 0
    assert worker.store.stale() == set()
    assert worker.run("failures", "list").document["failures"] == []


def test_what_the_second_read_alone_holds_opens_nothing(
    standin: Standin, tmp_path: Path, database_url: str
) -> None:
    """A restriction of a person who cannot be read is not opened elsewhere by one read."""
    worker = installed(standin, tmp_path, database_url)
    other = off_id_of(1)
    taken = safety(FIRST, "taken", id=standin.people[other][SAFETY][0]["id"])
    standin.script[other, SAFETY] = lambda _: http(status="500 Away")
    standin.script[FIRST, SAFETY] = in_order(nothing, lambda _: http([taken]))
    before = worker.store.ids()
    ended = worker.sync()
    assert ended.code == 3, ended.story()
    assert ended.run["failures"] == {"transient": 1, "unstable": 1}
    assert worker.store.ids() == before


def test_an_outage_at_the_second_read(worker: Installation, standin: Standin) -> None:
    """The answer that closes a restriction still comes on a new connection."""
    standin.people[FIRST][SAFETY].clear()
    refused = count(1)

    def reply(ask: Ask) -> Reply:
        has_begun = len(heard_of(standin, FIRST, SAFETY)) > 1
        is_away = has_begun and next(refused) <= 4
        return http(status="503 Service Unavailable") if is_away else http(ask.records)

    standin.everybody = reply
    worker.configure(sync={"patience": "20s", "retry_attempts": 1})
    ended = worker.sync()
    assert ended.code == 0, ended.story()
    assert len(ended.events("breaker.opened")) == 1
    assert ids_of(worker, FIRST) == set()
    second = heard_of(standin, FIRST, SAFETY)[-1]
    assert [one for one in standin.heard if one.connection == second.connection] == [second]


@pytest.mark.parametrize(
    "number",
    [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.nightly)],
    ids=["SIGKILL", "SIGTERM"],
)
def test_a_stop_within_the_second_read(
    standin: Standin, tmp_path: Path, database_url: str, number: signal.Signals
) -> None:
    """A second read that is cut off closes nothing; the next run makes that read alone."""
    worker = installed(standin, tmp_path, database_url)
    standin.script[FIRST, SAFETY] = in_order(nothing, lambda _: NEVER)
    worker.constants[REQUEST_TIMEOUT_S] = 120.0
    running = worker.start("sync")
    wait_for(lambda: len(heard_of(standin, FIRST, SAFETY)) == 2, "the second read")
    running.signal(number)
    assert running.wait().code == {signal.SIGKILL: -9, signal.SIGTERM: 75}[number]
    assert worker.store.one(CLOSED) == 0
    worker.store.end_lease()
    standin.script.clear()
    standin.people[FIRST][SAFETY].clear()
    standin.heard.clear()
    assert worker.sync().code == 0
    assert len(standin.heard) == len(heard_of(standin, FIRST, SAFETY)) == 1
    assert ids_of(worker, FIRST) == set()


@pytest.mark.parametrize("database_url", BOTH, indirect=True)
def test_a_first_load_is_confirmed(standin: Standin, tmp_path: Path, database_url: str) -> None:
    """`sync.confirm = changes`: all records of a first load are new, and read twice."""
    for number in range(6):
        person(standin, number, safeties=number % 3, privacies=number % 2)
    worker = standin.install(tmp_path, database_url, confirm="changes")
    assert worker.sync().code == 0
    assert standin.count() == {
        (off_id, area): 1 + bool(records)
        for off_id, areas in standin.people.items()
        for area, records in areas.items()
    }
    assert len(worker.store.ids()) == 6


def test_every_change_is_confirmed(worker: Installation, standin: Standin) -> None:
    """`sync.confirm = changes`: what is new, changed or gone is read twice, and nothing else.

    Records of whom nothing is published are a change; an empty area is none.
    """
    new, changed, gone, false, unsure = (off_id_of(number) for number in range(5))
    standin.people[new][SAFETY].append(safety(new, "new"))
    standin.people[changed][SAFETY][0]["confidentialityCode"] = "NORN"
    standin.people[gone][SAFETY].pop()
    standin.script[false, SAFETY] = in_order(
        lambda ask: http([*ask.records, safety(false, "false")]), truth
    )
    standin.script[unsure, SAFETY] = in_order(
        lambda ask: http([one | {"cause": "Automated"} for one in ask.records]), truth
    )
    newcomer, _ = person(standin, 20, safeties=1), person(standin, 21)
    worker.roster(*standin.lines())
    worker.configure(sync={"confirm": "changes"})
    ended = worker.sync()
    assert (ended.code, ended.run["failures"]) == (3, {"unstable": 2})
    twice = {key for key, number in standin.count().items() if number == 2}
    assert twice == {(one, SAFETY) for one in (new, changed, gone, false, unsure, newcomer)}
    assert [len(ids_of(worker, one)) for one in (new, changed, gone, false)] == [3, 2, 1, 2]
    assert worker.store.stale() == {ref_of(false), ref_of(unsure)}
