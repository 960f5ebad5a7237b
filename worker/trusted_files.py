"""Checks owner and mode of trusted files, as OpenSSH does for its own files.

A trusted file, and every folder above it, belongs to the worker's user or to root, and no other
account can write it. So no other account can replace it between the check and its use. A sticky
folder such as ``/tmp`` is accepted for a file that the worker opens itself, because other accounts
cannot replace files there. It is refused for a database, because SQLite also reads files beside it.
Links are followed, because Kubernetes mounts secrets behind links (``..data``). See
docs/decisions.md.
"""

import errno
import grp
import io
import os
import pwd
import shlex
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from worker.errors import ConfigurationError, reason_of

SHARED_WRITE: Final = 0o022
"""Write access of the group or of all accounts, which a trusted file must not have."""
WORLD_WRITE: Final = 0o002
"""For a roster, which another account may deliver through its group."""
_BYTES_MAX: Final = 4 << 20
_OWNER_USES: Final = stat.S_IRUSR | stat.S_IWUSR
_ROOT: Final = 0
SQLITE_SUFFIXES: Final = ("-wal", "-shm", "-journal")
"""Suffixes of files beside a database ("Temporary Files Used By SQLite")."""
_CHMOD: Final = "chmod {mode:04o} {place}"
_PRIVATE_CHMOD: Final = (
    "chmod 0600 {place} (0640 if the worker reads it through its group); on Kubernetes, set "
    "defaultMode: 0440 on the volume"
)
_MOVE: Final = "move the file to a folder of the worker's user, created with `mkdir -m 700`"
_READ_REMEDIES: Final = {
    errno.EISDIR: "; name a file in it",
    errno.EACCES: "; let this account (uid {user_id}) read it, or run as its owner (pts-admin)",
}
_OTHER_OWNER_HINT: Final = (
    "run this as that user (on a server, use pts-admin); or let the file and its folders belong to "
    "the worker's user or to root"
)


