"""Watches that the file of a SQLite database stays the one that was opened.

A file that is removed or replaced by a rename lives on for those who have it open: SQLite writes
and commits without an error, and nothing of it is on the disk ("How To Corrupt An SQLite Database
File", 2.4 and 4.4).
"""

from pathlib import Path
from typing import Any, Final

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from worker.errors import ConfigurationError
from worker.store.sqlite_file import make

_HINT: Final = (
    "what was written since is not on the disk: restore a backup (`pts-worker db restore`) if the "
    "file is gone, and let nothing remove or exchange it while a run is on"
)


class OpenedFile:
    """The file that the first connection opened; every later one must open the same."""

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()
        self._is_uri = str(path).startswith("file:")
        self._opened: tuple[int, int] | None = None

    def watch(self, engine: AsyncEngine, *, is_group_readable: bool) -> None:
        """Make the file before the first connection, and examine it around each."""

        @event.listens_for(engine.sync_engine, "do_connect")
        def before(*_: Any) -> None:
            if self._opened is None:
                make(self._path, is_group_readable=is_group_readable)
            else:
                self.require_same()

        @event.listens_for(engine.sync_engine, "connect")
        def after(*_: Any) -> None:
            if self._opened is None:
                self._opened = self._found()
            self.require_same()

    def require_same(self) -> None:
        """Refuse to go on if the path leads to no file, or to another one. SQLite's URIs pass.

        Raises:
            ConfigurationError: it was removed or replaced.
        """
        if not self._is_uri and (self._opened is None or self._found() != self._opened):
            raise ConfigurationError(
                f"the database file {self._path} was removed or replaced while it was in use",
                hint=_HINT,
            )

    def _found(self) -> tuple[int, int] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino
