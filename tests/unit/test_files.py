"""Files are whole or not there, on a disk that takes only so much."""

import os
import resource
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from worker.errors import ConfigurationError
from worker.files import convert_write_errors, write_atomically, write_new


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """The kernel refuses to let a file grow beyond so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_file_is_replaced_at_once_or_stands(tmp_path: Path) -> None:
    """A write that fails half-way leaves the old content, and nothing beside it."""
    path = tmp_path / "numbers.prom"
    write_atomically(path, b"old", mode=0o644)
    assert oct(stat.S_IMODE(path.stat().st_mode)) == oct(0o644)
    with files_of_at_most(4), pytest.raises(OSError, match="File too large"):
        write_atomically(path, b"new and longer")
    assert (b"old", [path]) == (path.read_bytes(), list(tmp_path.iterdir()))


def test_a_new_file_is_complete_or_not_there(tmp_path: Path) -> None:
    """Half a key would stand in the way of the next try for ever."""
    path = tmp_path / "client.jwk"
    with files_of_at_most(4), pytest.raises(OSError, match="File too large"):
        write_new(path, b"a whole key")
    assert list(tmp_path.iterdir()) == []
    write_new(path, b"a whole key")
    with pytest.raises(FileExistsError):
        write_new(path, b"another")
    assert path.read_bytes() == b"a whole key"


def unread(found: os.stat_result) -> tuple[int, ...]:
    """All but the time of access: following a link may set it."""
    return found.st_ino, found.st_mode, found.st_nlink, found.st_size, found.st_mtime_ns


@pytest.mark.parametrize("target", ["/dev/full", "/proc/self/fd/0", "/proc/self/fd/{}", None])
def test_devices_and_streams_are_not_replaced(tmp_path: Path, target: str | None):
    """``--out /dev/null`` by root must not put a file in its place; nor a file for /dev/stdout."""
    path = tmp_path / "out"
    opened = os.open(tmp_path / "opened", os.O_RDWR | os.O_CREAT)
    if target is None:
        os.mkfifo(path)
    else:
        path.symlink_to(target.format(opened))
    before = unread(path.lstat())
    with pytest.raises(ConfigurationError, match="not a plain file"), convert_write_errors(path):
        write_atomically(path, b"x")
    os.close(opened)
    assert before == unread(path.lstat())
