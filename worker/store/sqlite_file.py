"""The file of a SQLite database: whether it is there, can be written and has room.

SQLite gives the mode of the file to what it keeps beside it (its source, ``findCreateFileMode``),
so both are right if the file was made so. Who else may reach it: ``worker.trusted_files``.
"""

import os
import shlex
import shutil
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from sqlalchemy import URL

from worker.errors import ConfigurationError, SchemaError
from worker.files import is_missing, private_mode
from worker.trusted_files import SQLITE_SUFFIXES, examine_sqlite

_FILES: Final = ("", *SQLITE_SUFFIXES)
_MIB: Final = 1024 * 1024
_ROOM_BYTES_MIN: Final = 64 * _MIB
_SHARED_BYTES: Final = 32 * 1024
"""What SQLite makes at least of the ``-shm`` beside a database."""


def file_of(url: URL) -> Path | None:
    """The absolute path of a database's file; None for a server."""
    return Path(str(url.database)).absolute() if url.get_backend_name() == "sqlite" else None


def is_there(url: URL) -> bool:
    """False for a SQLite file that does not exist; opening it would create it."""
    file = file_of(url)
    return file is None or not is_missing(file)


def require_file(url: URL) -> None:
    """Refuse a SQLite file that does not exist, instead of creating an empty one.

    Raises:
        SchemaError: the file does not exist.
    """
    if not is_there(url):
        raise SchemaError(
            f"there is no database file {file_of(url)} (database.url)",
            hint="name the configuration with --config, or the file in database.url; only for a "
            "new database run `pts-worker db upgrade`",
        )


def require_place(path: Path, *, is_group_readable: bool) -> None:
    """Refuse a missing folder, a folder in the file's place, and a database that others can reach.

    The file need not be there. A folder that cannot be entered is not missing: SQLite will say so.

    Raises:
        ConfigurationError: what is wrong, where, and what to do.
    """
    folder = path.absolute().parent
    if is_missing(folder):
        raise ConfigurationError(
            f"database.url: the folder {folder} does not exist",
            hint="create it, or name another file",
        )
    if os.path.isdir(path):  # noqa: PTH112 - pathlib raises on a name that is too long
        raise ConfigurationError(
            f"the database file {path.absolute()} cannot be opened: it is a folder",
            hint="name a file in it: sqlite:///FOLDER/pts.db",
        )
    with suppress(OSError):
        examine_sqlite(
            path,
            key="database.url",
            group_may_write=is_group_readable,
            forbidden=stat.S_IRWXO | (0 if is_group_readable else stat.S_IRWXG),
            way_out="" if is_group_readable else "database.group_readable = true lets its group in",
        )


def require_writable(path: Path) -> None:
    """Refuse a database that this account can read and cannot write.

    To be asked before SQLite opens it: SQLite gives its mode to what it makes beside it.

    Raises:
        ConfigurationError: it, what SQLite keeps beside it, or its folder cannot be written.
    """
    if (closed := _closed(path)) and os.access(path, os.R_OK, effective_ids=True):
        raise ConfigurationError(
            f"the database file {path} cannot be written: {hindrance(path)}",
            hint=f"let the worker's user (uid {os.geteuid()}) own what is there, and "
            f"`chmod u+w {shlex.join(map(str, closed))}`",
        )


def hindrance(path: Path) -> str:
    """What this account may not do with a database's file and its folder, as the modes tell."""
    # By os.path: a pathlib.Path raises on a name that is too long.
    if os.path.exists(path) and not os.access(path, os.R_OK, effective_ids=True):  # noqa: PTH110
        return "the file may not be read"
    named = [f"the {'folder' if one == path.parent else 'file'} {one}" for one in _closed(path)]
    return f"{', '.join(named)} may not be written" if named else ""


def _closed(path: Path) -> Sequence[Path]:
    """What may not be written; to root, who could, a mode of 0400 says so too."""
    closed = []
    for place in (path.parent, *(Path(f"{path}{suffix}") for suffix in _FILES)):
        with suppress(OSError):
            may_owner = place.stat().st_mode & stat.S_IWUSR
            if not may_owner or not os.access(place, os.W_OK, effective_ids=True):
                closed.append(place)
    return closed


def want_of_room(path: Path) -> str:
    """What room is free where a database lies, if a run may want more; else empty.

    That is as much as its log (WAL) holds now, which is to go into the file, and 64 MiB at least.
    """
    with suppress(OSError):
        log = Path(f"{path}-wal")
        wanted = max(_ROOM_BYTES_MIN, log.stat().st_size if log.exists() else 0)
        free = shutil.disk_usage(path.parent).free
        if free < wanted:
            return f"only {free // _MIB:,} MiB of {wanted // _MIB:,} MiB are free beside {path}"
    return ""


def shares_no_memory(path: Path) -> bool:
    """Whether a full disk has no room for the file by which SQLite's processes share the log."""
    with suppress(OSError):
        shared = Path(f"{path}-shm")
        is_there = shared.exists() and shared.stat().st_size >= _SHARED_BYTES
        return not is_there and shutil.disk_usage(path.parent).free < 2 * _SHARED_BYTES
    return False


def make(path: Path, *, is_group_readable: bool) -> None:
    """Make the empty file, unless there is one; what hinders that SQLite will say.

    The mode is given with the name, and not taken from the umask or from a folder's default ACL.
    """
    with suppress(OSError):
        if path.exists():
            return
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.fchmod(number, private_mode(is_group_readable=is_group_readable))
        finally:
            os.close(number)
