"""Reading and writing the files that hold secrets."""

import os
import stat
from pathlib import Path
from typing import Final

import orjson

from worker.errors import ConfigurationError
from worker.files import write_new

_SIZE_MAX: Final = 65_536


def read_secret(path: Path, *, key: str) -> bytes:
    """The whole file, which not just anyone on the machine may have put there.

    Whether others may read it is judged with the configuration, which knows whether this is a
    rehearsal on loopback (``worker.config.needs``). The file that is opened is the file that is
    examined, so that it cannot be changed in between.

    Args:
        path: the file.
        key: the configuration key that names it, for messages.

    Raises:
        ConfigurationError: it cannot be read, is no plain file, is writable by others, is empty,
            or is larger than 64 KiB.
    """
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            _refuse_unfit(status, path, key)
            content = file.read(_SIZE_MAX + 1)
    except OSError as exc:
        reason = exc.strerror or type(exc).__name__
        raise ConfigurationError(f"{key}: cannot read {path}: {reason}") from None
    if len(content) > _SIZE_MAX:
        raise ConfigurationError(f"{key}: {path} is larger than {_SIZE_MAX} bytes")
    if not content.strip():
        raise ConfigurationError(f"{key}: {path} is empty")
    return content


def write_private_jwk(path: Path, jwk: dict[str, str]) -> None:
    """Write a private JWK to a new file; see ``write_secret``."""
    write_secret(path, orjson.dumps(jwk, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


def write_secret(path: Path, content: bytes) -> None:
    """Write a secret to a new file that only its owner can read (0600).

    Raises:
        ConfigurationError: the file exists already (it is never overwritten) or cannot be written.
    """
    try:
        write_new(path, content)
    except FileExistsError:
        raise ConfigurationError(
            f"{path} exists already", hint="keys are never overwritten; choose another file name"
        ) from None
    except OSError as exc:
        reason = exc.strerror or type(exc).__name__
        raise ConfigurationError(f"cannot write {path}: {reason}") from None


def _refuse_unfit(status: os.stat_result, path: Path, key: str) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ConfigurationError(f"{key}: {path} is not a plain file")
    if os.name == "posix" and status.st_mode & stat.S_IWOTH:
        raise ConfigurationError(
            f"{key}: everyone on this machine can write {path}"
            f" (mode {stat.S_IMODE(status.st_mode):04o})",
            hint=f"chmod o-rwx {path}; in Kubernetes: defaultMode: 0440 on the secret volume",
        )
