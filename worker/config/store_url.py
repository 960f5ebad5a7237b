"""Validate database URLs. Rejects what SQLAlchemy would silently ignore."""

import re
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

from worker.core.database_tls import TLS_PARAMETERS, demand_of, hosts_of

_PARAMETERS: Final = frozenset(
    {
        *TLS_PARAMETERS,
        "database",
        "direct_tls",
        "gsslib",
        "host",
        "krbsrvname",
        "passfile",
        "password",
        "port",
        "prepared_statement_cache_size",
        "target_session_attrs",
        "user",
    }
)
"""Allowed parameters of a PostgreSQL URL: libpq's TLS parameters, and the text parameters of
asyncpg's ``connect``. ``service`` is not allowed, because asyncpg ignores it if a host is set."""
_SHOWN: Final = re.compile(r"[A-Za-z_.-]{1,40}")


def check_store_url(url: str) -> None:
    """Reject a ``database.url`` that is misleading or not secure.

    SQLAlchemy decodes percent-encoding in a file name, starts parameters at the first ``?``, and
    ignores unknown parameters.

    Raises:
        ValueError: the message follows the key's name and contains no parameter value.
    """
    dialect, _, rest = url.partition("://")
    if dialect == "sqlite":
        _check_sqlite(rest)
    elif dialect == "postgresql":
        _check_postgres(url)


def check_roster_url(url: str) -> None:
    """Reject a ``roster.url`` for PostgreSQL that is misleading or not secure.

    Raises:
        ValueError: as in ``check_store_url``.
    """
    dialect, _, driver = url.partition("://")[0].partition("+")
    if dialect != "postgresql":
        return
    if driver not in {"", "asyncpg"}:
        raise ValueError(
            "names a driver whose TLS settings the worker does not support; use postgresql://"
        )
    _check_postgres(url)


def sqlite_under(url: str, folder: Path) -> str:
    """The URL with the file name of SQLite starting at a folder, if it is relative.

    Other databases, absolute names and ``:memory:`` stay as they are.
    """
    dialect, _, rest = url.partition("://")
    host, slash, name = rest.partition("/")
    is_file = dialect.partition("+")[0] == "sqlite" and slash and not host
    if not is_file or not name or name.startswith(("/", "?", ":memory:", "file:")):
        return url
    start = str(folder).replace("%", "%25").replace("?", "%3F").rstrip("/")
    return f"{dialect}:///{start}/{name}"


def sqlite_file(url: str, cwd: Path) -> Path | None:
    """The absolute path of a SQLite file; None for another database."""
    dialect, _, rest = url.partition("://")
    name = unquote(rest.partition("/")[2])
    return cwd / name if dialect == "sqlite" and name else None


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
    name = unquote(path)
    if name in {"", ":memory:"}:
        raise ValueError(
            "names an in-memory database, which is lost when the command ends; name a file: "
            "sqlite:///FILE"
        )
    if "\0" in name:
        raise ValueError("contains a NUL character")


def _check_postgres(url: str) -> None:
    parameters = parse_qsl(urlsplit(url).query, keep_blank_values=True)
    unknown = sorted({name for name, _ in parameters} - _PARAMETERS)
    if unknown:
        shown = ", ".join(name if _SHOWN.fullmatch(name) else "…" for name in unknown)
        raise ValueError(
            f"has unknown parameters: {shown}; allowed are {', '.join(sorted(_PARAMETERS))}"
        )
    names = [name for name, _ in parameters]
    repeated = sorted({name for name in TLS_PARAMETERS if names.count(name) > 1})
    if repeated:
        raise ValueError(f"has {', '.join(repeated)} more than once")
    if dict(parameters).get("direct_tls", "true") not in {"true", "false"}:
        raise ValueError("has a direct_tls other than true or false")
    demand_of(hosts_of(url), dict(parameters))
