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

OTHERS_WRITE: Final = 0o022
"""What the mode of a trusted file may not have."""
EVERYBODY_WRITES: Final = 0o002
"""The same for a file that the group may write: a roster, which another account may deliver."""
_BYTES_MAX: Final = 4 << 20
_ROOT: Final = 0
_SQLITE_SUFFIXES: Final = ("-wal", "-shm", "-journal")
"""What SQLite keeps beside a database ("Temporary Files Used By SQLite")."""
_AS_ROOT: Final = (
    "use pts-admin, which runs this as the worker's user; in a container, run it as that user"
)
_AS_ANOTHER: Final = (
    "run this as that user; or let the file and its folders belong to uid {user} or to root"
)
_STICKY: Final = "move the file to a folder of the worker's user alone, made with `mkdir -m 700`"


def open_trusted(
    path: Path, *, key: str, forbidden: int = OTHERS_WRITE, way_out: str = ""
) -> io.FileIO:
    """Open a file for reading that nobody but its owner can have changed.

    Args:
        path: the file; a relative path starts at the working directory.
        key: the configuration key that names it, for messages.
        forbidden: bits that its mode may not have; of a folder's, only those for writing count.
        way_out: what else helps against these, for messages.

    Raises:
        OSError: it is not there or cannot be read.
        ConfigurationError: it is no plain file, or belongs to or can be written by somebody else;
            so does, or can, a folder on the way to it. The message names the place by its absolute
            path and says what to do.
    """
    place = _resolved(path, key, forbidden)
    # A pipe does not block, and the link is gone since it was resolved.
    number = os.open(place, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        _examine_file(os.fstat(number), place, key, forbidden, way_out)
        return io.FileIO(number, "rb")
    except BaseException:
        os.close(number)
        raise


def read_trusted(path: Path, *, key: str, forbidden: int = OTHERS_WRITE) -> bytes:
    """The content of a file of at most 4 MiB; see ``open_trusted``.

    Raises:
        ConfigurationError: as there; or it cannot be read, or is larger.
    """
    path = path.absolute()
    try:
        with io.BufferedReader(open_trusted(path, key=key, forbidden=forbidden)) as file:
            content = file.read(_BYTES_MAX + 1)
    except FileNotFoundError:
        message = f"{key}: there is no file {path}"
        raise ConfigurationError(message, hint="check the path") from None
    except OSError as error:
        raise ConfigurationError(f"{key}: {path} cannot be read: {reason_of(error)}") from None
    if len(content) > _BYTES_MAX:
        raise ConfigurationError(f"{key}: {path} is too large; is it the right file?")
    return content


def read_secret(path: Path, *, key: str) -> bytes:
    """The content of a file with a key, a token or a password.

    Who may read it depends on the environment; ``worker.config.needs`` judges that.

    Raises:
        ConfigurationError: as for ``read_trusted``; or it is empty.
    """
    content = read_trusted(path, key=key)
    if not content.strip():
        raise ConfigurationError(f"{key}: {path} is empty")
    return content


def examine_with_folder(
    path: Path, *, key: str, forbidden: int = OTHERS_WRITE, way_out: str = ""
) -> None:
    """Examine a file that will be opened by its name, where a program obeys what lies beside it.

    SQLite rolls a database back from any journal beside it. So, besides what ``open_trusted``
    requires, nobody else may make files in its folder, sticky or not. None need be there yet.

    Raises:
        OSError: a folder on the way is not there or cannot be examined.
        ConfigurationError: as for ``open_trusted``; or others can make files in its folder.
    """
    place = _resolved(path, key, forbidden)
    _examine(place.parent.stat(), place.parent, key, forbidden & OTHERS_WRITE)
    for beside in (place, *(Path(f"{place}{suffix}") for suffix in _SQLITE_SUFFIXES)):
        with suppress(FileNotFoundError):
            _examine_file(beside.lstat(), beside, key, forbidden, way_out)


def _resolved(path: Path, key: str, forbidden: int) -> Path:
    """The path without links, after the folders on the way to it and to its target were examined.

    Raises:
        OSError: also for links in a circle, and for a folder that may not be entered.
    """
    path, written = path.absolute(), forbidden & OTHERS_WRITE
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
    what = f"{key}: {who} can write {place}"
    if forbidden & ~OTHERS_WRITE:
        what = f"{key}: {who} can reach {place}"
    change = f"chmod {mode & ~found:04o} {shlex.quote(str(place))}"
    mended = f"{change}; or {way_out}" if way_out else change
    raise ConfigurationError(
        f"{what} (mode {mode:04o})",
        hint=_STICKY if mode & stat.S_ISVTX else mended,
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
