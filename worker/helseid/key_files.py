"""The client's key file while another key takes its place: one that works is always there.

Beside the configured file ``F`` lies ``F.new`` while HelseID does not know the new key yet, and
``F.old``, the key before, once it does. Each step is one rename within the folder, durable before
the next begins, so that whoever dies between two of them leaves whole keys, and the one in ``F`` is
the one that was last accepted.
"""

import contextlib
import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import orjson

from worker.core.value import Value
from worker.errors import ConfigurationError
from worker.helseid.keys import KEY_FILE, KeyHints

_OTHERS: Final = stat.S_IRWXO


class KeyFiles(Value, frozen=True, kw_only=True):
    """The three places of one key file, links resolved.

    Attributes:
        current: the file that the configuration names.
        pending: a key that waits until HelseID accepts it.
        former: the key before the last change.
    """

    current: Path
    pending: Path
    former: Path

    def has_pending(self) -> bool:
        """Whether a change was begun and not finished."""
        return self.pending.exists()

    def put_pending(self, jwk: dict[str, str], hints: KeyHints) -> None:
        """Write the new key, readable by its owner alone (0600).

        Args:
            jwk: the private key.
            hints: what the file before it said besides the key, and this one shall go on to say.

        Raises:
            ConfigurationError: the folder cannot be written.
        """
        with self._named():
            _write_whole(self.pending, _document(jwk, hints))

    def switch(self) -> None:
        """Put the pending key in the current one's place, and keep that as the former one.

        Owner, group and mode stay those of the file before, but for the rights of all others.

        Raises:
            ConfigurationError: the folder cannot be written.
        """
        with self._named():
            _take_over(self.pending, self.current.stat())
            spare = _spare(self.former)
            spare.unlink(missing_ok=True)
            os.link(self.current, spare)
            spare.replace(self.former)
            spare.unlink(missing_ok=True)  # rename(2) leaves it where both are one file already
            _flush(self.current.parent)
            self.pending.replace(self.current)
            _flush(self.current.parent)

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = (error.strerror or type(error).__name__).lower()
            raise ConfigurationError(
                f"cannot change keys in {self.current.parent}: {reason}",
                hint="call this where the key file itself lies, as its owner; a copy that systemd "
                "or Kubernetes hands out cannot be changed",
            ) from None


@contextlib.contextmanager
def key_files(path: Path) -> Iterator[KeyFiles]:
    """The places of a key file, for one process at a time.

    Args:
        path: as configured; where it is a link, what it leads to is changed.

    Raises:
        ConfigurationError: there is no such file, or another process is at it.
    """
    try:
        current = path.resolve(strict=True)
        folder = os.open(current.parent, os.O_RDONLY)
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise ConfigurationError(f"{KEY_FILE}: cannot read {path}: {reason}") from None
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigurationError(
                f"another process changes keys in {current.parent}", hint="wait for its end"
            ) from None
        yield KeyFiles(
            current=current,
            pending=current.with_name(f"{current.name}.new"),
            former=current.with_name(f"{current.name}.old"),
        )
    finally:
        os.close(folder)


def _document(jwk: dict[str, str], hints: KeyHints) -> bytes:
    """The key alone, or with the client beside it where the file before had that too."""
    document: dict[str, object] = dict(jwk)
    if hints.client_id or hints.issuer:
        beside = {"clientId": hints.client_id, "authority": hints.issuer}
        document = {name: value for name, value in beside.items() if value}
        document["privateJwk"] = jwk
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _write_whole(path: Path, content: bytes) -> None:
    """A file that is there whole, on the disk, or not at all."""
    spare = _spare(path)
    spare.unlink(missing_ok=True)
    handle = os.open(spare, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    spare.replace(path)
    _flush(path.parent)


def _spare(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


def _take_over(path: Path, before: os.stat_result) -> None:
    """Let whoever could read the file before read this one."""
    now = path.stat()
    if (now.st_uid, now.st_gid) != (before.st_uid, before.st_gid):
        os.chown(path, before.st_uid, before.st_gid)
    path.chmod(stat.S_IMODE(before.st_mode) & ~_OTHERS)


def _flush(folder: Path) -> None:
    """Make what was renamed in a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
