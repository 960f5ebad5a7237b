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

from worker.errors import ConfigurationError, reason_of
from worker.files import write_new
from worker.helseid.keys import KEY_FILE, ClientKey
from worker.trusted_files import examine_with_folder

FINISH: Final = "pts-worker keys rotate --finish"


class KeyFiles:
    """The files of a key and its rotation.

    Args:
        path: the key file as configured. If it is a symbolic link, its target is changed.

    Attributes:
        current: the key in use.
        pending: the new key, until HelseID accepts it.
    """

    def __init__(self, path: Path) -> None:
        self.current = path.resolve()
        self.pending = self.current.with_name(f"{self.current.name}.new")

    def require_own_folder(self) -> None:
        """Refuse a folder in which others can make files: they could plant a new key.

        Raises:
            ConfigurationError: they can, or the folder cannot be examined.
        """
        try:
            examine_with_folder(self.current, key=KEY_FILE)
        except OSError as error:
            problem = f"{KEY_FILE}: cannot read {self.current.parent}: {reason_of(error)}"
            raise ConfigurationError(problem) from None

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
            before, new = self.current.stat(), self.pending.stat()
            # A list from the folder's default would come into force with the group's bits.
            with contextlib.suppress(OSError, AttributeError):
                os.removexattr(self.pending, "system.posix_acl_access")
            if (new.st_uid, new.st_gid) != (before.st_uid, before.st_gid):
                os.chown(self.pending, before.st_uid, before.st_gid)
            self.pending.chmod(stat.S_IMODE(before.st_mode) & ~stat.S_IRWXO)
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
