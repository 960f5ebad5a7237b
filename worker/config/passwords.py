"""The password of a database, from its file into the URL."""

from urllib.parse import quote, urlsplit, urlunsplit

from worker.config.settings import Database, Roster
from worker.errors import ConfigurationError
from worker.trusted_files import read_secret


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
    key = f"{name}.password_file"
    content = read_secret(section.password_file, key=key)
    try:
        password = content.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise ConfigurationError(f"{key}: {section.password_file} is not UTF-8") from None
    parts = urlsplit(section.url)
    account, at, host = parts.netloc.rpartition("@")
    if not at:
        raise ConfigurationError(
            f"{name}.url names no user, so {key} cannot be used",
            hint="write the user before the host: postgresql://user@host/database",
        )
    netloc = f"{account.partition(':')[0]}:{quote(password, safe='')}@{host}"
    return urlunsplit(parts._replace(netloc=netloc))
