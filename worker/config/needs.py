"""The keys that each command requires, and checks of the files that they name."""

import enum
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from worker.config.keys import KEYS, variable_of
from worker.config.store_url import sqlite_file
from worker.core.hosts import is_loopback
from worker.core.identity import KEY_BYTES_MIN
from worker.errors import ConfigurationError, reason_of
from worker.files import is_missing
from worker.trusted_files import Trust, open_trusted


class Purpose(enum.StrEnum):
    """The purpose of a command, which determines the required keys."""

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


_HELSEID: Final = ("helseid.issuer", "helseid.client_id", "helseid.private_jwk_file")
_PTS: Final = (*_HELSEID, "api.base_url")
_KEY: Final = "privacy.pseudonym_key_file"
_NEEDED: Final[Mapping[Purpose, tuple[str, ...]]] = {
    Purpose.SYNC: (*_PTS, "roster.path", _KEY, "database.url"),
    Purpose.BACKFILL: (*_PTS, _KEY, "database.url"),
    Purpose.READ_PTS: _PTS,
    Purpose.HELSEID: _HELSEID,
    Purpose.PERSON: (_KEY, "database.url"),
    Purpose.REPORT: ("database.url",),
}
_CONDITIONAL: Final = {
    "helseid.subject_token_file": ("helseid.grant", "token_exchange"),
    "helseid.organization_parent": ("helseid.tenancy", "multi-tenant"),
    "privacy.pseudonym_key_file": ("privacy.identity", "pseudonym"),
}
"""Keys that are required only if another key has this value."""

_REMEDIES: Final = {
    "helseid.issuer": "set api.environment to test, test-internet or production",
    "api.base_url": "set api.environment to test, test-internet or production",
    "helseid.client_id": "copy it from HelseID self-service",
    "helseid.private_jwk_file": "use the file from HelseID self-service, or create a key with "
    "`pts-worker keys new`",
    "helseid.subject_token_file": "helseid.grant is token_exchange: set the file with the "
    "person's access token",
    "helseid.organization_parent": "helseid.tenancy is multi-tenant: set the organisation that "
    "the client acts for",
    "roster.path": "set a file with identifiers (or roster.url with roster.query)",
}
_NEW_KEY: Final = "create one with `pts-worker keys pseudonym --out pseudonym.key` and keep a copy"
_FILE_BYTES_MAX: Final = 1 << 20
_ON_KUBERNETES: Final = "on Kubernetes, set defaultMode: 0440 on the volume"


def unmet(
    values: Mapping[str, Any], purpose: Purpose, *, cwd: Path, is_database_chosen: bool
) -> Iterator[str]:
    """One line per missing key, and per file that cannot be used.

    Args:
        values: values by key; missing keys are not checked.
        is_database_chosen: something says which database; otherwise nobody knows if it is new.
    """
    forbidden_mode = stat.S_IWOTH if _is_rehearsal(values) else stat.S_IRWXO
    names = dict.fromkeys(_NEEDED[purpose])
    if "helseid.client_id" in names:
        names |= dict.fromkeys(("helseid.subject_token_file", "helseid.organization_parent"))
        names |= {"tls.ca_file": None, "network.proxy_credentials_file": None}
    if "database.url" in names:
        names |= {"database.password_file": None}
    if "roster.path" in names and values.get("roster.url"):
        del names["roster.path"]
        names |= {"roster.password_file": None}
    key_remedy = _key_remedy(values, cwd) if is_database_chosen else "name the file with the key"
    remedies = {**_REMEDIES, _KEY: key_remedy}
    for name in names:
        if name not in values or not _applies(name, values):
            continue
        if values[name] is not None and KEYS[name].is_file:
            remedy = key_remedy if name == _KEY else "check the path"
            yield from _file_problems(name, cwd / str(values[name]), forbidden_mode, remedy)
        elif values[name] is None and (remedy := remedies.get(name, "")):
            yield f"{name}: is not set ({variable_of(name)}); {remedy}"


def _applies(name: str, values: Mapping[str, Any]) -> bool:
    if name not in _CONDITIONAL:
        return True
    condition, value = _CONDITIONAL[name]
    return values.get(condition) == value


def _key_remedy(values: Mapping[str, Any], cwd: Path) -> str:
    """What to do without a pseudonym key. A new one fits a new database only."""
    url = values.get("database.url")
    file = None if url is None else sqlite_file(url.reveal(), cwd)
    if file is None:
        return f"use the key that the database was created with; only for a new one, {_NEW_KEY}"
    if not is_missing(file):
        return f"use the key that the database {file} was created with; no other key fits it"
    return f"there is no database at {file} either: if it is to be a new one, {_NEW_KEY}"


def _is_rehearsal(values: Mapping[str, Any]) -> bool:
    """Whether HelseID is a stand-in on loopback, so that secrets need no strict file mode."""
    issuer = values.get("helseid.issuer")
    return issuer is not None and is_loopback(urlsplit(str(issuer)).hostname)


def _file_problems(name: str, path: Path, forbidden_mode: int, remedy: str) -> Iterator[str]:
    trust = Trust.DATA if name == "roster.path" else Trust.SECRET
    forbidden = forbidden_mode if KEYS[name].is_secret_file else 0
    try:
        with open_trusted(
            path, key=name, trust=trust, forbidden=forbidden, way_out=_ON_KUBERNETES
        ) as file:
            status = os.fstat(file.fileno())
    except OSError as error:
        hint = f"; {remedy}" if isinstance(error, FileNotFoundError) else ""
        yield f"{name}: {path} cannot be read: {reason_of(error)}{hint}"
        return
    except ConfigurationError as error:
        yield "; ".join(filter(None, (error.message, error.hint)))
        return
    if status.st_size == 0 and stat.S_ISREG(status.st_mode):
        yield f"{name}: {path} is empty; {remedy}"
    elif status.st_size > _FILE_BYTES_MAX:
        yield f"{name}: {path} is larger than {_FILE_BYTES_MAX} bytes; check the file name"
    elif name == "privacy.pseudonym_key_file" and status.st_size < KEY_BYTES_MIN:
        yield (
            f"{name}: {path} has {status.st_size} bytes; a key has at least {KEY_BYTES_MIN} "
            f"random bytes; {remedy}"
        )
