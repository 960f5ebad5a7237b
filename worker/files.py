"""Atomic writes: a file is written completely or not at all."""

import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from worker.errors import ConfigurationError, reason_of

_REMEDIES: Final = {
    errno.ENOENT: "create the folder first",
    errno.EACCES: "allow this account to create files in the folder",
    errno.EROFS: "it is mounted read-only; under systemd, name the folder in ReadWritePaths=",
    errno.ENOSPC: "free space on that disk",
    errno.EISDIR: "name a file in it",
}


@contextmanager
def convert_write_errors(path: Path) -> Iterator[None]:
    """Convert an ``OSError`` of the file system to a ``ConfigurationError``.

    Inside a database transaction an ``OSError`` would count as a lost connection and be retried.

    Raises:
        ConfigurationError: the file or folder cannot be written.
    """
    try:
        yield
    except FileExistsError:
        raise ConfigurationError(
            f"{path} already exists and was not overwritten", hint="choose another name"
        ) from None
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be written ({reason_of(error)})",
            hint=_REMEDIES.get(error.errno or 0, "check the folder and its disk"),
        ) from error


def is_missing(path: Path) -> bool:
    """Whether no file or folder has this name. False if that cannot be determined."""
    try:
        path.stat()
    except OSError as error:
        return isinstance(error, (FileNotFoundError, NotADirectoryError))
    return False


def write_atomically(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Replace a file atomically: readers see the old or the new content, never a part.

    Only a crash can leave a temporary file behind: a hidden file with the suffix ``.part``.

    Raises:
        OSError: the file cannot be written, or is a device or a stream. The old content remains,
            and no temporary file.
    """
    _require_plain(path)
    descriptor, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        # The content is on the disk before the rename: a crash must not leave an empty file.
        _fill(descriptor, content, mode)
        os.replace(part, path)  # noqa: PTH105 - all steps of a write use os
    except BaseException:
        with suppress(OSError):
            os.unlink(part)  # noqa: PTH108 - as above
        raise


def write_new(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Create a file with this mode. Never overwrites.

    Raises:
        FileExistsError: the file already exists.
        OSError: the file cannot be written. No partial file remains.
    """
    # Private until the content is complete: ``_fill`` sets the final mode.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        _fill(descriptor, content, mode)
    except BaseException:
        with suppress(OSError):
            os.unlink(path)  # noqa: PTH108 - as above
        raise


def _require_plain(path: Path) -> None:
    """Refuse to replace a device, a pipe or a link to an open file such as ``/dev/stdout``.

    Root may replace ``/dev/null``, which would break all other programs.

    Raises:
        OSError: the path is one of them.
    """
    try:
        is_plain = stat.S_ISREG(path.stat().st_mode)
    except FileNotFoundError:
        return
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "it is a folder")
    # ``/dev/stdout`` is a link to ``/proc/self/fd/1``, which may lead to a plain file.
    if not is_plain or (path.is_symlink() and str(path.readlink()).startswith("/proc/")):
        raise OSError(errno.EINVAL, "it is not a plain file")


def _fill(descriptor: int, content: bytes, mode: int) -> None:
    """Write the content to the open file, sync it to disk and close it."""
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fchmod(descriptor, mode)  # the umask does not apply
        os.fsync(descriptor)
