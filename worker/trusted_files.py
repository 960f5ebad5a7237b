"""The one gate for files that we trust: owner and mode, as OpenSSH checks its own files.

A file, and every folder on the way to it, belongs to the worker's own user or to root, and nobody
else can write it. So nobody else can exchange it between this examination and its use. A sticky
folder such as ``/tmp`` will do for a file that we open ourselves: others cannot touch in it what is
ours. It will not do for one beside which a program obeys further files. Links are followed, since
Kubernetes hands secrets out behind links of its own (``..data``). ADR 0022.
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

_SECRET_BYTES_MAX: Final = 65_536
_ROOT: Final = 0
_SQLITE_SUFFIXES: Final = ("-wal", "-shm", "-journal")
"""What SQLite keeps beside a database ("Temporary Files Used By SQLite")."""
_READS: Final = stat.S_IRGRP | stat.S_IROTH
_AS_ROOT: Final = (
    "use pts-admin, which runs this as the worker's user; in a container, run it as that user"
)
_AS_ANOTHER: Final = (
    "run this as that user; or let the file and its folders belong to uid {user} or to root"
)
_STICKY: Final = "move the file to a folder of the worker's user alone, made with `mkdir -m 700`"


def open_trusted(
    path: Path, *, key: str, group_may_write: bool = False, forbidden: int = 0, way_out: str = ""
) -> io.FileIO:
    """Open a file for reading that nobody but its owner can have changed.

    Args:
        path: the file; a relative path starts at the working directory.
        key: the configuration key that names it, for messages.
        group_may_write: as with a roster, which another account may deliver.
        forbidden: further bits that its mode may not have.
        way_out: what else helps against these, for messages.

    Raises:
        OSError: it is not there or cannot be read.
        ConfigurationError: it is no plain file, or belongs to or can be written by somebody else;
            so does, or can, a folder on the way to it. The message names the place by its absolute
            path and says what to do.
    """
    written = _writes(group_may_write=group_may_write)
    place = _resolved(path, key, written)
    # A pipe does not block, and the link is gone since it was resolved.
    number = os.open(place, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    file = io.FileIO(number, "rb")
    try:
        _examine_file(os.fstat(number), place, key, written | forbidden, way_out)
    except BaseException:
        file.close()
        raise
    return file


def read_trusted(path: Path, *, key: str, bytes_max: int, group_may_write: bool = False) -> bytes:
    """The content of a file; see ``open_trusted``.

    Raises:
        ConfigurationError: as there; it cannot be read; or it is larger than ``bytes_max``.
    """
    path = _absolute(path)
    try:
        opened = open_trusted(path, key=key, group_may_write=group_may_write)
        with io.BufferedReader(opened) as file:
            content = file.read(bytes_max + 1)
    except FileNotFoundError:
        raise ConfigurationError(f"{key}: there is no file {path}") from None
    except OSError as error:
        raise ConfigurationError(f"{key}: {path} cannot be read: {reason_of(error)}") from None
    if len(content) > bytes_max:
        raise ConfigurationError(
            f"{key}: {path} is larger than {bytes_max} bytes; is it the right file?"
        )
    return content


def read_secret(path: Path, *, key: str) -> bytes:
    """The content of a file with a key, a token or a password.

    Who may read it depends on the environment; ``worker.config.needs`` judges that.

    Raises:
        ConfigurationError: as for ``read_trusted``; or it is empty.
    """
    content = read_trusted(path, key=key, bytes_max=_SECRET_BYTES_MAX)
    if not content.strip():
        raise ConfigurationError(f"{key}: {path} is empty")
    return content


def examine_with_folder(
    path: Path, *, key: str, group_may_write: bool = False, forbidden: int = 0, way_out: str = ""
) -> Path:
    """Examine a file that will be opened by its name, where a program obeys what lies beside it.

    SQLite rolls a database back from any journal beside it. So, besides what ``open_trusted``
    requires, nobody else may make files in its folder, sticky or not. None need be there yet.

    Returns:
        The path without links. What belongs to the file lies beside this one.

    Raises:
        OSError: a folder on the way is not there or cannot be examined.
        ConfigurationError: as for ``open_trusted``; or others can make files in its folder.
    """
    written = _writes(group_may_write=group_may_write)
    place = _resolved(path, key, written)
    _examine(place.parent.stat(), place.parent, key, written)
    for beside in (place, *(Path(f"{place}{suffix}") for suffix in _SQLITE_SUFFIXES)):
        with suppress(FileNotFoundError):
            _examine_file(beside.lstat(), beside, key, written | forbidden, way_out)
    return place


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100 - Path.absolute keeps "..", resolve follows links


def _writes(*, group_may_write: bool) -> int:
    """The bits that no mode on the way may have."""
    return stat.S_IWOTH | (0 if group_may_write else stat.S_IWGRP)


def _resolved(path: Path, key: str, written: int) -> Path:
    """The path without links, after the folders on the way to it and to its target were examined.

    Raises:
        OSError: also for links in a circle, and for a folder that may not be entered.
    """
    path = _absolute(path)
    with suppress(FileNotFoundError):
        path.stat()
    place = Path(os.path.realpath(path))
    for folder in sorted({*path.parents, *place.parents}):
        status = folder.stat()
        _examine(status, folder, key, 0 if status.st_mode & stat.S_ISVTX else written)
    return place


def _examine_file(
    status: os.stat_result, place: Path, key: str, forbidden: int, way_out: str
) -> None:
    """The same as ``_examine`` for what must be a plain file."""
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(status.st_mode):
        raise ConfigurationError(f"{key}: {place} is not a plain file")
    _examine(status, place, key, forbidden, way_out)


def _examine(
    status: os.stat_result, place: Path, key: str, forbidden: int, way_out: str = ""
) -> None:
    """Refuse a place that another user owns, or whose mode lets others do what is forbidden."""
    user, mode = os.geteuid(), stat.S_IMODE(status.st_mode)
    if status.st_uid not in {_ROOT, user}:
        raise ConfigurationError(
            f"{key}: {place} belongs to another user (uid {status.st_uid}), who could change what "
            "the worker trusts",
            hint=_AS_ROOT if user == _ROOT else _AS_ANOTHER.format(user=user),
        )
    found = mode & forbidden
    if found & stat.S_IRWXG and _is_own_group(status.st_gid):
        found &= ~stat.S_IRWXG
    if not found:
        return
    who = "everyone on this machine" if found & stat.S_IRWXO else "its group"
    whose = ("g" if found & stat.S_IRWXG else "") + ("o" if found & stat.S_IRWXO else "")
    what, change = f"{key}: {who} can write {place}", "-w"
    if forbidden & _READS:
        what, change = f"{key}: {who} can reach {place}", "="
    mended = f"chmod {whose}{change} {shlex.quote(str(place))}" + (way_out and f"; or {way_out}")
    raise ConfigurationError(
        f"{what} (mode {mode:04o})", hint=_STICKY if mode & stat.S_ISVTX else mended
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
