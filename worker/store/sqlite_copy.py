"""Copies a SQLite database page by page, while others read and write it.

One step copies everything within one read transaction, so that a run under way neither disturbs the
copy nor waits for it ("SQLite Backup API"). A copy has mode 0600 and is a single file: nothing
belongs beside it.
"""

import os
import re
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final
from urllib.parse import quote

from worker.errors import ConfigurationError, reason_of
from worker.files import named_faults
from worker.store.catalogues import TRIGGERS
from worker.trusted_files import SQLITE_SUFFIXES, Trust, examine_by_name, trust_of

_BUSY_S: Final = 20.0
_HEADER: Final = b"SQLite format 3\x00"


@contextmanager
def copied(
    source: Path, beside: Path, *, key: str, is_group_trusted: bool = False
) -> Iterator[Path]:
    """A sound copy of a database under a hidden name beside a file; removed afterwards.

    Args:
        source: the database; a folder or link on the way to it must not be somebody else's.
        beside: in whose folder the copy lies.
        key: the option or key that names the source, for messages.
        is_group_trusted: its group may write it and its folder (``database.group_readable``).

    Raises:
        ConfigurationError: the source is missing, damaged or no SQLite database, or has parts
            beside it that do not belong to a copy; a file cannot be written.
    """
    _require_database(source, key, trust_of(is_group_trusted=is_group_trusted))
    with named_faults(beside):
        number, name = tempfile.mkstemp(
            dir=beside.parent, prefix=f".{beside.name}.", suffix=".part"
        )
        os.close(number)
    copy = Path(name)
    try:
        with _named(source, key):
            _copy(source, copy)
            _require_sound(source, copy, key)
        yield copy
    finally:
        for suffix in ("", *SQLITE_SUFFIXES):
            with suppress(OSError):
                Path(f"{copy}{suffix}").unlink()


def new_place(path: Path, *, key: str, is_group_trusted: bool = False) -> Path:
    """Where a new copy may stand: there is nothing of this name, and nobody else makes files there.

    Args:
        path: its name; a link of this name is something, wherever it leads.
        key: the option or key that names it, for messages.
        is_group_trusted: its folder's group may make files there (``database.group_readable``).

    Returns:
        The path without links.

    Raises:
        ConfigurationError: there is something; or who could make files, or there is no such folder.
    """
    if path.is_symlink() or path.exists():
        raise _taken(path)
    try:
        return examine_by_name(path, key=key, trust=trust_of(is_group_trusted=is_group_trusted))
    except OSError as error:
        raise ConfigurationError(
            f"{key}: {path.absolute()} cannot be written ({error.strerror})",
            hint="make the folder first",
        ) from None


def name_copy(copy: Path, path: Path) -> None:
    """Give a copy its name, in one step; what has the name already stays.

    Raises:
        ConfigurationError: there is something of this name, or it cannot be written.
    """
    with _named(copy, str(path)), closing(_open(copy)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")  # it has its source's, which makes files
    with named_faults(path):
        with copy.open("rb") as file:
            os.fsync(file.fileno())
        try:
            os.link(copy, path)
        except FileExistsError:
            raise _taken(path) from None
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _require_database(path: Path, key: str, trust: Trust) -> None:
    try:
        place = examine_by_name(path, key=key, trust=trust)
        with place.open("rb") as file:
            header = file.read(len(_HEADER))
    except OSError as error:
        message = f"{key}: {path.absolute()} cannot be read: {reason_of(error)}"
        raise ConfigurationError(message) from None
    if header != _HEADER:
        what = "no SQLite database" if header else "empty"
        raise ConfigurationError(f"{key}: {place} is {what}")


def _copy(source: Path, target: Path) -> None:
    # What may not write cannot take away what it made beside a source with a write-ahead log.
    with closing(_open(source)) as reading, closing(_open(target)) as writing:
        writing.execute("PRAGMA synchronous=FULL")
        reading.backup(writing)


_OWN_TRIGGER: Final = re.compile(
    r"CREATE TRIGGER \"?access_log_\w+\"? BEFORE \w+ ON \"?access_log\"? (?:WHEN [^;]{1,200} )?"
    r"BEGIN SELECT RAISE\(ABORT, '[\w -]{1,100}'\); END"
)
"""Those that refuse changes of the access log."""


def _require_sound(source: Path, copy: Path, key: str) -> None:
    with closing(_open(copy)) as connection:
        found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(10)")]
        orphans = connection.execute("PRAGMA foreign_key_check").fetchall()
        triggers = connection.execute(TRIGGERS)
        foreign = [sql for (sql,) in triggers if not _OWN_TRIGGER.fullmatch(" ".join(sql.split()))]
    if foreign:
        raise ConfigurationError(
            f"{key}: {source} has a trigger that this program did not make",
            hint="a trigger can change what a run writes: take another copy, and find out who "
            "changed this one",
        )
    if found != ["ok"] or orphans:
        raise _damaged(source, key)


def _open(path: Path) -> sqlite3.Connection:
    name = f"file:{quote(str(path))}?mode=rw"
    return sqlite3.connect(name, uri=True, timeout=_BUSY_S, isolation_level=None)


@contextmanager
def _named(path: Path, key: str) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        if error.sqlite_errorname.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
            raise _damaged(path, key) from None
        raise ConfigurationError(
            f"{key}: {path} cannot be copied ({error.sqlite_errorname})",
            hint="check permissions and the free disk space",
        ) from None


def _damaged(path: Path, key: str) -> ConfigurationError:
    return ConfigurationError(f"{key}: {path} is damaged", hint="take an earlier backup")


def _taken(path: Path) -> ConfigurationError:
    return ConfigurationError(f"{path.absolute()} already exists", hint="name another file")
