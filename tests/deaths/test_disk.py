"""A disk that is full, and a database that may not be written.

The disk is full for one process: no file of it may grow beyond a size (RLIMIT_FSIZE), which SQLite
meets as a short write or EFBIG, like a full disk's ENOSPC, in the middle of a transaction. For
PostgreSQL it would have to be a small file system or a quota of its own, which needs rights that a
test has not; a server without room refuses a statement with 53100, which is not tried again, or
crashes, which ``test_postgres.py`` shows.
"""

import re
import resource
import stat
from collections.abc import Iterator
from contextlib import contextmanager

import anyio
import pytest

from tests.acceptance.program import Store, wait_for
from tests.databases import execute
from tests.deaths.ground import Ground, PostgresDatabases, has_begun, name_of

ROOM_AT_FIRST = 24 * 1024
"""Enough for logs and for a few pages of the write-ahead log."""


@pytest.mark.parametrize("when", ["from the start", "within the run"])
def test_the_disk_is_full(on_sqlite: Ground, when: str):
    """69, nothing half-published; once there is room the next run ends like the twin's."""
    worker = on_sqlite.worker()
    running = on_sqlite.start(worker)
    room = ROOM_AT_FIRST
    if when == "within the run":
        wait_for(lambda: has_begun(running), "the run")
        wait_for(lambda: _written(on_sqlite, worker.database_url), "a batch")
        room = worker.store.path.with_name("pts.db-wal").stat().st_size + 5_000
    resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, (room, room))
    ended = running.wait()
    assert 69 == ended.code, ended.out + ended.err
    said = ended.out + ended.err
    assert "the database is unavailable" in said
    assert "disk" in said
    assert "room" in said
    assert "Traceback" not in said
    assert on_sqlite.before == on_sqlite.seen(worker)
    on_sqlite.assert_recovers(worker)


def _written(ground: Ground, url: str) -> int:
    copy = ground.databases.copy(url)
    found: int = Store(copy).one("SELECT count(*) FROM person_area WHERE run_id = 2")
    ground.databases.drop(copy)
    return found


@contextmanager
def read_only(ground: Ground, url: str, *, folder_too: bool) -> Iterator[None]:
    """A database that may not be written meanwhile."""
    if isinstance(ground.databases, PostgresDatabases):
        alter = f"ALTER DATABASE {name_of(url)}"
        server = ground.databases.server
        anyio.run(execute, server, f"{alter} SET default_transaction_read_only = on")
        yield
        anyio.run(execute, server, f"{alter} RESET default_transaction_read_only")
        return
    paths = [Store(url).path, *([Store(url).path.parent] if folder_too else [])]
    for path in paths:
        path.chmod(path.stat().st_mode & ~0o222)
    yield
    for path in reversed(paths):
        path.chmod(path.stat().st_mode | stat.S_IWUSR)


def test_the_database_may_not_be_written(ground: Ground):
    """69 with the reason and what to do; nothing changes; once it may, the next run publishes."""
    _try_read_only(ground, folder_too=False)


def test_the_folder_may_not_be_written_either(on_sqlite: Ground):
    """Nor where SQLite cannot lay its log beside the file."""
    _try_read_only(on_sqlite, folder_too=True)


def _try_read_only(ground: Ground, *, folder_too: bool) -> None:
    worker = ground.worker()
    with read_only(ground, worker.database_url, folder_too=folder_too):
        ended = ground.zygote.start(
            "--config",
            str(worker.config),
            "sync",
            "--json",
            folder=worker.folder,
            obeys_modes=True,
        ).wait()
        assert 69 == ended.code, ended.out + ended.err
        assert re.search("read-?only|unable to open", ended.message), ended.message
        assert "may be written" in ended.message
        assert "Traceback" not in ended.err
    assert ground.before == worker.store.published()
    ground.assert_recovers(worker)
