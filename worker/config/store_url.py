"""What the URL of a database may be. What SQLAlchemy would pass over is refused here."""

import re
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
"""What may stand behind ``?`` in a PostgreSQL URL: the TLS that libpq knows, and what asyncpg's
``connect`` takes as text. Its ``service`` counts for nothing beside a host."""
_SHOWN: Final = re.compile(r"[A-Za-z_.-]{1,40}")


def check_store_url(url: str) -> None:
    """Refuse a URL that would lead elsewhere than it seems to, or to whoever answers.

    SQLAlchemy undoes percent-encoding in a file's name, begins parameters at the first ``?``, and
    passes over those that it does not know.

    Raises:
        ValueError: in words that go behind the key's name, without a value of a parameter.
    """
    dialect, _, rest = url.partition("://")
    if dialect == "sqlite":
        _check_sqlite(rest)
    elif dialect == "postgresql":
        _check_postgres(url)


def check_roster_url(url: str) -> None:
    """The same for the database of ``roster.query``, as far as the worker picks its driver.

    Raises:
        ValueError: as there.
    """
    dialect, _, driver = url.partition("://")[0].partition("+")
    if dialect != "postgresql":
        return
    if driver not in {"", "asyncpg"}:
        raise ValueError(
            "names a driver whose TLS the worker does not know; write postgresql:// instead"
        )
    _check_postgres(url)


def _check_sqlite(rest: str) -> None:
    place, _, behind = rest.partition("/")
    if place:
        raise ValueError("names no file; write sqlite:/// with three slashes before its path")
    path, mark, _ = behind.partition("?")
    if mark:
        raise ValueError(
            "has parameters behind `?`, and SQLite gets none from the worker; a question mark in "
            "a file's name is written %3F"
        )
    name = unquote(path)
    if name in {"", ":memory:"}:
        raise ValueError(
            "names a database in memory, which is gone with the command; name a file: "
            "sqlite:///FILE"
        )
    if "\0" in name:
        raise ValueError("holds a NUL character, which no file's name can")


def _check_postgres(url: str) -> None:
    parameters = parse_qsl(urlsplit(url).query, keep_blank_values=True)
    unknown = sorted({name for name, _ in parameters} - _PARAMETERS)
    if unknown:
        shown = ", ".join(name if _SHOWN.fullmatch(name) else "…" for name in unknown)
        raise ValueError(
            f"has parameters that are not known: {shown}; known are "
            f"{', '.join(sorted(_PARAMETERS))}"
        )
    twice = sorted({n for n in TLS_PARAMETERS if [name for name, _ in parameters].count(n) > 1})
    if twice:
        raise ValueError(f"has {', '.join(twice)} more than once")
    if dict(parameters).get("direct_tls", "true") not in {"true", "false"}:
        raise ValueError("has a direct_tls that is neither true nor false")
    demand_of(hosts_of(url), dict(parameters))