def open_trusted(
    path: Path, *, key: str, forbidden: int = SHARED_WRITE, is_secret: bool = False
) -> io.FileIO:
    """Open a file for reading that no account except its owner and root can have changed.

    Args:
        path: the file. A relative path starts at the working directory.
        key: its configuration key, for messages.
        forbidden: mode bits that the file must not have. For folders, only write bits count.
        is_secret: the hint suggests a mode that also prevents reading.

    Raises:
        OSError: the file does not exist, is a folder or cannot be read.
        ConfigurationError: it is not a plain file, or another account owns or can write it or a
            folder above it. The message has the absolute path and a remedy.
    """
    place = _resolved(path, key, forbidden)
    # O_NONBLOCK: opening a pipe must not block. O_NOFOLLOW: the path was resolved, so a link here
    # was put there since.
    descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        remedy = _PRIVATE_CHMOD if is_secret else _CHMOD
        _examine(os.fstat(descriptor), place, key, forbidden, remedy)
        return io.FileIO(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_trusted(
    path: Path, *, key: str, forbidden: int = SHARED_WRITE, is_secret: bool = False
) -> bytes:
    """The content of a file of at most 4 MiB. See ``open_trusted``.

    Raises:
        ConfigurationError: as ``open_trusted``, or the file cannot be read, is larger, or is an
            empty secret.
    """
    path = path.absolute()
    try:
        file = open_trusted(path, key=key, forbidden=forbidden, is_secret=is_secret)
        with io.BufferedReader(file) as opened:
            content = opened.read(_BYTES_MAX + 1)
    except FileNotFoundError:
        message = f"{key}: there is no file {path}"
        raise ConfigurationError(message, hint="check the path") from None
    except OSError as error:
        problem = f"{key}: {path} cannot be read: {reason_of(error)}"
        remedy = _READ_REMEDIES.get(error.errno or 0, "").format(user_id=os.geteuid())
        raise ConfigurationError(f"{problem}{remedy}") from None
    if len(content) > _BYTES_MAX:
        raise ConfigurationError(f"{key}: {path} is too large; is it the right file?")
    if is_secret and not content.strip():
        raise ConfigurationError(f"{key}: {path} is empty")
    return content


def examine_with_folder(
    path: Path, *, key: str, forbidden: int = SHARED_WRITE, alternative: str = ""
) -> None:
    """Check a file that a library opens by name, and the files beside it.

    SQLite rolls a database back from any journal beside it. Therefore, in addition to the checks of
    ``open_trusted``, no other account may create files in its folder, sticky or not. The files need
    not exist yet.

    Args:
        alternative: another remedy for a wrong mode, for messages.

    Raises:
        OSError: it is a folder, or a folder above it does not exist or cannot be checked.
        ConfigurationError: as ``open_trusted``, or others can create files in its folder.
    """
    place = _resolved(path, key, forbidden)
    _examine(place.parent.stat(), place.parent, key, forbidden & SHARED_WRITE, _MOVE)
    if place.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    remedy = f"{_CHMOD}; or {alternative}" if alternative else _CHMOD
    for beside in (place, *(Path(f"{place}{suffix}") for suffix in SQLITE_SUFFIXES)):
        with suppress(FileNotFoundError):
            _examine(beside.lstat(), beside, key, forbidden, remedy)


def _resolved(path: Path, key: str, forbidden: int) -> Path:
    """The path without links, after checking every folder above it and above each link."""
    with suppress(FileNotFoundError):
        path.stat()  # raises for circular links, and for others' links in sticky folders (proc(5))
    place = Path("/")
    for part in path.absolute().parts[1:]:
        status = place.stat()
        is_sticky = status.st_mode & stat.S_ISVTX
        _examine(status, place, key, 0 if is_sticky else forbidden & SHARED_WRITE)
        # After a link, ``..`` is the parent of the link's target, as for the kernel.
        place = place.parent if part == ".." else place / part
        if place.is_symlink():
            place = _resolved(place.parent / place.readlink(), key, forbidden)
    return place


def _examine(
    status: os.stat_result, place: Path, key: str, forbidden: int, remedy: str = _CHMOD
) -> None:
    """Refuse a device, a file or folder of another user, and one with a forbidden mode bit."""
    mode = stat.S_IMODE(status.st_mode)
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        raise ConfigurationError(f"{key}: {place} is not a plain file")
    if status.st_uid not in {_ROOT, os.geteuid()}:
        raise ConfigurationError(
            f"{key}: {place} belongs to another user (uid {status.st_uid}), which could replace "
            "trusted content",
            hint=_OTHER_OWNER_HINT,
        )
    excess = mode & forbidden
    if excess & stat.S_IRWXG and _is_own_group(status.st_gid):
        excess &= ~stat.S_IRWXG
    if excess:
        accounts = "every account on this machine" if excess & stat.S_IRWXO else "its group"
        problem = f"{key}: {accounts} can access {place}"
        if excess & SHARED_WRITE:
            problem = f"{key}: {accounts} can write {place}"
        raise ConfigurationError(
            f"{problem} (mode {mode:04o})",
            # Its owner needs both rights: SQLite cannot use a database of mode 0400.
            hint=remedy.format(mode=(mode & ~excess) | _OWNER_USES, place=shlex.quote(str(place))),
        )


def _is_own_group(group_id: int) -> bool:
    """Whether a group is the private group of the worker's user: same name, no other member.

    Systems with ``umask 002`` use such groups. Root's group does not count, because in some
    containers every process has it.
    """
    try:
        user, group = pwd.getpwuid(os.geteuid()), grp.getgrgid(group_id)
    except KeyError:
        return False
    return (
        group_id != _ROOT
        and group_id == user.pw_gid
        and group.gr_name == user.pw_name
        and set(group.gr_mem) <= {user.pw_name}
    )
