"""A disk that is full.

The database lies on a disk of its own that is filled: a SQLite file, or the tablespace of a
PostgreSQL, whose server then refuses a statement with 53100. Where a test may not mount one, no
file of the process may grow beyond a size (RLIMIT_FSIZE), which SQLite meets as a short write or
EFBIG in the middle of a transaction; and the server is told to refuse the statement (a trigger).
"""

import re
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from tests.support.crash.disks import SmallDisk, small_disk
from tests.support.crash.ground import WRITTEN, Ground, PostgresDatabases, SqliteFiles, has_begun
from tests.support.databases import execute
from tests.support.program import Ended, Installation, Running, wait_for
from tests.support.published import Store

pytestmark = pytest.mark.promise("3")

ROOM_AT_FIRST = 24 * 1024
"""Enough for logs and for a few pages of the write-ahead log."""
IN_IT = (
    "SELECT datname FROM pg_database JOIN pg_tablespace t ON t.oid = dattablespace "
    "WHERE spcname = 'small_disk'"
)
WHEN = pytest.mark.parametrize("when", ["from the start", "within the run"])


@WHEN
def test_the_disk_is_full(on_sqlite: Ground, when: str):
    """69, nothing half-published; once there is room the next run ends like the twin's."""
    with small_disk(8) as disk:
        if disk is None:
            _try_limit(on_sqlite, when)
            return
        template = Store(on_sqlite.base).path
        databases = SqliteFiles(folder=disk.folder, template=template)
        worker = on_sqlite.install(databases.copy(on_sqlite.base))
        ended = _run_full(on_sqlite, worker, disk, when)
        said = ended.out + ended.err  # the latter where not even the index of the log has room
        assert re.search("disk is full|disk I/O error", said), said
        _assert_explained(ended)
        disk.make_room()
        assert on_sqlite.before == on_sqlite.seen(worker)
        on_sqlite.assert_recovers(worker)


@WHEN
def test_the_disk_of_postgresql_is_full(on_postgres: Ground, when: str):
    """So it is where the server has no room: it refuses the statement, which is not tried again."""
    with on_small_tablespace(on_postgres) as (disk, databases):
        worker = on_postgres.install(databases.copy(on_postgres.base))
        if disk is None:
            ended = _run_refused(on_postgres, worker, when)
            assert "no room" in ended.out + ended.err
        else:
            ended = _run_full(on_postgres, worker, disk, when)
            assert "No space left on device" in ended.out + ended.err
        _assert_explained(ended)
        if disk is not None:
            disk.make_room()
        assert on_postgres.before == on_postgres.seen(worker)
        on_postgres.assert_recovers(worker)


def _run_full(ground: Ground, worker: Installation, disk: SmallDisk, when: str) -> Ended:
    """A run whose disk is full, from its start or after a batch."""
    if when == "from the start":
        disk.fill()
        return ground.sync(worker)
    running = _with_a_batch(ground, worker)
    disk.fill()
    return running.wait()


def _with_a_batch(ground: Ground, worker: Installation) -> Running:
    running = ground.start(worker)
    wait_for(lambda: has_begun(running), "the run")
    wait_for(lambda: _written(ground, worker), "a batch")
    return running


def _assert_explained(ended: Ended) -> None:
    """69 with the reason and what to do."""
    said = ended.out + ended.err
    assert ended.code == 69, said
    assert "the database is unavailable" in said
    assert "room" in said
    assert "Traceback" not in said


def _try_limit(ground: Ground, when: str) -> None:
    worker = ground.worker()
    room = ROOM_AT_FIRST
    if when == "within the run":
        running = _with_a_batch(ground, worker)
        room = worker.store.path.with_name("pts.db-wal").stat().st_size + 5_000
    else:
        running = ground.start(worker)
    resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, (room, room))
    ended = running.wait()
    assert "disk" in ended.out + ended.err
    _assert_explained(ended)
    assert ground.before == ground.seen(worker)
    ground.assert_recovers(worker)


def _run_refused(ground: Ground, worker: Installation, when: str) -> Ended:
    """A run whose server says that its disk is full, from the start or from the second batch on."""
    floor = 0 if when == "from the start" else 10
    worker.store.rows(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"IF (SELECT count(*) FROM person_area WHERE run_id = 2) >= {floor} THEN "
        "RAISE 'no room' USING ERRCODE = '53100'; END IF; RETURN NEW; END $$"
    )
    worker.store.rows(
        "CREATE TRIGGER full_disk BEFORE INSERT OR UPDATE ON person_area "
        "FOR EACH ROW EXECUTE FUNCTION refuse()"
    )
    ended = ground.sync(worker)
    worker.store.rows("DROP TRIGGER full_disk ON person_area")
    return ended


@contextmanager
def on_small_tablespace(
    ground: Ground,
) -> Iterator[tuple[SmallDisk | None, PostgresDatabases]]:
    """Databases on a disk of their own, if there can be one; else where the others are."""
    databases = ground.databases
    assert isinstance(databases, PostgresDatabases)
    data = Path(Store(databases.server).one("SHOW data_directory"))
    with small_disk(32, owner=data.stat().st_uid) as disk:
        if disk is None:
            yield None, databases
            return
        location = disk.folder / "tablespace"
        location.mkdir(mode=0o700)
        shutil.chown(location, data.stat().st_uid)
        create = f"CREATE TABLESPACE small_disk LOCATION '{location}'"
        anyio.run(execute, databases.server, create)
        try:
            yield disk, replace(databases, tablespace="small_disk")
        finally:
            # Also after a failure: a server that misses a disk writes no checkpoint any more.
            disk.make_room()
            for (name,) in Store(databases.server).rows(IN_IT):
                anyio.run(execute, databases.server, f"DROP DATABASE {name} WITH (FORCE)")
            anyio.run(execute, databases.server, "DROP TABLESPACE small_disk")


def _written(ground: Ground, worker: Installation) -> int:
    """What the run has written so far; of a SQLite file a copy is looked at."""
    if not worker.store.is_sqlite:
        return int(worker.store.one(WRITTEN))
    copy = ground.databases.copy(worker.database_url)
    found = int(Store(copy).one(WRITTEN))
    ground.databases.drop(copy)
    return found
