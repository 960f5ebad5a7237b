"""The one gate for files that we trust: who could have put them there, or could change them.

Every folder and link on the way must belong to the worker's own user or to root, and be writable by
nobody else, as the file itself. So nobody else can exchange it between this examination and its
use. A sticky folder such as ``/tmp`` will do for a file that we open ourselves: others cannot touch
in it what is ours. It will not do for one beside which a program obeys further files. Links are
followed where only those two could have made them, since Kubernetes hands secrets out behind links
of its own (``..data``). ADR 0022.
"""

import enum
import errno
import grp
import io
import os
import pwd
import shlex
import stat
import struct
from contextlib import suppress
from pathlib import Path
from typing import Final

from worker.errors import ConfigurationError, reason_of

_SECRET_BYTES_MAX: Final = 65_536
_LINKS_MAX: Final = 40
"""As many links as Linux follows in one path (path_resolution(7))."""
_ROOT_USER: Final = 0
SQLITE_SUFFIXES: Final = ("-wal", "-shm", "-journal")
"""What SQLite keeps beside a database ("Temporary Files Used By SQLite")."""
OWN_DESCRIPTORS: Final = ("/dev/fd/", "/dev/stdin", "/proc/self/fd/")
"""What the caller handed over open, such as a shell's ``<(command)``."""


_ACL: Final = "system.posix_acl_access"
"""What Linux keeps a file's access control list in (linux/posix_acl_xattr.h, acl(5))."""
_ACL_OF_NEW: Final = "system.posix_acl_default"
"""The list that new files in a folder begin with."""
_ACL_HEADER: Final = struct.Struct("<I")
_ACL_ENTRY: Final = struct.Struct("<HHI")
_ACL_USER: Final = 0x02
_ACL_GROUP: Final = 0x08
_WRITE: Final = 0o2
_NAMED: Final = "somebody whom its access control list names"
_CLEAR: Final = "getfacl shows whom it names; setfacl -b"


class Trust(enum.Enum):
    """What a file is trusted for, and so who may write it and its folders besides their owner.

    A group that is the worker's user's alone does not count: ``umask 002`` goes with such groups.
    """

    DATA = "data"
    """Their group may: the roster, which another account may deliver."""
    CONFIGURATION = "configuration"
    """Nobody may."""
    SECRET = "secret"  # noqa: S105 - the name of a purpose
    """Nobody may, nor is it handed over open: keys, tokens, passwords, and the certificates of
    those whom we believe."""


def trust_of(*, is_group_trusted: bool) -> Trust:
    """What a database is trusted for: its group may write it, or nobody."""
    return Trust.DATA if is_group_trusted else Trust.SECRET


def open_trusted(path: Path, *, key: str, trust: Trust) -> io.FileIO:
    """Open a file for reading that nobody but its owner can have changed.

    Args:
        path: the file; a relative path starts at the working directory.
        key: the configuration key that names it, for messages.

    Raises:
        ConfigurationError: it is not there, cannot be read, is no plain file, or belongs to or can
            be written by somebody else; so does, or can, a folder or a link on the way to it. The
            message names the place by its absolute path and says what to do.
    """
    path = Path(os.path.abspath(path))  # noqa: PTH100 - Path.absolute keeps "..", resolve follows links
    try:
        return open_examined(path, key=key, trust=trust)
    except FileNotFoundError:
        raise ConfigurationError(f"{key}: there is no file {path}") from None
    except OSError as error:
        raise ConfigurationError(f"{key}: {path} cannot be read: {reason_of(error)}") from None


def open_examined(path: Path, *, key: str, trust: Trust) -> io.FileIO:
    """The same as ``open_trusted``, but for what the file system refuses.

    Raises:
        OSError: it is not there or cannot be read.
        ConfigurationError: it is no plain file, or cannot be trusted.
    """
    path = Path(os.path.abspath(path))  # noqa: PTH100 - as above
    return io.FileIO(_open(path, key, trust), "rb")


def read_trusted(path: Path, *, key: str, trust: Trust, bytes_max: int) -> bytes:
    """The content of a file; see ``open_trusted``.

    Raises:
        ConfigurationError: as there; or it is larger than ``bytes_max``.
    """
    with io.BufferedReader(open_trusted(path, key=key, trust=trust)) as file:
        content = file.read(bytes_max + 1)
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
    content = read_trusted(path, key=key, trust=Trust.SECRET, bytes_max=_SECRET_BYTES_MAX)
    if not content.strip():
        raise ConfigurationError(f"{key}: {path} is empty")
    return content


