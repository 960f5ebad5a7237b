"""Read and write secret files."""

from pathlib import Path
from typing import Final

import orjson

from worker.errors import ConfigurationError
from worker.files import write_new
from worker.trusted_files import Trust, read_trusted

_SIZE_MAX: Final = 65_536


def read_secret(path: Path, *, key: str) -> bytes:
    """The content of a file that only trusted users can change (``read_trusted``).

    ``worker.config.needs`` checks whether others can read it, because the rule depends on the
    environment.

    Raises:
        ConfigurationError: the file cannot be read or trusted, is empty, or exceeds 64 KiB.
    """
    content = read_trusted(path, key=key, trust=Trust.SECRET, bytes_max=_SIZE_MAX)
    if not content.strip():
        raise ConfigurationError(f"{key}: {path} is empty")
    return content


def jwk_document(jwk: dict[str, str]) -> bytes:
    """A private JWK as its file holds it."""
    return orjson.dumps(jwk, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def write_secret(path: Path, content: bytes) -> None:
    """Write a secret to a new file with mode 0600.

    Raises:
        ConfigurationError: the file already exists (it is not overwritten) or cannot be written.
    """
    try:
        write_new(path, content)
    except FileExistsError:
        raise ConfigurationError(
            f"{path} already exists", hint="keys are never overwritten; choose another file name"
        ) from None
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigurationError(
            f"cannot write {path.absolute()}: {reason}",
            hint="make the folder, or name a file in another one",
        ) from None
