"""A disk that is full: 69, nothing half-published; once there is room, the next run ends well.

In a night the database lies on a disk of its own that is filled: a SQLite file, or the tablespace
of a PostgreSQL, whose server then refuses a statement with 53100. Always: no file of the process
may grow beyond a size (RLIMIT_FSIZE), which SQLite meets as a short write or EFBIG in the middle of
a transaction.
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
from tests.support.crash.ground import Databases, Ground
from tests.support.databases import execute, in_database
from tests.support.program import Ended, Installation
from tests.support.published import Store

pytestmark = pytest.mark.promise("3")

IN_IT = (
    "SELECT datname FROM pg_database JOIN pg_tablespace t ON t.oid = dattablespace "
    "WHERE spcname = 'small_disk'"
)
WHEN = pytest.mark.parametrize("when", ["from the start", "within the run"])


def assert_explained(ended: Ended, place: str) -> None:
    """69 with the reason, the place and what to do."""
    said = ended.out + ended.err
    assert ended.code == 69, said
    assert "the database is unavailable" in said
    assert place in said
    assert "room" in said
    assert "Traceback" not in said


def test_no_file_may_grow(on_sqlite: Ground):
    """Within the run: its next batch has room for one page."""
    worker = on_sqlite.worker()
    running = on_sqlite.begun(worker)
    room = worker.store.path.with_name("pts.db-wal").stat().st_size + 5_000
    resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, (room, room))
    ended = running.wait()
    assert_explained(ended, str(worker.store.path))
    assert "disk" in ended.out + ended.err
    assert on_sqlite.before == on_sqlite.seen(worker)
    on_sqlite.assert_recovers(worker)


@pytest.mark.nightly
@WHEN
def test_the_disk_is_full(on_sqlite: Ground, when: str):
    """SQLite's message names the disk."""
    with small_disk(8) as disk:
        databases = Databases(template=on_sqlite.base, folder=disk.folder)
        worker = on_sqlite.install(databases.copy(on_sqlite.base))
        ended = run_full(on_sqlite, worker, disk, when)
        said = ended.out + ended.err  # the latter where not even the index of the log has room
        assert re.search("disk is full|disk I/O error", said), said
        assert_explained(ended, f"MiB are free beside {worker.store.path}")
        if when == "from the start":  # later there is room in the index of the log, to read
            for command in ("status", "doctor"):
                assert_explained(worker.run(command), f"MiB are free beside {worker.store.path}")
        disk.make_room()
        assert on_sqlite.before == on_sqlite.seen(worker)
        on_sqlite.assert_recovers(worker)


@pytest.mark.nightly
@WHEN
def test_the_disk_of_postgresql_is_full(on_postgres: Ground, when: str):
    """The server refuses the statement, which is not tried again."""
    with small_tablespace(on_postgres) as (disk, databases):
        worker = on_postgres.install(databases.copy(on_postgres.base))
        ended = run_full(on_postgres, worker, disk, when)
        assert "No space left on device" in ended.out + ended.err
        assert_explained(ended, "asked was")
        disk.make_room()
        assert on_postgres.before == on_postgres.seen(worker)
        on_postgres.assert_recovers(worker)


def run_full(ground: Ground, worker: Installation, disk: SmallDisk, when: str) -> Ended:
    """A run whose disk is full, from its start or after a batch."""
    if when == "from the start":
        disk.fill()
        return ground.sync(worker)
    running = ground.begun(worker)
    disk.fill()
    return running.wait()


@contextmanager
def small_tablespace(ground: Ground) -> Iterator[tuple[SmallDisk, Databases]]:
    """Databases on a disk of their own."""
    databases, server = ground.databases, in_database(ground.base, "postgres")
    owner = Path(Store(server).one("SHOW data_directory")).stat().st_uid
    with small_disk(32, owner=owner) as disk:
        location = disk.folder / "tablespace"
        location.mkdir(mode=0o700)
        shutil.chown(location, owner)
        create = f"CREATE TABLESPACE small_disk LOCATION '{location}'"
        anyio.run(execute, server, create)
        try:
            yield disk, replace(databases, tablespace="small_disk")
        finally:
            # Also after a failure: a server that misses a disk writes no checkpoint any more.
            disk.make_room()
            for (name,) in Store(server).rows(IN_IT):
                anyio.run(execute, server, f"DROP DATABASE {name} WITH (FORCE)")
            anyio.run(execute, server, "DROP TABLESPACE small_disk")
