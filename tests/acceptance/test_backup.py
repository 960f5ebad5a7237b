"""A backup taken in the middle of a run is brought back, and no number is given twice."""

import shutil
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import make_url

from tests.support.acceptance.two_worlds import asked_since, first_world, second_world, settled
from tests.support.held import held_run
from tests.support.made_databases import MakeDatabase
from tests.support.program import Installation, wait_for
from tests.support.published import Store
from tests.support.standin import Standin


def numbers(store: Store) -> dict[str, set[int]]:
    """Every number that a reader may have copied."""
    return {
        "runs": {row[0] for row in store.rows("SELECT run_id FROM report_run")},
        "publications": {row[0] for row in store.rows("SELECT publication_no FROM publication")},
        "places": {row[0] for row in store.rows("SELECT seq FROM report_change_feed")},
        "versions": {
            row[0]
            for area in ("safety", "privacy")
            for row in store.rows(f"SELECT version_id FROM patient_{area}_version")
        },
        "persons": {row[0] for row in store.rows("SELECT person_id FROM person")},
    }


@pytest.mark.promise("3")
def test_a_backup_in_mid_run_is_brought_back(
    standin: Standin, sqlite_url: str, tmp_path: Path
) -> None:
    """Taken while a run writes, which is then killed; the next run continues.

    What was read until the backup is not read again, and numbers that were given since are not
    given again: the feed tells its followers to begin anew.
    """
    (tmp_path / "backups").mkdir(mode=0o700)
    place = tmp_path / "backups" / "pts.backup"
    first_world(standin)
    worker = standin.install(tmp_path / "worker", sqlite_url)
    assert worker.sync().code == 0
    second_world(standin)
    worker.roster(*standin.lines())
    running = held_run(standin, worker, "sync", answers=40)
    wait_for(lambda: settled(worker), "a batch")
    save_to(worker, place)
    assert oct(place.stat().st_mode & 0o777) == "0o600"
    assert list(place.parent.iterdir()) == [place]
    running.kill()
    worker.configure(sync={"batch_persons": 200, "concurrency": 16})
    ended = worker.sync()  # what comes after the backup, and is lost
    assert ended.code == 0
    followed, published = numbers(worker.store), worker.store.published()

    for path in worker.store.path.parent.glob("pts.db*"):
        path.unlink()
    ended = worker.run("db", "restore", str(place))
    assert ended.code == 0, ended.story()
    assert ended.document["restored"]["publication_no"] == 1
    assert worker.store.one("SELECT count(*) FROM lease WHERE holder IS NOT NULL") == 0
    kept, stood = settled(worker), numbers(worker.store)
    open_run = worker.store.one("SELECT run_id FROM run WHERE status = 'running'")
    assert kept, "nothing of the open run was in the backup"

    begin = len(standin.asked)
    ended = worker.sync()
    assert ended.code == 0, ended.story()
    assert ended.run["run_id"] == open_run
    assert kept & asked_since(standin, begin) == set()
    assert worker.store.published() == published

    for name, now in numbers(worker.store).items():
        assert (now - stood[name]) & followed[name] == set(), name
    check_followers(worker, followed, tmp_path / "out")


def check_followers(worker: Installation, followed: dict[str, set[int]], out: Path) -> None:
    """A follower who is ahead of the backup finds the entry, and everything that follows it."""
    last = max(followed["places"])
    feed = worker.store.rows(
        f"SELECT op, publication_no FROM report_change_feed WHERE seq > {last} ORDER BY seq"
    )
    assert feed[0][0] == "restore"
    assert {number for _, number in feed[1:]} == {feed[0][1] + 1}
    exported = worker.run(
        "export", "--since", str(max(followed["publications"])), "--out", str(out)
    )
    assert exported.code == 0, exported.story()
    rows = sum(view["rows"] for view in exported.document["views"])
    assert rows == len(feed)


def test_a_database_is_replaced_only_if_asked(worker: Installation, tmp_path: Path) -> None:
    """It stays without --replace; with it, it is as backed up, for open readers as well."""
    place = tmp_path / "backup.db"
    save_to(worker, place)
    before = worker.store.published()
    worker.store.rows("DELETE FROM patient_safety_version")
    with closing(sqlite3.connect(worker.store.path)) as reader:
        view = "SELECT count(*) FROM report_patient_safety_current"
        assert reader.execute(view).fetchone() == (0,)
        ended = worker.run("db", "restore", str(place))
        assert (ended.code, "--replace" in ended.message) == (78, True), ended.story()
        assert worker.store.published() != before
        ended = worker.run("db", "restore", str(place), "--replace")
        assert ended.code == 0, ended.story()
        assert reader.execute(view).fetchone() != (0,)
    assert worker.store.published() == before
    assert worker.run("db", "check").code == 0
    assert list(tmp_path.glob(".*.part*")) == []


