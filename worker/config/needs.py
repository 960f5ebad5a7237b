"""The needs of each purpose: required keys, usable files, the database's password."""

import stat
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import quote, urlsplit, urlunsplit

from worker.config.settings import KEYS, Settings, variable_of
from worker.core.hosts import is_loopback
from worker.errors import ConfigurationError
from worker.files import is_missing
from worker.trusted_files import SHARED_WRITE, read_trusted

Purpose: TypeAlias = Literal["sync", "backfill", "read-pts", "helseid", "person", "report"]
"""The purpose of a command. ``sync``: also ``schedule``. ``read-pts``: without roster and database.
``person``: one person in the database. ``report``: the database only."""

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
    "privacy.pseudonym_key_file": "use the key that the database was created with. Only for a new "
    "database, create one with `pts-worker keys pseudonym --out pseudonym.key`, and keep a copy",
}
"""Keys that must be set if their section is used, with remedies."""
_ONLY_IF: Final = {
    "api.base_url": ("api.environment", None),
    "helseid.issuer": ("api.environment", None),
    "helseid.subject_token_file": ("helseid.grant", "token_exchange"),
    "helseid.organization_parent": ("helseid.tenancy", "multi-tenant"),
    "roster.path": ("roster.url", None),
    "privacy.pseudonym_key_file": ("privacy.identity", "pseudonym"),
}
"""Keys that are used only if another key has this value."""
_PUBLIC_FILES: Final = ("api.contract_file", "tls.ca_file")


def unmet(settings: Settings, purpose: Purpose, invalid: Collection[str] = ()) -> Iterator[str]:
    """One line for each missing key and for each unusable file.

    Args:
        invalid: keys and sections that have an error already.
    """
    for name in KEYS:
        section = name.partition(".")[0]
        is_used, other = section in _SECTIONS[purpose], name
        if name in _ONLY_IF:
            other, required_value = _ONLY_IF[name]
            is_used = is_used and settings.value(other) == required_value
        # A key with an invalid value has its own error, and does not count as missing.
        if is_used and {section, name, other}.isdisjoint(invalid):
            try:
                _check(settings, name)
            except ConfigurationError as error:
                yield error.advice


def required(settings: Settings, name: str) -> Any:
    """The value of a required key.

    Raises:
        ConfigurationError: the key is not set. The error has a remedy.
    """
    value = settings.value(name)
    if value is None:
        raise ConfigurationError(f"{name}: is not set ({variable_of(name)})", hint=_REMEDIES[name])
    return value


def _check(settings: Settings, name: str) -> None:
    """Raise an error if a required key is not set, or if the file of a key cannot be used."""
    path = required(settings, name) if name in _REMEDIES else settings.value(name)
    if path is None or not name.endswith("_file"):
        return
    # The keys of a stand-in on loopback are not secret, so other accounts may read them.
    is_rehearsal = is_loopback(urlsplit(settings.helseid.issuer or "").hostname)
    is_secret = name not in _PUBLIC_FILES
    others = stat.S_IRWXO if is_secret and not is_rehearsal else 0
    if is_missing(path):
        remedy = _REMEDIES.get(name, "check the path")
        raise ConfigurationError(f"{name}: there is no file {path}", hint=remedy)
    read_trusted(path, key=name, forbidden=SHARED_WRITE | others, is_secret=is_secret)


def database_url(settings: Settings, section: Literal["database", "roster"]) -> str:
    """The URL to connect with, including the password of ``password_file``. Never log it.

    Raises:
        ConfigurationError: the file cannot be read or is empty.
    """
    url, password_file = str(settings.value(f"{section}.url")), f"{section}.password_file"
    if (file := settings.value(password_file)) is None:
        return url
    password = read_trusted(file, key=password_file, is_secret=True).rstrip(b"\r\n")
    # Quoted, because a password may contain `@` or `/`.
    parts = urlsplit(url)
    account, _, host = parts.netloc.rpartition("@")
    netloc = f"{account.partition(':')[0]}:{quote(password, safe='')}@{host}"
    return urlunsplit(parts._replace(netloc=netloc))
