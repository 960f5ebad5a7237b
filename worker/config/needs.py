"""What each purpose needs: keys that are set, and files that can be used."""

import enum
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from worker.config.keys import variable_of
from worker.core.hosts import is_loopback
from worker.core.identity import KEY_BYTES_MIN
from worker.errors import ConfigurationError, reason_of
from worker.trusted_files import open_trusted


class Purpose(enum.StrEnum):
    """What a command is about to do."""

    SYNC = "sync"
    """``sync`` and ``schedule``."""
    BACKFILL = "backfill"
    """``backfill``; the roster is optional."""
    READ_PTS = "read-pts"
    """HelseID and PTS, without roster and database."""
    HELSEID = "helseid"
    """HelseID only."""
    PERSON = "person"
    """One person in the database: ``explain``, ``erase``."""
    REPORT = "report"
    """The database only: ``status``, ``report``, ``export``, ``failures list``, ``db``."""


_PSEUDONYM_KEY: Final = "privacy.pseudonym_key_file"
_OWN_KEY: Final = (
    "use the key that the database was created with, no other fits; only for a new database, "
    "create one with `pts-worker keys pseudonym --out pseudonym.key`, and keep a copy"
)
_ENVIRONMENT: Final = "set api.environment to test, test-internet or production"
_REMEDIES: Final = {
    "helseid.issuer": _ENVIRONMENT,
    "helseid.client_id": "copy it from HelseID self-service",
    "helseid.private_jwk_file": "use the file from HelseID self-service, or create a key with "
    "`pts-worker keys new`",
    "helseid.subject_token_file": "helseid.grant token_exchange sends the token in this file",
    "helseid.organization_parent": "helseid.tenancy multi-tenant acts for this organisation",
    "api.base_url": _ENVIRONMENT,
    "roster.path": "set a file with identifiers (or roster.url with roster.query)",
    _PSEUDONYM_KEY: _OWN_KEY,
}
"""Keys that must be set, and what to do."""
_ONLY_IF: Final = {
    "helseid.subject_token_file": ("helseid.grant", "token_exchange"),
    "helseid.organization_parent": ("helseid.tenancy", "multi-tenant"),
    "roster.path": ("roster.url", None),
    _PSEUDONYM_KEY: ("privacy.identity", "pseudonym"),
}
"""Keys that are needed only while another has this value."""
_HELSEID: Final = (
    *("helseid.issuer", "helseid.client_id", "helseid.private_jwk_file"),
    *("helseid.subject_token_file", "helseid.organization_parent"),
    *("network.proxy_credentials_file", "tls.ca_file"),
)
_PTS: Final = (*_HELSEID, "api.base_url")
_DATABASE: Final = ("database.password_file",)
_USED: Final[Mapping[Purpose, tuple[str, ...]]] = {
    Purpose.SYNC: (*_PTS, "roster.path", "roster.password_file", _PSEUDONYM_KEY, *_DATABASE),
    Purpose.BACKFILL: (*_PTS, _PSEUDONYM_KEY, *_DATABASE),
    Purpose.READ_PTS: _PTS,
    Purpose.HELSEID: _HELSEID,
    Purpose.PERSON: (_PSEUDONYM_KEY, *_DATABASE),
    Purpose.REPORT: _DATABASE,
}
_ON_KUBERNETES: Final = "on Kubernetes, set defaultMode: 0440 on the volume"


def unmet(values: Mapping[str, Any], purpose: Purpose) -> Iterator[str]:
    """One line per missing key, and per file that cannot be used.

    Args:
        values: values by key; keys that are not among them are not checked.
    """
    # Of a stand-in on loopback others may read the secrets: they are none.
    issuer = urlsplit(values.get("helseid.issuer") or "")
    secret_bits = stat.S_IWOTH if is_loopback(issuer.hostname) else stat.S_IRWXO
    for name in _USED[purpose]:
        condition, wanted = _ONLY_IF.get(name, ("", None))
        if name not in values or values.get(condition) != wanted:
            continue
        if values[name] is None and name in _REMEDIES:
            yield f"{name}: is not set ({variable_of(name)}); {_REMEDIES[name]}"
        elif values[name] is not None and name.endswith("_file"):
            forbidden = 0 if name == "tls.ca_file" else secret_bits
            yield from _file_problems(name, values[name], forbidden)


def _file_problems(name: str, path: Path, forbidden: int) -> Iterator[str]:
    remedy = _OWN_KEY if name == _PSEUDONYM_KEY else "check the path"
    size_min = KEY_BYTES_MIN if name == _PSEUDONYM_KEY else 1
    try:
        with open_trusted(path, key=name, forbidden=forbidden, way_out=_ON_KUBERNETES) as file:
            size = os.fstat(file.fileno()).st_size
    except FileNotFoundError:
        yield f"{name}: there is no file {path}; {remedy}"
    except OSError as error:
        yield f"{name}: {path} cannot be read: {reason_of(error)}"
    except ConfigurationError as error:
        yield "; ".join(filter(None, (error.message, error.hint)))
    else:
        if size < size_min:
            yield f"{name}: {path} has {size} bytes, which are too few; {remedy}"