def test_while_a_run_is_on_nothing_is_replaced(
    standin: Standin, make_sqlite: MakeDatabase, tmp_path: Path
) -> None:
    """Exit 4; the run goes on undisturbed, and a run that was stopped does not hinder."""
    first_world(standin)
    worker = standin.install(tmp_path / "worker", make_sqlite())
    place = tmp_path / "backup.db"
    save_to(worker, place)
    running = held_run(standin, worker, "sync", answers=20)
    for words in ((str(place), "--replace"), ("--in-place",)):
        ended = worker.run("db", "restore", *words)
        assert ended.code == 4, ended.story()
    running.signal(signal.SIGTERM)
    assert running.wait().code == 75
    assert worker.run("db", "restore", str(place), "--replace").code == 0
    assert worker.sync().code == 0


def refused(worker: Installation, path: Path) -> str:
    """What ``db restore`` says of a file: it names it, and changes and leaves nothing."""
    before = worker.store.path.read_bytes()
    ended = worker.run("db", "restore", str(path), "--replace")
    assert ended.code == 78, ended.story()
    assert worker.store.path.read_bytes() == before
    assert list(worker.store.path.parent.glob(".*.part*")) == []
    assert str(path) in ended.message
    assert ended.document["error"]["hint"], ended.story()
    return ended.message


def test_what_is_no_backup_of_this_database_is_refused(
    worker: Installation, tmp_path: Path
) -> None:
    """A cut file, a foreign database, another program's schema, another key."""
    place, cut, newer = (tmp_path / name for name in ("backup.db", "cut.db", "newer.db"))
    save_to(worker, place)
    cut.write_bytes(place.read_bytes()[:-5000])
    assert f"{cut} is damaged" in refused(worker, cut)
    cut.write_text("off_id\n")
    assert "is no SQLite database" in refused(worker, cut)
    assert "no such file" in refused(worker, tmp_path / "none.db")
    foreign = edited(tmp_path / "foreign.db", "CREATE TABLE lease (id INTEGER)")
    assert "has no tables of this program" in refused(worker, foreign)
    shutil.copy(place, newer)
    edited(newer, "UPDATE alembic_version SET version_num = '9999'")
    assert "is ahead: it is at 9999" in refused(worker, newer)
    edited(newer, "UPDATE alembic_version SET version_num = '0014'")
    assert "a development version made it" in refused(worker, newer)
    shutil.copy(place, newer)
    views = [name for name in worker.store.tables() if name.startswith("report_")]
    edited(newer, *(f"DROP VIEW {view}" for view in views), "DROP TABLE change_feed")
    message = refused(worker, newer)
    assert f"{newer} is no backup of this program, or is damaged" in message
    assert "it lacks change_feed" in message

    other = tmp_path / "other.key"
    other.write_bytes(bytes(range(32)))
    other.chmod(0o600)
    worker.configure(privacy={"pseudonym_key_file": str(other)})
    refused(worker, place)
    ended = worker.run("db", "backup", "--out", str(tmp_path / "again.db"))
    assert (ended.code, (tmp_path / "again.db").exists()) == (78, False)
    worker.configure(privacy={"pseudonym_key_file": "pseudonym.key"})
    edited(
        place,
        "CREATE TRIGGER access_log_x AFTER INSERT ON run_attempt BEGIN "
        "DELETE FROM patient_safety_version; END",
    )
    assert "has a trigger that this program did not make" in refused(worker, place)


def edited(path: Path, *statements: str) -> Path:
    """A SQLite file, after these statements."""
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()
    return path


def test_a_backup_overwrites_nothing(worker: Installation, tmp_path: Path) -> None:
    """Neither a file nor a link; nor is a database restored from itself."""
    (tmp_path / "link.db").symlink_to(tmp_path / "nowhere.db")
    (tmp_path / "there.db").write_text("mine")
    for name in ("link.db", "there.db"):
        ended = worker.run("db", "backup", "--out", str(tmp_path / name))
        assert (ended.code, "already exists" in ended.message) == (78, True), ended.story()
    assert not (tmp_path / "nowhere.db").exists()
    assert (tmp_path / "there.db").read_text() == "mine"
    (tmp_path / "self.db").symlink_to(worker.store.path)
    before = worker.store.published()
    ended = worker.run("db", "restore", str(tmp_path / "self.db"), "--replace")
    assert (ended.code, "self.db is the database" in ended.message) == (2, True), ended.story()
    assert worker.store.published() == before


def test_postgresql_has_tools_of_its_own(
    standin: Standin, make_postgres: MakeDatabase, tmp_path: Path
) -> None:
    """The message names them; `db upgrade` names the database, without user or password."""
    worker = standin.install(tmp_path / "worker", make_postgres())
    ended = worker.run("db", "upgrade")
    url = make_url(worker.database_url)
    place = f"{url.host or 'a socket'}:{url.port or 5432}/{url.database}"
    assert ended.document["database"] == place, ended.story()
    ended = worker.run("db", "backup", "--out", str(tmp_path / "x"))
    assert (ended.code, "pg_dump" in ended.message) == (78, True), ended.story()
    ended = worker.run("db", "restore", str(tmp_path / "x"))
    assert (ended.code, "pg_restore" in ended.message) == (78, True), ended.story()


def save_to(worker: Installation, place: Path) -> None:
    """Back a SQLite database up."""
    ended = worker.run("db", "backup", "--out", str(place))
    assert ended.code == 0, ended.story()
