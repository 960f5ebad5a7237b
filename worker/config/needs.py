"""What each purpose needs to be set, and whether the files that are named can be read."""

import enum
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from worker.config.keys import KEYS, variable_of
from worker.core.hosts import is_loopback
from worker.core.identity import KEY_BYTES_MIN
from worker.errors import ConfigurationError
from worker.trusted_files import Trust, open_examined


class Purpose(enum.StrEnum):
    """What a command is about to do, as far as the configuration matters."""

    SYNC = "sync"
    """A run over the roster; also ``schedule``."""
    BACKFILL = "backfill"
    """A run over persons named otherwise, or over the roster when one is set."""
    PLAN = "plan"
    """Roster and database, without HelseID and PTS."""
    READ_PTS = "read-pts"
    """Tokens and PTS, without roster and database."""
    HELSEID = "helseid"
    """A token of HelseID."""
    PERSON = "person"
    """One person in the database: ``explain``, ``erase``."""
    REPORT = "report"
    """The database alone: ``status``, ``report``, ``export``, ``failures list``, ``db``."""


_HELSEID: Final = ("helseid.issuer", "helseid.client_id", "helseid.private_jwk_file")
_PTS: Final = (*_HELSEID, "api.base_url")
_ROSTER: Final = ("roster.path",)
_PERSON: Final = ("privacy.pseudonym_key_file",)
_NEEDED: Final[Mapping[Purpose, tuple[str, ...]]] = {
    Purpose.SYNC: (*_PTS, *_ROSTER, *_PERSON, "database.url"),
    Purpose.BACKFILL: (*_PTS, *_PERSON, "database.url"),
    Purpose.PLAN: (*_ROSTER, *_PERSON, "database.url"),
    Purpose.READ_PTS: _PTS,
    Purpose.HELSEID: _HELSEID,
    Purpose.PERSON: (*_PERSON, "database.url"),
    Purpose.REPORT: ("database.url",),
}
_CONDITIONAL: Final = {
    "helseid.subject_token_file": ("helseid.grant", "token_exchange"),
    "helseid.organization_parent": ("helseid.tenancy", "multi-tenant"),
    "privacy.pseudonym_key_file": ("privacy.identity", "pseudonym"),
}
"""Keys that are needed only while another key has a certain value."""

_REMEDIES: Final = {
    "helseid.issuer": "set api.environment to test, test-internet or production",
    "api.base_url": "set api.environment to test, test-internet or production",
    "helseid.client_id": "take it from HelseID's self-service",
    "helseid.private_jwk_file": "name the file from HelseID's self-service, or make a key with "
    "`pts-worker keys new`",
    "helseid.subject_token_file": "helseid.grant is token_exchange: name the file with the "
    "person's access token",
    "helseid.organization_parent": "helseid.tenancy is multi-tenant: name the organisation that "
    "the client acts for",
    "roster.path": "name a file of identifiers (or roster.url with roster.query)",
    "privacy.pseudonym_key_file": "for a new database make one with "
    "`pts-worker keys pseudonym --out pseudonym.key`, and keep a copy in a safe place; a database "
    "that holds persons needs the key that it was begun with",
}
_FILE_BYTES_MAX: Final = 1 << 20


def unmet(values: Mapping[str, Any], purpose: Purpose, *, cwd: Path) -> Iterator[str]:
    """One line for each key that is missing, and for each named file that cannot serve.

    Args:
        values: every key's value; a key that is left out is not judged.
        purpose: what it is for.
        cwd: where relative paths start.
    """
    forbidden = stat.S_IWOTH if _is_rehearsal(values) else stat.S_IRWXO
    wanted = dict.fromkeys(_NEEDED[purpose])
    if "helseid.client_id" in wanted:
        wanted |= dict.fromkeys(("helseid.subject_token_file", "helseid.organization_parent"))
        wanted |= {"tls.ca_file": None, "network.proxy_credentials_file": None}
    if "database.url" in wanted:
        wanted |= {"database.password_file": None}
    if "roster.path" in wanted and values.get("roster.url"):
        del wanted["roster.path"]
        wanted |= {"roster.password_file": None}
    for name in wanted:
        if name not in values or not _applies(name, values):
            continue
        if values[name] is not None and KEYS[name].is_file:
            yield from _file_problems(name, cwd / str(values[name]), forbidden)
        elif values[name] is None and name in _REMEDIES:
            yield f"{name}: is not set ({variable_of(name)}); {_REMEDIES[name]}"


def _applies(name: str, values: Mapping[str, Any]) -> bool:
    if name not in _CONDITIONAL:
        return True
    other, wanted = _CONDITIONAL[name]
    return values.get(other) == wanted


def _is_rehearsal(values: Mapping[str, Any]) -> bool:
    """Whether HelseID is a stand-in on this machine: then no secret is worth a strict file mode."""
    issuer = values.get("helseid.issuer")
    return issuer is not None and is_loopback(urlsplit(str(issuer)).hostname)


def _file_problems(name: str, path: Path, forbidden: int) -> Iterator[str]:
    trust = Trust.DATA if name == "roster.path" else Trust.SECRET
    try:
        with open_examined(path, key=name, trust=trust) as file:
            status = os.fstat(file.fileno())
    except OSError as error:
        is_missing = isinstance(error, FileNotFoundError)
        remedy = f"; {_REMEDIES[name]}" if is_missing and name in _REMEDIES else ""
        reason = (error.strerror or type(error).__name__).lower()
        yield f"{name}: {path} cannot be read: {reason}{remedy}"
        return
    except ConfigurationError as error:
        yield "; ".join(filter(None, (error.message, error.hint)))
        return
    if status.st_size == 0 and stat.S_ISREG(status.st_mode):
        yield f"{name}: {path} is empty"
    elif status.st_size > _FILE_BYTES_MAX:
        yield f"{name}: {path} is larger than {_FILE_BYTES_MAX} bytes; is it the right file?"
    elif name == "privacy.pseudonym_key_file" and status.st_size < KEY_BYTES_MIN:
        yield (
            f"{name}: {path} holds {status.st_size} bytes; a key is at least {KEY_BYTES_MIN} "
            f"random bytes; {_REMEDIES[name]}"
        )
    if KEYS[name].is_secret_file and os.name == "posix" and status.st_mode & forbidden:
        yield (
            f"{name}: {path} is open to every user of this machine; run `chmod o= {path}`, or set "
            "defaultMode: 0440 on the Kubernetes volume"
        )
