"""``db upgrade`` and ``db check``: a new database, and schemas of other programs."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from tests.support.databases import execute, in_database
from tests.support.made_databases import BOTH, fresh_database
from tests.support.program import Installation, calls
from tests.support.standin import Standin, person
from worker.store.schema.upgrade import HEAD

DEVELOPMENT = "1001"
REFUSED = {
    DEVELOPMENT: ("is at 1001", "which a full sync fills", ("sync", "db upgrade")),
    "9999": (
        "is at 9999",
        "run the version of the program that created it",
        ("sync", "db upgrade"),
    ),
    None: ("no tables of this program", "pts-worker db upgrade", ("sync",)),
}
"""By revision: what the message says, what helps, and who says it beside ``db check``."""


@pytest.fixture(params=BOTH)
def worker(request: pytest.FixtureRequest, standin: Standin, tmp_path: Path) -> Installation:
    """A worker with something published."""
    person(standin, 1, safeties=1)
    made = standin.install(tmp_path, fresh_database(request))
    assert made.sync().code == 0
    return made


@pytest.mark.promise("12")
def test_another_schema_is_refused(worker: Installation) -> None:
    """With what helps, and no row is written; ours is taken. Tables may have had other names."""
    worker.store.rows("ALTER TABLE store_identity RENAME TO tenant")
    for found, (says, helps, commands) in REFUSED.items():
        worker.store.rows("DELETE FROM alembic_version")
        if found is not None:
            worker.store.rows(f"INSERT INTO alembic_version VALUES ('{found}')")
        before = worker.store.everything()
        for ended in calls(worker, *(f"{command} --json" for command in (*commands, "db check"))):
            assert ended.code == 78, ended.story()
            assert says in ended.message
            assert helps in ended.document["error"]["hint"]
        assert worker.store.everything() == before
    worker.store.rows("ALTER TABLE tenant RENAME TO store_identity")
    worker.store.rows(f"INSERT INTO alembic_version VALUES ('{HEAD}')")
    assert calls(worker, "db check --json")[0].code == 0
    worker.store.rows("UPDATE patient_safety_version SET restriction_group = 'none'")
    outdated, _, corrected = calls(worker, "db check --json", "db upgrade", "db check --json")
    assert (outdated.code, corrected.code) == (78, 0)
    assert outdated.message.startswith("1 restrictions have a stored meaning that differs")


def test_a_file_of_another_program_gets_no_tables(standin: Standin, tmp_path: Path) -> None:
    """`db upgrade` names the tables of the other program."""
    file = tmp_path / "patients.db"
    with closing(sqlite3.connect(file)) as database:
        database.execute("CREATE TABLE x_ray (id)")
    file.chmod(0o600)
    worker = standin.install(tmp_path, f"sqlite:///{file}")
    (refused,) = calls(worker, "db upgrade --json")
    assert refused.code == 78
    assert "tables of another program (x_ray)" in refused.message
    with closing(sqlite3.connect(file)) as database:
        assert database.execute("SELECT name FROM sqlite_master").fetchall() == [("x_ray",)]


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_an_encoding_that_cannot_hold_every_text(
    standin: Standin, postgres_url: str, tmp_path: Path, encoding: str
) -> None:
    """It is refused before anything is written, not in the night with the first such text."""
    name = f"pts_{encoding.lower()}"
    made = f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C'"
    anyio.run(execute, postgres_url, made)
    worker = standin.install(tmp_path, in_database(postgres_url, name))
    for ended in calls(worker, "db upgrade --json", "sync --json"):
        assert (ended.code, encoding in ended.message) == (78, True), ended.story()
        assert "ENCODING 'UTF8'" in ended.document["error"]["hint"]
    assert encoding in worker.run("doctor").out
    anyio.run(execute, postgres_url, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=BOTH)
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database without tables; on SQLite, without a file."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'pts.db'}"
        return
    server = request.getfixturevalue("postgres_url")
    anyio.run(execute, server, "CREATE DATABASE pts_none")
    yield in_database(server, "pts_none")
    anyio.run(execute, server, "DROP DATABASE pts_none WITH (FORCE)")


def test_several_upgrades_at_once(standin: Standin, empty_url: str, tmp_path: Path) -> None:
    """One works, and the others wait for it; all of them succeed."""
    worker = standin.install(tmp_path, empty_url)
    running = [worker.start("db", "upgrade") for _ in range(4)]
    for ended in [one.wait() for one in running]:
        assert ended.code == 0, ended.story()
        assert ended.document["schema"]["after"] == HEAD
    assert worker.store.rows("SELECT * FROM alembic_version") == [(HEAD,)]
    assert worker.store.rows("SELECT id FROM store_identity") == [(1,)]
    assert worker.run("db", "check").code == 0
