"""Checks database URLs, and resolves relative file names of SQLite."""

import re
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

from worker.core.hosts import parts_of

ROOT_PARAMETER: Final = "sslrootcert"
TLS_PARAMETERS: Final = ("sslmode", ROOT_PARAMETER)
"""URL parameters that the worker reads (``worker.tls``) and does not pass to the driver."""
_SECRET_WORD: Final = re.compile(r"password|passwd|pwd|secret|token", re.IGNORECASE)
_PARAMETERS: Final = frozenset(TLS_PARAMETERS) | {
    *("database", "gsslib", "host", "krbsrvname", "passfile", "port", "user"),
    *("prepared_statement_cache_size", "target_session_attrs"),
}
"""Allowed parameters of a PostgreSQL URL: libpq's TLS parameters, and the text parameters of
asyncpg's ``connect``. ``service`` is not allowed, because asyncpg ignores it if a host is set."""


def check_store_url(url: str) -> str:
    """Reject a ``database.url`` that is misleading or not secure.

    SQLAlchemy decodes percent-encoding in a file name, starts parameters at the first ``?``, and
    ignores unknown parameters.

    Raises:
        ValueError: the caller puts the key's name before the message, which contains no part of the
            URL.
    """
    scheme = _checked_scheme(url)
    if scheme not in {"sqlite", "postgresql"} or "://" not in url:
        raise ValueError("must start with sqlite:/// or postgresql://, without a driver's name")
    if scheme == "sqlite":
        _check_sqlite(url.partition("://")[2])
    else:
        _check_postgres(url)
    return url


def check_roster_url(url: str) -> str:
    """Reject a ``roster.url`` that is not a URL, or for PostgreSQL is misleading or not secure.

    Raises:
        ValueError: as in ``check_store_url``.
    """
    dialect, _, driver = _checked_scheme(url).partition("+")
    if not dialect or "://" not in url:
        raise ValueError("must be a SQLAlchemy URL, such as postgresql://host/database")
    if dialect == "postgresql":
        if driver not in {"", "asyncpg"}:
            raise ValueError(
                "names a driver whose TLS settings the worker does not support; use postgresql://"
            )
        _check_postgres(url)
    return url


def _checked_scheme(url: str) -> str:
    parts = parts_of(url)
    names = (pair.partition("=")[0] for pair in parts.query.split("&"))
    if parts.password or any(map(_SECRET_WORD.search, names)):
        raise ValueError("contains a password; write it to a file and set password_file")
    return parts.scheme


def _check_sqlite(rest: str) -> None:
    host, _, path_and_query = rest.partition("/")
    if host:
        raise ValueError("names no file; write sqlite:/// with three slashes before the path")
    path, question_mark, _ = path_and_query.partition("?")
    if question_mark:
        raise ValueError(
            "has parameters after `?`, which are not allowed for SQLite; write a question mark in "
            "a file name as %3F"
        )
    if "\0" in unquote(path):
        raise ValueError("must be plain text")
    if unquote(path) in {"", ":memory:"}:
        raise ValueError(
            "names an in-memory database, which is lost when the command ends; name a file: "
            "sqlite:///FILE"
        )


def _check_postgres(url: str) -> None:
    names = [name for name, _ in parse_qsl(urlsplit(url).query, keep_blank_values=True)]
    # SQLAlchemy and asyncpg ignore a misspelled parameter, so `sslmod=verify-full` would be lost.
    if not {*names} <= _PARAMETERS:
        raise ValueError(f"has unknown parameters; allowed are {', '.join(sorted(_PARAMETERS))}")
    # Libraries differ on whether the first or the last counts.
    if any(names.count(name) > 1 for name in TLS_PARAMETERS):
        raise ValueError(f"has {' or '.join(TLS_PARAMETERS)} more than once")


def sqlite_under(url: str, folder: str) -> str:
    """The URL with the relative file name of SQLite resolved against a folder.

    Absolute names, ``:memory:`` and URLs of other databases are returned unchanged.
    """
    dialect, _, rest = url.partition("://")
    host, slash, name = rest.partition("/")
    is_file = dialect.partition("+")[0] == "sqlite" and slash and not host
    if not is_file or not name or name.startswith(("/", "?", ":memory:", "file:")):
        return url
    start = folder.replace("%", "%25").replace("?", "%3F").rstrip("/")
    return f"{dialect}:///{start}/{name}"
