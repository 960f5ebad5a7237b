"""``erase``: one person is removed completely, the identifier never shows, no run is disturbed."""

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.leases import held_elsewhere
from tests.support.made_databases import MakeDatabase
from tests.support.program import Ended, Installation, calls, other_key
from tests.support.published import Store
from tests.support.secrecy.nights import database_files
from tests.support.standin import SAFETY, Standin, person, safety
from tests.support.standin import standin as serve

Call = str | tuple[str, str]
STRANGER = "16858399649"
CANARY = "canary-4b1d77"


def dump(store: Store) -> str:
    """All rows but the lease's."""
    return str({name: rows for name, rows in store.everything().items() if name != "lease"})


def on_disk(store: Store) -> str:
    """All bytes of a SQLite file."""
    return str([place.data for place in database_files(store, "now")])


@dataclass(frozen=True, kw_only=True)
class Erased:
    """What was said and what was there, step by step."""

    worker: Installation
    gone: str
    key: str
    ends: dict[str, Ended]
    dumps: dict[str, str]
    runs: list[list[tuple[object, ...]]]
    again: Ended


def carry_out(made: Standin, url: str, folder: Path) -> Erased:
    gone = person(made, 3, safeties=1, privacies=1)
    made.people[gone][SAFETY] = [safety(gone, "0", cause=CANARY)]
    for number in range(4, 8):
        person(made, number, safeties=1)
    worker = made.install(folder, url)
    (synced,) = calls(worker, "sync --json")
    ends = {"synced": synced}
    store = worker.store
    key: str = store.one(
        f"SELECT person_key FROM report_patient_safety_current WHERE cause = '{CANARY}'"
    )
    dumps = {"before": dump(store), "file before": on_disk(store)}
    runs = [store.rows("SELECT * FROM report_run ORDER BY run_id")]
    with held_elsewhere(store):
        ends["held"], ends["sync held"] = calls(worker, ("erase --json", gone), "sync --json")
        dumps["held"] = dump(store)
    names = ("erased", "twice", "stranger")
    lines: tuple[Call, ...] = (("erase --json", gone), ("erase", gone), ("erase --json", STRANGER))
    ends |= dict(zip(names, calls(worker, *lines), strict=True))
    dumps |= {"erased": dump(store), "file after": on_disk(store)}
    runs.append(store.rows("SELECT * FROM report_run ORDER BY run_id"))
    return Erased(
        worker=worker,
        gone=gone,
        key=key,
        ends=ends,
        dumps=dumps,
        runs=runs,
        again=worker.sync(),
    )


@pytest.fixture(scope="module")
def erased(make_database: MakeDatabase, tmp_path_factory: pytest.TempPathFactory) -> Erased:
    with serve() as made:
        return carry_out(made, make_database(), tmp_path_factory.mktemp("erase"))


def test_a_run_is_not_disturbed(erased: Erased):
    """While another holds the lease nothing is erased: exit 4."""
    assert erased.ends["held"].code == 4
    assert "another run holds the lease" in erased.ends["held"].message
    assert "as `sync --wait 30m` does" in erased.ends["sync held"].message
    assert erased.dumps["held"] == erased.dumps["before"]


def test_the_person_is_nowhere_afterwards(erased: Erased):
    """Neither in any table or view nor in a SQLite file; the ledger says what it said."""
    assert erased.ends["erased"].code == 0, erased.ends["erased"].err
    assert erased.ends["erased"].document["rows"] == {
        "patient_safety_version": 1,
        "patient_privacy_version": 1,
        "draft_patient_safety": 0,
        "draft_patient_privacy": 0,
        "draft": 0,
        "person": 1,
    }
    for secret in (erased.key, CANARY):
        assert secret in erased.dumps["before"]
        assert secret not in erased.dumps["erased"]
        assert (secret in erased.dumps["file before"]) is erased.worker.store.is_sqlite
        assert secret not in erased.dumps["file after"]
    assert erased.runs[1] == erased.runs[0]
    assert erased.worker.store.one("SELECT count(*) FROM lease WHERE holder IS NOT NULL") == 0


