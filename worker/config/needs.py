"""What each purpose needs: keys that are set, files that can be used, a database's password."""

import stat
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import quote, urlsplit, urlunsplit

from worker.config.settings import KEYS, Settings, variable_of
from worker.core.hosts import is_loopback
from worker.errors import ConfigurationError, reason_of
from worker.trusted_files import OTHERS_WRITE, open_trusted, read_trusted

Purpose: TypeAlias = Literal["sync", "backfill", "read-pts", "helseid", "person", "report"]
"""What a command is about to do. ``sync``: also ``schedule``; ``read-pts``: without roster and
database; ``person``: one person in the database; ``report``: the database only."""

_HELSEID: Final = ("helseid", "network", "tls")
_SECTIONS: Final[Mapping[Purpose, tuple[str, ...]]] = {
    "sync": ("api", *_HELSEID, "roster", "privacy", "database"),
    "backfill": ("api", *_HELSEID, "privacy", "database"),
    "read-pts": ("api", *_HELSEID),
    "helseid": _HELSEID,
    "person": ("privacy", "database"),
    "report": ("database",),
}
"""The sections that each purpose uses."""
_ENVIRONMENT: Final = "set api.environment to test, test-internet or production"
_REMEDIES: Final = {
    **dict.fromkeys(("api.base_url", "helseid.issuer"), _ENVIRONMENT),
    "helseid.client_id": "copy it from HelseID self-service",
    "helseid.private_jwk_file": "use the file from HelseID self-service, or create a key with "
    "`pts-worker keys new`",
    "helseid.subject_token_file": "helseid.grant token_exchange sends the token in this file",
    "helseid.organization_parent": "helseid.tenancy multi-tenant acts for this organisation",
    "roster.path": "set a file with identifiers (or roster.url with roster.query)",
    "privacy.pseudonym_key_file": "use the key that the database was created with, no other fits; "
    "only for a new database, create one with `pts-worker keys pseudonym --out pseudonym.key`, and "
    "keep a copy",
}
"""Keys that must be set where their section is used, and what to do."""
_ONLY_IF: Final = {
    "api.base_url": ("api.environment", None),
    "helseid.issuer": ("api.environment", None),
    "helseid.subject_token_file": ("helseid.grant", "token_exchange"),
    "helseid.organization_parent": ("helseid.tenancy", "multi-tenant"),
    "roster.path": ("roster.url", None),
    "privacy.pseudonym_key_file": ("privacy.identity", "pseudonym"),
}
"""Keys that are used only while another has this value."""
_NO_SECRETS: Final = ("api.contract_file", "tls.ca_file")


def unmet(settings: Settings, purpose: Purpose, unknown: Collection[str] = ()) -> Iterator[str]:
    """One line per missing key, and per file that cannot be used.

    Args:
        unknown: keys and sections whose values are not known.
    """
    for name in KEYS:
        section = name.partition(".")[0]
        other, wanted = _ONLY_IF.get(name, (name, settings.value(name)))
        is_used = section in _SECTIONS[purpose] and settings.value(other) == wanted
        if is_used and {section, name, other}.isdisjoint(unknown):
            try:
                _check(settings, name)
            except ConfigurationError as error:
                yield error.advice


def required(settings: Settings, name: str) -> Any:
    """The value of a key that has to be set.

    Raises:
        ConfigurationError: it is not; with what to do.
    """
    value = settings.value(name)
    if value is None:
        raise ConfigurationError(f"{name}: is not set ({variable_of(name)})", hint=_REMEDIES[name])
    return value


def _check(settings: Settings, name: str) -> None:
    """Raise what is wrong with a key that has to be set, or with a file that has to be read."""
    path = required(settings, name) if name in _REMEDIES else settings.value(name)
    if path is None or not name.endswith("_file"):
        return
    # Of a stand-in on loopback others may read the secrets: they are none.
    is_rehearsal = is_loopback(urlsplit(settings.helseid.issuer or "").hostname)
    is_secret = name not in _NO_SECRETS
    reached = stat.S_IRWXO if is_secret and not is_rehearsal else 0
    try:
        open_trusted(path, key=name, forbidden=OTHERS_WRITE | reached, is_secret=is_secret).close()
    except FileNotFoundError:
        remedy = _REMEDIES.get(name, "check the path")
        raise ConfigurationError(f"{name}: there is no file {path}", hint=remedy) from None
    except OSError as error:
        raise ConfigurationError(f"{name}: {path} cannot be read: {reason_of(error)}") from None


def database_url(settings: Settings, section: Literal["database", "roster"]) -> str:
    """The URL to connect with, including the password of ``password_file``. Never log it.

    Raises:
        ConfigurationError: the file cannot be read or is empty.
    """
    url, password_file = str(settings.value(f"{section}.url")), f"{section}.password_file"
    if (file := settings.value(password_file)) is None:
        return url
    password = read_trusted(file, key=password_file, is_secret=True).rstrip(b"\r\n")
    parts = urlsplit(url)
    account, _, host = parts.netloc.rpartition("@")
    netloc = f"{account.partition(':')[0]}:{quote(password, safe='')}@{host}"
    return urlunsplit(parts._replace(netloc=netloc))
