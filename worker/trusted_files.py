"""The one gate for files that we trust: owner and mode, as OpenSSH checks its own files.

A file, and every folder on the way to it, belongs to the worker's own user or to root, and nobody
else can write it. So nobody else can exchange it between this examination and its use. A sticky
folder such as ``/tmp`` will do for a file that we open ourselves: others cannot touch in it what is
ours. It will not do for one beside which a program obeys further files. Links are followed, since
Kubernetes hands secrets out behind links of its own (``..data``). See docs/decisions.md.
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

OTHERS_WRITE: Final = 0o022
"""What the mode of a trusted file may not have."""
EVERYBODY_WRITES: Final = 0o002
"""The same for a file that the group may write: a roster, which another account may deliver."""
_BYTES_MAX: Final = 4 << 20
_ROOT: Final = 0
SQLITE_SUFFIXES: Final = ("-wal", "-shm", "-journal")
"""What SQLite keeps beside a database ("Temporary Files Used By SQLite")."""
_CHMOD: Final = "chmod {mode:04o} {place}"
_CLOSE: Final = (
    "chmod 0600 {place} (0640 if the worker reads it through its group); on Kubernetes, set "
    "defaultMode: 0440 on the volume"
)
_STICKY: Final = "move the file to a folder of the worker's user alone, made with `mkdir -m 700`"
_ANOTHER: Final = (
    "run this as that user (on a server, use pts-admin); or let the file and its folders belong to "
    "the worker's user or to root"
)


def open_trusted(
    path: Path, *, key: str, forbidden: int = OTHERS_WRITE, is_secret: bool = False
) -> io.FileIO:
    """Open a file for reading that nobody but its owner can have changed.

    Args:
        path: the file; a relative path starts at the working directory.
        key: the configuration key that names it, for messages.
        forbidden: bits that its mode may not have; of a folder's, only those for writing count.
        is_secret: the way to mend its mode is to close it to others for reading, too.

    Raises:
        OSError: it is a folder, is not there or cannot be read.
        ConfigurationError: it is no plain file, or belongs to or can be written by somebody else;
            so does, or can, a folder on the way to it. The message names the place by its absolute
            path and says what to do.
    """
    place = _resolved(path, key, forbidden)
    # A pipe does not block, and the link is gone since it was resolved.
    number = os.open(place, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        _examine(os.fstat(number), place, key, forbidden, _CLOSE if is_secret else _CHMOD)
        return io.FileIO(number, "rb")
    except BaseException:
        os.close(number)
        raise


def read_trusted(
    path: Path, *, key: str, forbidden: int = OTHERS_WRITE, is_secret: bool = False
) -> bytes:
    """The content of a file of at most 4 MiB; see ``open_trusted``.

    Raises:
        ConfigurationError: as there; or it cannot be read, is larger, or is a secret and empty.
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
        raise ConfigurationError(f"{key}: {path} cannot be read: {reason_of(error)}") from None
    if len(content) > _BYTES_MAX:
        raise ConfigurationError(f"{key}: {path} is too large; is it the right file?")
    if is_secret and not content.strip():
        raise ConfigurationError(f"{key}: {path} is empty")
    return content


def examine_with_folder(
    path: Path, *, key: str, forbidden: int = OTHERS_WRITE, way_out: str = ""
) -> None:
    """Examine a file that will be opened by its name, where a program obeys what lies beside it.

    SQLite rolls a database back from any journal beside it. So, besides what ``open_trusted``
    requires, nobody else may make files in its folder, sticky or not. None need be there yet.

    Args:
        way_out: what else helps against the mode of a file, for messages.

    Raises:
        OSError: it is a folder; or one on the way to it is not there or cannot be examined.
        ConfigurationError: as for ``open_trusted``; or others can make files in its folder.
    """
    place = _resolved(path, key, forbidden)
    _examine(place.parent.stat(), place.parent, key, forbidden & OTHERS_WRITE, _STICKY)
    if place.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    remedy = f"{_CHMOD}; or {way_out}" if way_out else _CHMOD
    for beside in (place, *(Path(f"{place}{suffix}") for suffix in SQLITE_SUFFIXES)):
        with suppress(FileNotFoundError):
            _examine(beside.lstat(), beside, key, forbidden, remedy)


def _resolved(path: Path, key: str, forbidden: int) -> Path:
    """The path without links, after examining every folder on the way to it and to each link."""
    with suppress(FileNotFoundError):
        path.stat()  # refuses links in a circle, and others' in a sticky folder (proc(5))
    place = Path("/")
    for part in path.absolute().parts[1:]:
        status = place.stat()
        is_sticky = status.st_mode & stat.S_ISVTX
        _examine(status, place, key, 0 if is_sticky else forbidden & OTHERS_WRITE)
        place = place.parent if part == ".." else place / part
        if place.is_symlink():
            place = _resolved(place.parent / place.readlink(), key, forbidden)
    return place


def _examine(
    status: os.stat_result, place: Path, key: str, forbidden: int, remedy: str = _CHMOD
) -> None:
    """Refuse a device, a place of another user's, or one whose mode allows what is forbidden."""
    mode = stat.S_IMODE(status.st_mode)
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        raise ConfigurationError(f"{key}: {place} is not a plain file")
    if status.st_uid not in {_ROOT, os.geteuid()}:
        raise ConfigurationError(
            f"{key}: {place} belongs to another user (uid {status.st_uid}), who could change what "
            "the worker trusts",
            hint=_ANOTHER,
        )
    found = mode & forbidden
    if found & stat.S_IRWXG and _is_own_group(status.st_gid):
        found &= ~stat.S_IRWXG
    if found:
        who = "everyone on this machine" if found & stat.S_IRWXO else "its group"
        what = f"{key}: {who} can write {place}"
        if not found & OTHERS_WRITE:
            what = f"{key}: {who} can reach {place}"
        raise ConfigurationError(
            f"{what} (mode {mode:04o})",
            hint=remedy.format(mode=mode & ~found, place=shlex.quote(str(place))),
        )


def _is_own_group(group_id: int) -> bool:
    """Whether a group is the worker's user's private one: the same name, and nobody else in it.

    ``umask 002`` goes with such groups. Root's is not: in some containers every process has it.
    """
    try:
        user, group = pwd.getpwuid(os.geteuid()), grp.getgrgid(group_id)
    except KeyError:
        return False
    return (
        group_id == user.pw_gid != _ROOT
        and group.gr_name == user.pw_name
        and set(group.gr_mem) <= {user.pw_name}
    )
