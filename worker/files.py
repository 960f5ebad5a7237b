"""Atomic writes: a file is written completely or not at all."""

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from worker.errors import ConfigurationError


@contextmanager
def named_faults(what: Path) -> Iterator[None]:
    """Convert an ``OSError`` of the file system to a ``ConfigurationError``.

    Inside a database transaction an ``OSError`` would count as a lost connection and be retried.

    Raises:
        ConfigurationError: the file or folder cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise ConfigurationError(
            f"{what} cannot be written ({error.strerror or type(error).__name__})",
            hint="check the folder, its permissions and the free disk space",
        ) from error


def private_mode(*, is_group_readable: bool) -> int:
    """Of a file that only its owner can use, or that its group can read as well."""
    return 0o640 if is_group_readable else 0o600


def mode_within(folder: Path) -> int:
    """Of a file that holds no secret: who may read its folder may read it."""
    try:
        return 0o600 | (folder.stat().st_mode & 0o044)
    except OSError:
        return 0o600


def is_missing(path: Path) -> bool:
    """Whether there is nothing of this name. False if that cannot be seen."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def make_folder(path: Path) -> None:
    """Create the folder with mode 0700 if it does not exist.

    Raises:
        ConfigurationError: the folder cannot be created, or a file is there.
    """
    if path.is_file():
        raise ConfigurationError(f"{path} is a file", hint="name a folder; it is made if need be")
    with named_faults(path):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)


def new_folder(parent: Path, name: str) -> Path:
    """Create a hidden temporary folder with mode 0700 beside the one that it will replace.

    Only a crash can leave it behind; its name ends with ``.part``.

    Raises:
        OSError: the folder cannot be created.
    """
    return Path(tempfile.mkdtemp(dir=parent, prefix=f".{name}.", suffix=".part"))


def create_private(folder: Path, name: str) -> BinaryIO:
    """Create a file with mode 0600 below a folder; folders of its name are made with mode 0700.

    Raises:
        OSError: the file cannot be created, or exists.
    """
    for parent in reversed(Path(name).parents[:-1]):
        (folder / parent).mkdir(mode=0o700, exist_ok=True)
    return os.fdopen(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def replace_folder(temporary: Path, target: Path) -> None:
    """Give a folder another's name and remove that one with all that it holds.

    Between two renames there is no folder of the name; a crash there leaves both under hidden names
    that end with ``.part``.

    Raises:
        OSError: a folder cannot be renamed or removed; the target is the old or the new one.
    """
    if not target.exists():
        temporary.rename(target)
        return
    former = new_folder(target.parent, target.name)
    try:
        target.rename(former)
        temporary.rename(target)
    except OSError:
        if not target.exists():
            former.rename(target)
        else:
            former.rmdir()
        raise
    shutil.rmtree(former)


def write_private(path: Path, content: bytes) -> None:
    """Write a file with mode 0600; see ``write_atomically``.

    Raises:
        ConfigurationError: the file cannot be written; no temporary file remains.
    """
    with named_faults(path):
        write_atomically(path, content)


def write_atomically(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Replace a file atomically: readers see the old or the new content, never a part.

    Only a crash can leave a temporary file behind: a hidden file with the suffix ``.part``.

    Raises:
        OSError: the file cannot be written, or is a device or a stream; the old content and no
            temporary file remain.
    """
    _require_plain(path)
    number, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    temporary = Path(name)
    try:
        _fill(number, content, mode)
        os.replace(temporary, path)  # noqa: PTH105 - all steps of a write use os
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)  # noqa: PTH108 - as above
        raise


def write_new(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Create a file with this mode; never overwrites.

    Raises:
        FileExistsError: the file already exists.
        OSError: the file cannot be written; no partial file remains.
    """
    number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        _fill(number, content, mode)
    except BaseException:
        with suppress(OSError):
            os.unlink(path)  # noqa: PTH108 - as above
        raise


def _require_plain(path: Path) -> None:
    """Refuse to replace a device, a pipe or what stands for an open file, as ``/dev/stdout``.

    Root may replace them, and no program would work after that.

    Raises:
        OSError: it is one of them.
    """
    try:
        is_plain = stat.S_ISREG(path.stat().st_mode)
    except FileNotFoundError:
        return
    if not is_plain or (path.is_symlink() and str(path.readlink()).startswith("/proc/")):
        raise OSError(errno.EINVAL, "it is not a plain file")


def _fill(number: int, content: bytes, mode: int) -> None:
    """Write the content to the open file, sync it to disk and close it."""
    with os.fdopen(number, "wb") as file:
        file.write(content)
        file.flush()
        os.fchmod(number, mode)
        os.fsync(number)