def examine_by_name(path: Path, *, key: str, trust: Trust) -> Path:
    """Examine a file that will be opened by its name, and with it what lies beside it.

    SQLite rolls a database back from any journal beside it. So, besides what ``open_trusted``
    requires, no other user may create files in its folder, sticky or not. The file need not exist
    yet.

    Args:
        path: the file; a relative path starts at the working directory.
        key: the configuration key that names it, for messages.
        trust: what for. What the file itself lets others do is examined as for ``Trust.DATA``.

    Returns:
        The path without links. What belongs to the file lies beside this one.

    Raises:
        OSError: a folder on the way is not there or cannot be examined.
        ConfigurationError: it is no plain file; it, or a folder or link on the way, belongs to or
            can be written by somebody else; or others can make files in its folder.
    """
    path = Path(os.path.abspath(path))  # noqa: PTH100 - as above
    place = _resolved(path, key, trust, of_file=Trust.DATA, is_missing_fine=True)
    require_own_folder(place.parent, key=key, trust=trust)
    with suppress(FileNotFoundError):
        _refuse_no_file(place.lstat(), path, key, is_stream_fine=False)
    return place


def require_own_folder(folder: Path, *, key: str, trust: Trust) -> None:
    """Refuse a folder in which others can make files, sticky or not.

    Args:
        folder: without links on the way to it.
        key: the configuration key that names a file in it, for messages.

    Raises:
        OSError: it cannot be examined.
        ConfigurationError: who can, and what to do.
    """
    status = folder.lstat()
    if writer := _other_writer(status, trust, folder):
        mode = stat.S_IMODE(status.st_mode)
        raise ConfigurationError(
            f"{key}: {writer[0]} can make files in the folder {folder} (mode {mode:04o}), and the "
            "worker would use what lies there beside its own file",
            hint=f"move the file to a folder that only the worker's user (uid {os.geteuid()}) can "
            "write, made with `mkdir -m 700`",
        )


def require_private(path: Path, *, key: str, is_group_trusted: bool, way_out: str) -> None:
    """Refuse a file that others can read, change or exchange; one that is not there is fine.

    For what a library opens by its name (``examine_by_name``).

    Args:
        path: the file; a relative path starts at the working directory.
        key: the configuration key that names it, for messages.
        is_group_trusted: its group may read and write it, and write its folder.
        way_out: what lets its group read, for messages.

    Raises:
        ConfigurationError: as ``examine_by_name``; or its mode lets others in.
    """
    try:
        place = examine_by_name(path, key=key, trust=trust_of(is_group_trusted=is_group_trusted))
        status = place.lstat()
    except OSError:
        return  # not there, or not to be reached: opening it reports that
    folder, mode = place.parent, stat.S_IMODE(status.st_mode)
    if named_rights(place, mode):
        who, hint = _NAMED, f"{_CLEAR} {shlex.quote(str(place))}"
    elif is_group_trusted and _named(folder, _ACL_OF_NEW):
        who, hint = (
            f"somebody whom the default list of {folder} names",
            f"setfacl -k {shlex.quote(str(folder))}",
        )
    elif mode & stat.S_IRWXO:
        who, hint = (
            "everyone on this machine",
            f"chmod {'o=' if is_group_trusted else 'go='} {shlex.quote(str(place))}",
        )
    elif mode & stat.S_IRWXG and not is_group_trusted:
        who, hint = "its group", f"chmod g= {shlex.quote(str(place))}; or {way_out}"
    else:
        return
    raise ConfigurationError(f"{key}: {who} can reach {place} (mode {mode:04o})", hint=hint)


def named_rights(place: Path | int, mode: int) -> int:
    """What a file's access control list lets others do, as the bits of a mode for "others".

    Args:
        place: the file without links, or the number of the open file.
        mode: its mode. The group's bits are the most that the list gives anybody.
    """
    most = mode >> 3 & 0o7
    return most and _named(place, _ACL) & most


