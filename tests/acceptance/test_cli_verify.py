"""``verify``: a sample is read again and compared, and nothing at all is written."""

import hashlib
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest
from sqlalchemy import make_url

from tests.support.databases import execute
from tests.support.leases import hold_lease
from tests.support.made_databases import MakeDatabase
from tests.support.program import Ended, Installation, wait_for
from tests.support.published import Store
from tests.support.raw_server import Reply, http
from tests.support.session import calls, other_key
from tests.support.standin import (
    PRIVACY,
    SAFETY,
    Standin,
    off_id_of,
    person,
    privacy,
    safety,
)
from tests.support.standin import standin as serve

PERSONS = 10


def content(store: Store) -> str:
    """Everything in the database, and the very bytes of a SQLite file."""
    data = store.path.read_bytes() if store.is_sqlite else b""
    return f"{store.everything()} {hashlib.sha256(data).hexdigest()}"


@dataclass(frozen=True, kw_only=True)
class Evening:
    """What ``verify`` said after a sync, and again after PTS had changed."""

    worker: Installation
    agreed: Ended
    text: Ended
    differed: Ended
    differed_text: Ended
    contents: list[str]
    asked: int
    people: list[str]


def change(made: Standin, people: list[str]) -> None:
    """Let one restriction come, one go, one change, one area fail and one person be new."""
    first, second, third, fourth = people[:4]
    made.people[first][SAFETY].append(safety(first, "late"))
    del made.people[second][SAFETY][0]
    made.people[third][PRIVACY][0] = privacy(third, "0", privacyLevel="Hard")
    made.script[fourth, SAFETY] = lambda _ask: http(b"", status="500 Internal Server Error")


def spend(made: Standin, url: str, folder: Path) -> Evening:
    people = [person(made, number, safeties=2, privacies=1) for number in range(PERSONS)]
    worker = made.install(folder, url, retry_attempts=1)
    synced = worker.sync()
    assert synced.code == 0, synced.err
    contents = [content(worker.store)]
    made.asked.clear()
    agreed, text = calls(worker, "verify --json", "verify --sample 5 --area patient-safety")
    asked = len(made.asked)
    change(made, people)
    worker.roster(*made.lines(), f"{off_id_of(50)},new")
    differed, differed_text = calls(worker, "verify --json", "verify")
    contents.append(content(worker.store))
    assert made.violations == []
    return Evening(
        worker=worker,
        agreed=agreed,
        text=text,
        differed=differed,
        differed_text=differed_text,
        contents=contents,
        asked=asked,
        people=people,
    )


@pytest.fixture(scope="module")
def evening(make_database: MakeDatabase, tmp_path_factory: pytest.TempPathFactory) -> Evening:
    with serve() as made:
        return spend(made, make_database(), tmp_path_factory.mktemp("verify"))


def test_an_unchanged_world_agrees(evening: Evening):
    """All of a sample agree: exit 0, and the interval says how much that is worth."""
    assert evening.agreed.code == 0, evening.agreed.err
    found = evening.agreed.document
    assert found["roster"] == {"entries": PERSONS, "faults": 0, "not_sent": 0}
    assert (found["published"]["run_id"], found["is_run_on"]) == (1, False)
    counts = [found[name] for name in ("sampled", "read", "unread", "agree")]
    assert counts == [2 * PERSONS, 2 * PERSONS, 0, 2 * PERSONS]
    assert (found["agreement"]["share"], found["agreement"]["high"]) == (1.0, 1.0)
    assert round(found["agreement"]["low"], 4) == 0.8389
    assert [area["differences"] for area in found["areas"]] == [[], []]


def test_no_more_is_read_than_asked_for(evening: Evening):
    """``--sample`` bounds the person-areas, and ``--area`` picks among them."""
    assert evening.text.code == 0, evening.text.err
    assert "sampled     5 areas of persons" in evening.text.out
    assert "patient-safety: 5 of 5 agree" in evening.text.out
    assert "95 % confidence 56.55% to 100.00%" in evening.text.out
    assert "patient-privacy" not in evening.text.out
    assert evening.asked == 2 * PERSONS + 5


def test_nothing_is_written(evening: Evening):
    """Not a row of any table differs after it, nor a byte of the file."""
    assert evening.contents[0] == evening.contents[1]


def differences(document: dict[str, Any]) -> dict[tuple[str, str], tuple[int, int]]:
    return {
        (area["area"], one["kind"]): (one["count"], one["person_areas"])
        for area in document["areas"]
        for one in area["differences"]
    }


def test_each_kind_of_difference_is_reported(evening: Evening):
    """Missing here, gone there, changed, unread, not in the store: each by area, and exit 3."""
    assert evening.differed.code == 3, evening.differed.err
    found = evening.differed.document
    assert differences(found) == {
        (SAFETY, "missing_here"): (1, 1),
        (SAFETY, "gone_there"): (1, 1),
        (SAFETY, "unread"): (1, 1),
        (SAFETY, "not_in_store"): (1, 1),
        (PRIVACY, "changed"): (1, 1),
        (PRIVACY, "not_in_store"): (1, 1),
    }
    counts = [found[name] for name in ("sampled", "read", "unread", "agree")]
    assert counts == [22, 21, 1, 16]
    assert found["agreement"]["share"] == 16 / 21
    prefixes = [one for a in found["areas"] for d in a["differences"] for one in d["persons"]]
    assert {(one[:2], len(one)) for one in prefixes} == {("p-", 10)}
    keys = {row[0] for row in evening.worker.store.rows("SELECT person_key FROM person")}
    assert (
        sum(any(key.startswith(one.removeprefix("p-")) for key in keys) for one in set(prefixes))
        == 4
    )


