"""The client's key file and, during a rotation, the new key beside it.

Next to the configured file ``F``, ``F.new`` holds a key that HelseID has not accepted yet. One
rename puts it in place, so that after a crash at any point ``F`` holds the old key or the new one.
"""

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from worker.core.value import Value
from worker.errors import ConfigurationError, reason_of
from worker.files import write_new
from worker.helseid.keys import KEY_FILE, ClientKey
from worker.trusted_files import Trust, require_own_folder

FINISH: Final = "pts-worker keys rotate --finish"


class KeyFiles(Value, frozen=True, kw_only=True):
    """Paths of one key file, with symbolic links resolved.

    Attributes:
        current: the configured file.
        pending: the new key, until HelseID accepts it.
    """

    current: Path
    pending: Path

    def put_pending(self, key: ClientKey) -> None:
        """Write the new key with mode 0600.

        Raises:
            ConfigurationError: a new key is there already, or the folder is not writable.
        """
        with self._changing():
            try:
                write_new(self.pending, key.document())
            except FileExistsError:
                raise ConfigurationError(
                    f"{self.pending} is there already: a rotation was begun and not finished",
                    hint=f"register what `pts-worker keys public --key {self.pending}` prints, "
                    f"then `{FINISH}`; or remove it and begin anew",
                ) from None

    def put_in_place(self) -> None:
        """Replace the current key with the pending one, in one step. The old key is kept nowhere.

        Keeps owner, group and mode of the current file, but removes all permissions of others.

        Raises:
            ConfigurationError: the folder is not writable.
        """
        with self._changing():
            _copy_ownership(self.pending, self.current.stat())
            self.pending.replace(self.current)

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        """Make a change of the folder durable, and name what the system refuses."""
        try:
            yield
            folder = os.open(self.current.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
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


def key_files(path: Path) -> KeyFiles:
    """The files of a rotation.

    Args:
        path: as configured. If it is a symbolic link, its target is changed.

    Raises:
        ConfigurationError: the file does not exist, or others can make files in its folder: they
            could plant a new key.
    """
    try:
        current = path.resolve(strict=True)
        require_own_folder(current.parent, key=KEY_FILE, trust=Trust.SECRET)
    except OSError as error:
        raise ConfigurationError(f"{KEY_FILE}: cannot read {path}: {reason_of(error)}") from None
    return KeyFiles(current=current, pending=pending_file(current))


def _copy_ownership(path: Path, source: os.stat_result) -> None:
    """Copy owner, group and mode, without permissions for others.

    A list that the file has from its folder's default would come into force with the group's bits.
    """
    with contextlib.suppress(OSError, AttributeError):
        os.removexattr(path, "system.posix_acl_access")
    target = path.stat()
    if (target.st_uid, target.st_gid) != (source.st_uid, source.st_gid):
        os.chown(path, source.st_uid, source.st_gid)
    path.chmod(stat.S_IMODE(source.st_mode) & ~stat.S_IRWXO)