def test_an_unknown_person_is_reported_as_unknown(erased: Erased):
    """A second time, or for a stranger, there is nothing to erase: exit 0."""
    assert (erased.ends["twice"].code, erased.ends["stranger"].code) == (0, 0)
    assert re.search("is known +no", erased.ends["twice"].out)
    stranger = erased.ends["stranger"].document
    assert (stranger["is_known"], stranger["rows"]) == (False, {})


def test_who_is_on_the_roster_is_read_again(erased: Erased):
    """It is said that the next sync reads them again, and it does, as a new person."""
    assert "the next sync reads them again" in erased.ends["twice"].out
    assert (erased.again.code, erased.again.run["totals"]["rows_opened"]) == (0, 2)
    store = erased.worker.store
    assert store.one(f"SELECT count(*) FROM person WHERE person_key = '{erased.key}'") == 1
    # Neither output nor log holds an identifier or the pseudonym.
    said = "".join(one.out + one.err for one in erased.ends.values())
    assert [one for one in (erased.gone, STRANGER, erased.key) if one in said] == []


def test_what_it_refuses(erased: Erased):
    """No identifier, one on the command line, and another key."""
    key = other_key(erased.worker.folder)
    ends = calls(
        erased.worker,
        ("erase --json", ""),
        ("erase --json", "123\n"),
        f"erase --json {STRANGER}",
        (f"erase --json --set privacy.pseudonym_key_file={key}", STRANGER),
    )
    assert [one.code for one in ends] == [2, 2, 2, 78]
    assert [one.out for one in ends[:2] if "123" in one.out] == []


def with_an_old_version(standin: Standin, folder: Path, url: str) -> Installation:
    """A worker after two runs, of which the second closed what the first opened, long ago."""
    off_id = person(standin, 1)
    worker = standin.install(folder, url)
    standin.people[off_id][SAFETY] = [safety(off_id, "0", cause="one")]
    assert worker.sync().code == 0
    standin.people[off_id][SAFETY] = [safety(off_id, "0", cause="two")]
    assert worker.sync().code == 0
    worker.store.rows("UPDATE run SET published_at = '2020-01-01T00:00:00.000000+00:00'")
    worker.configure(retention={"versions": "30d"})
    return worker


@pytest.mark.promise("11")
def test_a_backfill_forgets_nothing(sqlite_url: str, standin: Standin, tmp_path: Path):
    """Old versions go at the end of a full run, not of one over some persons."""
    worker = with_an_old_version(standin, tmp_path, sqlite_url)
    versions = "SELECT cause FROM patient_safety_version ORDER BY cause"
    lines = (tmp_path / "roster.csv").read_text(encoding="utf-8")
    backfill = worker.run("backfill", "--roster", "-", stdin=lines.encode())
    assert (backfill.code, backfill.run["status"]) == (0, "published")
    assert "retention." not in backfill.err
    assert worker.store.rows(versions) == [("one",), ("two",)]
    assert worker.sync().code == 0
    assert worker.store.rows(versions) == [("two",)]


@pytest.mark.promise("11")
def test_a_purge_that_fails_does_not_undo_the_run(
    sqlite_url: str, standin: Standin, tmp_path: Path
):
    """The run is published and ends as it would; what failed is logged, and done the next time."""
    worker = with_an_old_version(standin, tmp_path, sqlite_url)
    worker.store.rows(
        "CREATE TRIGGER hinder BEFORE DELETE ON patient_safety_version FOR EACH ROW "
        "BEGIN SELECT * FROM nowhere; END"
    )
    ended = worker.sync()
    assert (ended.code, ended.run["status"]) == (0, "published")
    assert worker.store.runs() == [("published", 0)] * 3
    assert "retention.unfinished" in ended.err
    assert "Traceback" not in ended.err
    versions = "SELECT cause FROM patient_safety_version ORDER BY cause"
    assert worker.store.rows(versions) == [("one",), ("two",)]
    assert worker.store.rows("SELECT holder FROM lease WHERE holder IS NOT NULL") == []
    worker.store.rows("DROP TRIGGER hinder")
    assert worker.sync().code == 0
    assert worker.store.rows(versions) == [("two",)]