def _named(place: Path | int, which: str) -> int:
    """The rights of all whom a list names besides the worker's user, its own group and root."""
    try:
        packed = os.getxattr(place, which)
    except (OSError, AttributeError):
        return 0  # it has none, or its file system or this system has no such lists
    found = 0
    for tag, rights, number in _ACL_ENTRY.iter_unpack(packed[_ACL_HEADER.size :]):
        is_other_user = tag == _ACL_USER and number not in {_ROOT_USER, os.geteuid()}
        if is_other_user or (tag == _ACL_GROUP and not _is_own_group(number)):
            found |= rights
    return found


def _open(path: Path, key: str, trust: Trust) -> int:
    """The number of the open, examined file."""
    is_handed_over = trust is not Trust.SECRET and str(path).startswith(OWN_DESCRIPTORS)
    place = path if is_handed_over else _resolved(path, key, trust, of_file=trust)
    flags = os.O_RDONLY | os.O_CLOEXEC | (0 if is_handed_over else os.O_NOFOLLOW | os.O_NONBLOCK)
    number = os.open(place, flags)
    try:
        status = os.fstat(number)
        if not is_handed_over:
            _examine(status, place, key, trust, number)
        _refuse_no_file(status, path, key, is_stream_fine=is_handed_over)
    except BaseException:
        os.close(number)
        raise
    return number


def _resolved(
    path: Path, key: str, trust: Trust, *, of_file: Trust, is_missing_fine: bool = False
) -> Path:
    """The path without links, after every folder and link on the way was examined.

    The file itself is examined again when it is open, or by ``require_private``.
    """
    names, place, links = list(reversed(path.parts[1:])), Path("/"), 0
    while names:
        place /= names.pop()
        try:
            status = place.lstat()
        except FileNotFoundError:
            if names or not is_missing_fine:
                raise
            return place
        _examine(status, place, key, trust if stat.S_ISDIR(status.st_mode) else of_file)
        if not stat.S_ISLNK(status.st_mode):
            continue
        links += 1
        if links > _LINKS_MAX:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        target = Path(os.path.normpath(place.parent / place.readlink()))
        names += reversed(target.parts[1:])
        place = Path("/")
    return place


def _refuse_no_file(status: os.stat_result, path: Path, key: str, *, is_stream_fine: bool) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(status.st_mode) and not is_stream_fine:
        raise ConfigurationError(f"{key}: {path} is not a plain file")


def _examine(
    status: os.stat_result, place: Path, key: str, trust: Trust, number: int | None = None
) -> None:
    """Refuse a place that another user owns or can write; ``number`` if it is an open file's."""
    if status.st_uid not in {_ROOT_USER, os.geteuid()}:
        raise ConfigurationError(
            f"{key}: {place} belongs to another user (uid {status.st_uid}), who could change what "
            "the worker trusts",
            hint=f"chown it to the worker's user (uid {os.geteuid()}) or to root",
        )
    mode = status.st_mode
    if stat.S_ISLNK(mode) or (stat.S_ISDIR(mode) and mode & stat.S_ISVTX):
        return  # a link has no mode of its own; in a sticky folder others cannot touch what is ours
    if writer := _other_writer(status, trust, place if number is None else number):
        who, change = writer
        raise ConfigurationError(
            f"{key}: {who} can write {place} (mode {stat.S_IMODE(mode):04o})",
            hint=f"{change} {shlex.quote(str(place))}",
        )


def _other_writer(
    status: os.stat_result, trust: Trust, place: Path | int
) -> tuple[str, str] | None:
    """Who else can write it by its mode or its list, and the command that mends it."""
    mode = status.st_mode
    is_group_refused = bool(mode & stat.S_IWGRP) and trust is not Trust.DATA
    if is_group_refused and named_rights(place, mode) & _WRITE:
        return _NAMED, _CLEAR
    is_group_refused = is_group_refused and not _is_own_group(status.st_gid)
    if mode & stat.S_IWOTH:
        return "everyone on this machine", f"chmod {'go' if is_group_refused else 'o'}-w"
    return ("its group", "chmod g-w") if is_group_refused else None


def _is_own_group(group_id: int) -> bool:
    """Whether a group is the worker's user's private one: the same name, and nobody else in it.

    Root's is not: in some containers every process has it.
    """
    try:
        user, group = pwd.getpwuid(os.geteuid()), grp.getgrgid(group_id)
    except KeyError:
        return False
    return (
        group_id == user.pw_gid != _ROOT_USER
        and group.gr_name == user.pw_name
        and set(group.gr_mem) <= {user.pw_name}
    )
