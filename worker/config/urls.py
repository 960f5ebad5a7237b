"""URLs with secrets: hide the password or the path, or insert a password from a file."""

import re
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlsplit, urlunsplit

from worker.config.sections.data import Database, Roster
from worker.errors import ConfigurationError
from worker.trusted_files import read_secret

HIDDEN: Final = "***"
_SECRET_WORD: Final = re.compile(r"passw|pwd|secret|token|key", re.IGNORECASE)


def has_password(url: str) -> bool:
    """Whether a database URL contains a password, before the host or in the parameters."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "@" in url
    names = (pair.partition("=")[0] for pair in parts.query.split("&"))
    return parts.password is not None or any(map(_SECRET_WORD.search, names))


def hide_password(url: str) -> str:
    """The URL with passwords, secret parameters and the path of a web address as ``***``."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return HIDDEN
    if parts.scheme in {"http", "https"}:  # the path is the secret
        return f"{parts.scheme}://{parts.netloc}/{HIDDEN}"
    account, at, host = parts.netloc.rpartition("@")
    user, colon, _ = account.partition(":")
    netloc = f"{user}:{HIDDEN}@{host}" if colon else f"{account}{at}{host}"
    pairs = []
    for pair in parts.query.split("&") if parts.query else []:
        name, equals, _ = pair.partition("=")
        pairs.append(f"{name}{equals}{HIDDEN}" if _SECRET_WORD.search(name) else pair)
    # urlunsplit would write sqlite:///file as sqlite:/file.
    query = f"?{'&'.join(pairs)}" if pairs else ""
    return f"{parts.scheme}://{netloc}{parts.path}{query}"


def database_url(database: Database | Roster, *, cwd: Path) -> str:
    """The URL to connect with, including the password of ``password_file``. Never log it.

    Raises:
        ConfigurationError: there is no URL, or the file cannot be read or is empty.
    """
    section = type(database).__name__.lower()
    if database.url is None:
        raise ConfigurationError(f"{section}.url is not set")
    url = database.url.reveal()
    if database.password_file is None:
        return url
    key = f"{section}.password_file"
    content = read_secret(cwd / database.password_file, key=key)
    try:
        password = content.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise ConfigurationError(f"{key}: {database.password_file} is not UTF-8") from None
    parts = urlsplit(url)
    account, at, host = parts.netloc.rpartition("@")
    if not at:
        raise ConfigurationError(
            f"{section}.url names no user, so {section}.password_file cannot be used",
            hint="write the user before the host: postgresql://user@host/database",
        )
    netloc = f"{account.partition(':')[0]}:{quote(password, safe='')}@{host}"
    return urlunsplit(parts._replace(netloc=netloc))
