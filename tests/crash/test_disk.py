"""A disk that is full: 69, nothing half-published; once there is room, the next run ends well.

In a night the database lies on a disk of its own that is filled. Always: no file of the process
may grow beyond a size (RLIMIT_FSIZE), which SQLite meets as a short write or EFBIG in the middle of
a transaction. What PostgreSQL says of its disk: ``tests/store/test_errors.py``.
"""

import re
import resource
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.crash.ground import Ground
from tests.support.made_databases import copy_of
from tests.support.program import DATABASE_PATIENCE_S, Ended

pytestmark = pytest.mark.promise("3")


def assert_explained(ended: Ended, place: str) -> None:
    """69 with the reason, the place and what to do."""
    said = ended.out + ended.err
    assert ended.code == 69, said
    assert "the database is unavailable" in said
    assert place in said
    assert "free space on its disk" in said or "its disk may be faulty" in said
    assert "Traceback" not in said


def test_no_file_may_grow(on_sqlite: Ground):
    """Within the run: its next batch has room for one page."""
    worker = on_sqlite.worker()
    worker.constants[DATABASE_PATIENCE_S] = 2.0
    running = on_sqlite.begun(worker)
    room = worker.store.path.with_name("pts.db-wal").stat().st_size + 5_000
    resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, (room, room))
    ended = running.wait()
    assert_explained(ended, str(worker.store.path))
    assert "disk" in ended.out + ended.err
    assert on_sqlite.before == on_sqlite.seen(worker)
    on_sqlite.assert_recovers(worker)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of eight megabytes; where mounting is not allowed the test is skipped."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m,mode=0700", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, check=False).returncode:
        pytest.skip("NOT TESTED: no disk may be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.nightly
@pytest.mark.parametrize("when", ["from the start", "within the run"])
def test_the_disk_is_full(on_sqlite: Ground, small_disk: Path, when: str):
    """SQLite's message names the disk; so do the commands that only look."""
    ballast = small_disk / "ballast"
    worker = on_sqlite.install(copy_of(on_sqlite.base, small_disk / "database"))
    worker.constants[DATABASE_PATIENCE_S] = 2.0
    running = on_sqlite.begun(worker) if when == "within the run" else None
    with suppress(OSError), ballast.open("ab", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    ended = running.wait() if running else on_sqlite.sync(worker)
    said = ended.out + ended.err  # the latter where not even the index of the log has room
    assert re.search("disk is full|disk I/O error", said), said
    assert_explained(ended, f"KiB are free on the disk of {worker.store.path}")
    assert worker.run("status").code == 0
    # The end of the run may have freed a few KiB.
    assert f"KiB are free on the disk of {worker.store.path}" in worker.run("doctor").out
    ballast.unlink()
    assert on_sqlite.before == on_sqlite.seen(worker)
    on_sqlite.assert_recovers(worker)
