"""What the URL of the store's database may be. What SQLAlchemy would pass over is refused here."""

import re
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

_PARAMETERS: Final = frozenset(
    {
        "database",
        "direct_tls",
        "gsslib",
        "host",
        "krbsrvname",
        "passfile",
        "password",
        "port",
        "prepared_statement_cache_size",
        "service",
        "servicefile",
        "ssl",
        "target_session_attrs",
        "user",
    }
)
"""What may stand behind ``?`` in a PostgreSQL URL: what asyncpg's ``connect`` takes as text."""
_SHOWN: Final = re.compile(r"[A-Za-z_.-]{1,40}")


def check_store_url(url: str) -> None:
    """Refuse a URL that would lead elsewhere than it seems to.

    SQLAlchemy undoes percent-encoding in a file's name, begins parameters at the first ``?``, and
    passes over those that it does not know.

    Raises:
        ValueError: in words that go behind the key's name, without a value of a parameter.
    """
    dialect, _, rest = url.partition("://")
    if dialect == "sqlite":
        _check_sqlite(rest)
    elif dialect == "postgresql":
        _check_parameters(urlsplit(url).query)


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


def _check_parameters(query: str) -> None:
    names = {name for name, _ in parse_qsl(query, keep_blank_values=True)}
    unknown = sorted(names - _PARAMETERS)
    if not unknown:
        return
    shown = ", ".join(name if _SHOWN.fullmatch(name) else "…" for name in unknown)
    help_ = "; write ssl= for sslmode=" if "sslmode" in unknown else ""
    raise ValueError(
        f"has parameters that are not known: {shown}{help_}; known are "
        f"{', '.join(sorted(_PARAMETERS))}"
    )
