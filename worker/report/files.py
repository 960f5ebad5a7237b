"""Files that are whole or not there, and that only their owner can read."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
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
    except OSError as fault:
        raise ConfigurationError(
            f"{what} cannot be written ({fault.strerror or type(fault).__name__})",
            hint="check the folder, its permissions and the space on the disk",
        ) from fault


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
    number, temporary = tempfile.mkstemp(dir=folder, prefix=f".{name}.", suffix=".part")
    return os.fdopen(number, "wb"), Path(temporary)


def write_private(path: Path, content: bytes) -> None:
    """Write a file of mode 0600 at once: readers see the old one or the new one.

    Raises:
        ConfigurationError: it cannot be written; nothing is left behind.
    """
    with named_faults(path):
        stream, temporary = new_private(path.parent, path.name)
        try:
            with stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
