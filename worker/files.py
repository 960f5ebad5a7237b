"""The one place where files are written: each is whole or not there, whatever goes wrong."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from worker.errors import ConfigurationError


@contextmanager
def named_faults(what: Path) -> Iterator[None]:
    """Tell a fault of the file system as an error with a name.

    It must not pass through the database's transaction as it is: there an ``OSError`` is a lost
    connection, to be tried again.

    Raises:
        ConfigurationError: the file or folder cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise ConfigurationError(
            f"{what} cannot be written ({error.strerror or type(error).__name__})",
            hint="check the folder, its permissions and the space on the disk",
        ) from error


def make_folder(path: Path) -> None:
    """Make the folder, mode 0700, if there is none.

    Raises:
        ConfigurationError: it cannot be made.
    """
    with named_faults(path):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)


def new_private(folder: Path, name: str) -> tuple[BinaryIO, Path]:
    """An open new file in the folder, mode 0600, under a temporary name, and that name.

    Raises:
        OSError: it cannot be made.
    """
    number, temporary = _new(folder, name)
    return os.fdopen(number, "wb"), temporary


def write_private(path: Path, content: bytes) -> None:
    """Write a file of mode 0600 at once; see ``write_whole``.

    Raises:
        ConfigurationError: it cannot be written; nothing is left behind.
    """
    with named_faults(path):
        write_whole(path, content)


def write_whole(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Write a file at once: readers see the old one or the new one, and never a part.

    Only a death in between leaves something beside it: a hidden file whose name ends in ``.part``.

    Raises:
        OSError: it cannot be written; the old one stands, and nothing is left behind.
    """
    number, temporary = _new(path.parent, path.name)
    try:
        _fill(number, content, mode)
        os.replace(temporary, path)  # noqa: PTH105 - every step of a write is one of this module's
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)  # noqa: PTH108 - as above
        raise


def write_new(path: Path, content: bytes) -> None:
    """Write a new file of mode 0600, and never over an old one.

    Raises:
        FileExistsError: there is one.
        OSError: it cannot be written; nothing is left behind.
    """
    number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        _fill(number, content, 0o600)
    except BaseException:
        with suppress(OSError):
            os.unlink(path)  # noqa: PTH108 - as above
        raise


def _new(folder: Path, name: str) -> tuple[int, Path]:
    number, temporary = tempfile.mkstemp(dir=folder, prefix=f".{name}.", suffix=".part")
    return number, Path(temporary)


def _fill(number: int, content: bytes, mode: int) -> None:
    """Give the open file its content, on the disk and not only on the way there, and close it."""
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(number, rest) :]
        os.fchmod(number, mode)
        os.fsync(number)
    finally:
        os.close(number)
