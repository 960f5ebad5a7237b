"""What each purpose needs: keys that are set, files that can be used, a database's password."""

import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import quote, urlsplit, urlunsplit

from worker.config.settings import Database, Roster, Settings
from worker.config.sources import variable_of
from worker.core.hosts import is_loopback
from worker.errors import ConfigurationError, reason_of
from worker.trusted_files import open_trusted, read_secret

Purpose: TypeAlias = Literal["sync", "backfill", "read-pts", "helseid", "person", "report"]
"""What a command is about to do. ``sync``: also ``schedule``; ``read-pts``: without roster and
database; ``person``: one person in the database; ``report``: the database only."""

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
    "sync": (*_PTS, "roster.path", "roster.password_file", _PSEUDONYM_KEY, *_DATABASE),
    "backfill": (*_PTS, _PSEUDONYM_KEY, *_DATABASE),
    "read-pts": _PTS,
    "helseid": _HELSEID,
    "person": (_PSEUDONYM_KEY, *_DATABASE),
    "report": _DATABASE,
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


def required(settings: Settings, name: str) -> Any:
    """The value of a key that has to be set.

    Raises:
        ConfigurationError: it is not; with what to do.
    """
    value = settings.value(name)
    if value is None:
        raise ConfigurationError(f"{name}: is not set ({variable_of(name)})", hint=_REMEDIES[name])
    return value


def _file_problems(name: str, path: Path, forbidden: int) -> Iterator[str]:
    remedy = _OWN_KEY if name == _PSEUDONYM_KEY else "check the path"
    try:
        open_trusted(path, key=name, forbidden=forbidden, way_out=_ON_KUBERNETES).close()
    except FileNotFoundError:
        yield f"{name}: there is no file {path}; {remedy}"
    except OSError as error:
        yield f"{name}: {path} cannot be read: {reason_of(error)}"
    except ConfigurationError as error:
        yield "; ".join(filter(None, (error.message, error.hint)))


def database_url(section: Database | Roster) -> str:
    """The URL to connect with, including the password of ``password_file``. Never log it.

    Raises:
        ConfigurationError: there is no URL, or the file cannot be read or is empty.
    """
    name = type(section).__name__.lower()
    if section.url is None:
        raise ConfigurationError(f"{name}.url is not set")
    if section.password_file is None:
        return section.url
    password = read_secret(section.password_file, key=f"{name}.password_file").rstrip(b"\r\n")
    parts = urlsplit(section.url)
    account, _, host = parts.netloc.rpartition("@")
    netloc = f"{account.partition(':')[0]}:{quote(password, safe='')}@{host}"
    return urlunsplit(parts._replace(netloc=netloc))