def test_the_text_says_that_differences_may_be_young(evening: Evening):
    """PTS may have changed since the last publication: that is no fault, and is said."""
    assert evening.differed_text.code == 3
    text = evening.differed_text.out
    assert "changed at PTS since the last publication" in text
    assert "agreement   76.19% (16 of 21 read; 95 % confidence 54.91% to 89.37%)" in text
    assert "1  could not be read from PTS" in text


def test_no_identifier_is_shown(evening: Evening):
    """Neither output nor log holds an identifier."""
    ends = (evening.agreed, evening.text, evening.differed, evening.differed_text)
    said = "".join(one.out + one.err for one in ends)
    assert [one for one in (*evening.people, off_id_of(50)) if one in said] == []


def test_a_role_that_may_only_read_is_enough(
    make_postgres: MakeDatabase, standin: Standin, tmp_path: Path
):
    """On PostgreSQL the right to SELECT is all it takes."""
    url = make_postgres()
    person(standin, 1, safeties=1)
    worker = standin.install(tmp_path, url)
    assert worker.sync().code == 0
    role = f"reader_{make_url(url).database}"
    anyio.run(
        execute,
        url,
        f"CREATE ROLE {role} LOGIN",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}",
    )
    reader_url = make_url(url).set(username=role).render_as_string(hide_password=False)
    worker.configure(database={"url": reader_url})
    ended = worker.run("verify")
    assert ended.code == 0, ended.err
    assert ended.document["agree"] == 2


def test_beside_a_run_it_works_and_warns(sqlite_url: str, standin: Standin, tmp_path: Path):
    """The lease is not needed; that two now ask PTS is said, and stale states are named as such."""
    off_id = person(standin, 1, safeties=1)
    worker = standin.install(tmp_path, sqlite_url, retry_attempts=1)
    later = [safety(off_id, "0"), safety(off_id, "late")]
    replies = iter([http([safety(off_id, "0")]), http(status="500 Broken")])
    standin.script[off_id, SAFETY] = lambda _ask: next(replies, http(later))
    assert [one.code for one in calls(worker, "sync", "sync")] == [0, 3]
    hold_lease(worker.store)
    as_json, as_text = calls(worker, "verify --json", "verify")
    assert (as_json.code, as_json.document["is_run_on"]) == (3, True)
    one = as_json.document["areas"][1]["differences"][0]
    assert (one["kind"], one["count"], one["of_incomplete"]) == ("missing_here", 1, 1)
    assert "verify.beside_a_run" in as_json.err
    assert "a run is on" in as_text.out
    assert "(1 known to be stale)" in as_text.out


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (http(status="503 Service Unavailable"), 69),
        (http(status="403 Forbidden"), 77),
        (http({"surprise": True}), 65),
    ],
)
def test_nothing_read_is_the_services_fault(
    sqlite_url: str, standin: Standin, tmp_path: Path, reply: Reply, code: int
):
    """If not one can be read, the exit code says why, as for a sync."""
    for number in range(3):
        person(standin, number, safeties=1)
    worker = standin.install(tmp_path, sqlite_url, retry_attempts=1)
    standin.everybody = lambda _ask: reply
    ended = worker.run("verify")
    assert (code, code) == (ended.code, ended.document["error"]["exit_code"])


def test_what_it_cannot_work_with(sqlite_url: str, standin: Standin, tmp_path: Path):
    """HelseID's refusal, an empty roster, another key, no database: each has its exit code."""
    person(standin, 1, safeties=1)
    worker = standin.install(tmp_path, sqlite_url, retry_attempts=1)
    key = other_key(tmp_path)
    empty = tmp_path / "empty.csv"
    empty.write_text("off_id\n", encoding="utf-8")
    ends = calls(
        worker,
        "sync",
        "verify --json --set helseid.client_id=another",
        f"verify --json --roster {empty}",
        f"verify --json --set privacy.pseudonym_key_file={key}",
        "verify --json --database sqlite:///missing.db",
        "verify --json --sample 0",
    )
    assert [one.code for one in ends] == [0, 77, 65, 78, 78, 2]
    assert "no identifier" in ends[2].message
    assert not (tmp_path / "missing.db").exists()


def test_a_stop_is_obeyed_at_once(sqlite_url: str, standin: Standin, tmp_path: Path):
    """SIGTERM ends it with 75 and without a result: there is nothing to keep."""
    person(standin, 1, safeties=1)
    worker = standin.install(tmp_path, sqlite_url)
    standin.delay_s = 60.0
    running = worker.start("verify")
    try:
        wait_for(lambda: standin.asked, "the first request")
    finally:
        running.signal(signal.SIGTERM)
        ended = running.wait()
    assert (ended.code, ended.document["error"]["name"]) == (75, "stopped")
    assert ended.took_s < 30
