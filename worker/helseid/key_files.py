"""Key files during a key rotation.

Next to the configured file ``F``, ``F.new`` holds a key that HelseID has not accepted yet, and
``F.old`` the key before the last rotation. Each step is one rename within the folder, synced to
disk before the next step, so a crash at any point leaves complete files, and ``F`` always holds the
key that HelseID last accepted.
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
from worker.errors import ConfigurationError, reason_of
from worker.helseid.keys import KEY_FILE, KeyHints
from worker.trusted_files import Trust, require_own_folder

_OTHERS: Final = stat.S_IRWXO


class KeyFiles(Value, frozen=True, kw_only=True):
    """Paths of one key file, with symbolic links resolved.

    Attributes:
        current: the configured file.
        pending: the new key, until HelseID accepts it.
        former: the key before the last rotation.
    """

    current: Path
    pending: Path
    former: Path

    def has_pending(self) -> bool:
        """Whether a rotation was started and not finished."""
        return self.pending.exists()

    def put_pending(self, jwk: dict[str, str], hints: KeyHints) -> None:
        """Write the new key with mode 0600.

        Args:
            hints: client id and issuer to copy from the current file.

        Raises:
            ConfigurationError: the folder is not writable.
        """
        with self._os_errors_as_configuration():
            _write_atomically(self.pending, _document(jwk, hints))

    def switch(self) -> None:
        """Make the pending key the current one, and the current one the former.

        Keeps owner, group and mode of the current file, but removes all permissions of others.

        Raises:
            ConfigurationError: the folder is not writable.
        """
        with self._os_errors_as_configuration():
            _copy_ownership(self.pending, self.current.stat())
            temporary = _temporary(self.former)
            temporary.unlink(missing_ok=True)
            os.link(self.current, temporary)
            temporary.replace(self.former)
            temporary.unlink(missing_ok=True)  # rename(2) keeps it if both are the same file
            _fsync_folder(self.current.parent)
            self.pending.replace(self.current)
            _fsync_folder(self.current.parent)

    @contextlib.contextmanager
    def _os_errors_as_configuration(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ConfigurationError(
                f"cannot change keys in {self.current.parent}: {reason_of(error)}",
                hint="run this on the machine that holds the original key file, as its owner; the "
                "copies that systemd and Kubernetes provide are read-only",
            ) from None


def pending_file(path: Path) -> Path:
    """Where the new key lies until HelseID accepts it.

    Args:
        path: the key file as configured. If it is a symbolic link, that of its target.
    """
    current = path.resolve()
    return current.with_name(f"{current.name}.new")


@contextlib.contextmanager
def key_files(path: Path) -> Iterator[KeyFiles]:
    """Lock the folder of a key file and yield the paths.

    Args:
        path: as configured. If it is a symbolic link, its target is changed.

    Raises:
        ConfigurationError: the file does not exist, others can make files in its folder, or
            another process holds the lock.
    """
    try:
        current = path.resolve(strict=True)
        folder = os.open(current.parent, os.O_RDONLY)
    except OSError as error:
        raise ConfigurationError(f"{KEY_FILE}: cannot read {path}: {reason_of(error)}") from None
    try:
        require_own_folder(current.parent, key=KEY_FILE, trust=Trust.SECRET)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigurationError(
                f"another process is changing keys in {current.parent}",
                hint="wait until it has finished",
            ) from None
        yield KeyFiles(
            current=current,
            pending=pending_file(current),
            former=current.with_name(f"{current.name}.old"),
        )
    finally:
        os.close(folder)


def _document(jwk: dict[str, str], hints: KeyHints) -> bytes:
    """The JWK, wrapped in a self-service document if the current file has client id or issuer."""
    document: dict[str, object] = dict(jwk)
    if hints.client_id or hints.issuer:
        members = {"clientId": hints.client_id, "authority": hints.issuer}
        document = {name: value for name, value in members.items() if value}
        document["privateJwk"] = jwk
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _write_atomically(path: Path, content: bytes) -> None:
    """Write a file completely and sync it to disk, or leave it unchanged."""
    temporary = _temporary(path)
    temporary.unlink(missing_ok=True)
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    _fsync_folder(path.parent)


def _temporary(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


def _copy_ownership(path: Path, source: os.stat_result) -> None:
    """Copy owner, group and mode, without permissions for others.

    A list that the file has from its folder's default would come into force with the group's bits.
    """
    with contextlib.suppress(OSError, AttributeError):
        os.removexattr(path, "system.posix_acl_access")
    target = path.stat()
    if (target.st_uid, target.st_gid) != (source.st_uid, source.st_gid):
        os.chown(path, source.st_uid, source.st_gid)
    path.chmod(stat.S_IMODE(source.st_mode) & ~_OTHERS)


def _fsync_folder(folder: Path) -> None:
    """Make renames in a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
