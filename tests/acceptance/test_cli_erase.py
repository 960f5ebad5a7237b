"""``erase``: one person is removed completely, the identifier never shows, no run is disturbed."""

from pathlib import Path

import pytest

from tests.support.held import held_run
from tests.support.program import Installation, calls, other_key
from tests.support.published import Store
from tests.support.secrecy.nights import database_files
from tests.support.standin import SAFETY, Standin, person, persons, safety

STRANGER = "16858399649"
CANARY = "canary-4b1d77"


def dump(store: Store) -> str:
    """All rows but the lease's."""
    return str({name: rows for name, rows in store.everything().items() if name != "lease"})


def on_disk(store: Store) -> str:
    """All bytes of a SQLite file."""
    return str([place.data for place in database_files(store, "now")])


def ledger(store: Store) -> list[tuple[object, ...]]:
    return store.rows("SELECT * FROM report_run ORDER BY run_id")


def test_one_person_is_erased(standin: Standin, tmp_path: Path, database_url: str) -> None:
    """Not while a run holds the lease. Then: nowhere in tables, views and a SQLite file.

    The ledger says what it said. A person on the roster is read again by the next sync, as a new
    one. Neither output nor log ever holds an identifier or the pseudonym.
    """
    gone = person(standin, 3, privacies=1)
    standin.people[gone][SAFETY] = [safety(gone, "0", cause=CANARY)]
    persons(standin, range(4, 8), safeties=1)
    worker = standin.install(tmp_path, database_url)
    assert worker.sync().code == 0
    store = worker.store
    key: str = store.one(
        f"SELECT person_key FROM report_patient_safety_current WHERE cause = '{CANARY}'"
    )

    for between in ("\n", "\n" * 500):
        assert worker.run("erase", stdin=f"{gone}{between}{gone}\n".encode()).code == 2
    worker.configure(lease={"ttl_s": 15})  # who finds it held waits until it is renewed
    running = held_run(standin, worker, "sync", answers=0)
    before = dump(store)
    starts = worker.start("erase", stdin=gone.encode()), worker.start("sync")
    held, sync_held = (one.wait() for one in starts)
    assert (held.code, sync_held.code) == (4, 4)
    assert "another run holds the lease" in held.message
    assert "as `sync --wait 30m` does" in sync_held.message
    assert dump(store) == before
    worker.kill(running)

    runs, file_before = ledger(store), on_disk(store)
    erased, twice, stranger = calls(
        worker, ("erase --json", gone), ("erase", gone), ("erase --json", STRANGER)
    )
    assert erased.code == 0, erased.err
    assert erased.document["rows"] == {
        "patient_safety_version": 1,
        "patient_privacy_version": 1,
        "draft_patient_safety": 0,
        "draft_patient_privacy": 0,
        "draft_area": 0,
        "draft": 0,
        "person_area": 2,
        "person": 1,
    }
    for secret in (key, CANARY):
        assert (secret in before, secret in dump(store)) == (True, False)
        assert (secret in file_before, secret in on_disk(store)) == (store.is_sqlite, False)
    assert ledger(store) == runs
    assert store.one("SELECT count(*) FROM lease WHERE holder IS NOT NULL") == 0

    assert (twice.code, stranger.code) == (0, 0)
    assert twice.out.startswith("no person with this identifier is stored")
    assert twice.out.endswith("; nothing was erased\n")
    assert "nothing was erased: try again when the run has ended" in held.message
    assert (stranger.document["is_known"], stranger.document["rows"]) == (False, {})
    assert (stranger.document["next"], erased.document["is_rewritten"]) == (None, store.is_sqlite)
    assert "the next sync reads them again" in erased.out
    again = worker.sync()
    assert (again.code, again.run["totals"]["rows_opened"]) == (0, 2)
    assert store.one(f"SELECT count(*) FROM person WHERE person_key = '{key}'") == 1
    said = "".join(one.out + one.err for one in (held, sync_held, erased, twice, stranger, again))
    assert [one for one in (gone, STRANGER, key) if one in said] == []


def test_only_rewrite_locks_the_tables(standin: Standin, tmp_path: Path, postgresql_url: str):
    """VACUUM FULL replaces a table's file, and readers wait meanwhile."""
    worker = standin.install(tmp_path, postgresql_url)
    file = "SELECT pg_relation_filenode('person')"
    for call, is_rewritten in (("erase --json", False), ("erase --rewrite --json", True)):
        before = worker.store.one(file)
        (ended,) = calls(worker, (call, STRANGER))
        assert ended.document["is_rewritten"] is is_rewritten, ended.story()
        assert (worker.store.one(file) != before) is is_rewritten


def test_what_it_refuses(worker: Installation) -> None:
    """No identifier, one on the command line, and another key."""
    key = other_key(worker.folder)
    ends = calls(
        worker,
        ("erase --json", ""),
        ("erase --json", "123\n"),
        f"erase --json {STRANGER}",
        (f"erase --json --set privacy.pseudonym_key_file={key}", STRANGER),
    )
    assert [one.code for one in ends] == [2, 2, 2, 78]
    assert [one.out for one in ends[:2] if "123" in one.out] == []


@pytest.mark.promise("11")
def test_what_forgets_old_versions(sqlite_url: str, standin: Standin, tmp_path: Path):
    """A sync, if they are old by the date of the one before it: no backfill, and no lone clock.

    A purge that fails does not undo the run: it is logged, and done the next time.
    """
    off_id = person(standin, 1)
    worker = standin.install(tmp_path, sqlite_url)
    for cause in ("one", "two"):
        standin.people[off_id][SAFETY] = [safety(off_id, "0", cause=cause)]
        assert worker.sync().code == 0
    worker.store.rows("UPDATE run SET published_at = '2020-01-01T00:00:00.000000+00:00'")
    worker.configure(retention={"versions": "30d"})
    versions = "SELECT cause FROM patient_safety_version ORDER BY cause"
    lines = (tmp_path / "roster.csv").read_text(encoding="utf-8")
    backfill = worker.run("backfill", "--roster", "-", stdin=lines.encode())
    assert (backfill.code, backfill.run["status"]) == (0, "published")
    ends = [backfill, worker.sync()]
    assert [one.story() for one in ends if one.code or "retention." in one.err] == []

    worker.store.rows(
        "CREATE TRIGGER hinder BEFORE DELETE ON patient_safety_version FOR EACH ROW "
        "BEGIN SELECT * FROM nowhere; END"
    )
    ended = worker.sync()
    assert (ended.code, ended.run["status"]) == (0, "published")
    assert "retention.unfinished" in ended.err
    assert "Traceback" not in ended.err
    assert worker.store.rows(versions) == [("one",), ("two",)]
    assert worker.store.rows("SELECT holder FROM lease WHERE holder IS NOT NULL") == []
    worker.store.rows("DROP TRIGGER hinder")
    assert worker.sync().code == 0
    assert worker.store.rows(versions) == [("two",)]
