# ruff: noqa: TRY004 - one error type for the caller
"""The kinds of values: how each is parsed."""

import json
import math
import re
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import NoneType
from typing import Any, Final, get_args
from urllib.parse import SplitResult, urlsplit
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from worker.config.store_url import check_roster_url, check_store_url, sqlite_under
from worker.core.durations import format_duration, parse_duration
from worker.core.hosts import is_loopback
from worker.core.value import Value

_PATH_CHARACTERS_MAX: Final = 1_024
_PORT_MAX: Final = 65_535
_CRON_FIELDS: Final = 5
_ORGANIZATION_NUMBER: Final = re.compile(r"[0-9]{9}")
_DIALECTS: Final = {"sqlite", "postgresql"}


class Kind(Value, frozen=True, kw_only=True):
    """A kind of value.

    Attributes:
        read: parses a value from the file, a variable or a flag. Raises ValueError with a message
            that says what is expected and never contains the value.
        under: a parsed value with its relative path starting at a folder; for paths only.
    """

    read: Callable[[Any], Any]
    under: Callable[[Any, Path], Any] = lambda value, _: value


class Section(Value, frozen=True, kw_only=True):
    """A section of the configuration. None means that a key is not set."""


class Example(Value, frozen=True):
    """An example for a key without a default."""

    value: Any


class Secret(Value, frozen=True):
    """A URL that contains a secret, or may. Its ``repr`` hides the text."""

    hidden = frozenset({"text"})

    text: str

    def reveal(self) -> str:
        """The text."""
        return self.text


def integer(minimum: int, maximum: int) -> Kind:
    """Integers within limits, both inclusive."""

    def read(value: object) -> int:
        number = _number(value)
        if not (minimum <= number <= maximum and number.is_integer()):
            raise ValueError(f"must be an integer from {minimum} to {maximum}")
        return int(number)

    return Kind(read=read)


def number(maximum: float, *, minimum: float = 0, above_zero: bool = False) -> Kind:
    """Numbers within limits, both inclusive; with ``above_zero``, 0 is excluded."""
    limits = (
        f"above 0 and at most {maximum:g}" if above_zero else f"from {minimum:g} to {maximum:g}"
    )

    def read(value: object) -> float:
        number = _number(value)
        if not minimum <= number <= maximum or (above_zero and number == 0):
            raise ValueError(f"must be a number {limits}")
        return number

    return Kind(read=read)


def _number(value: object) -> float:
    """A number from TOML or text; NaN, which fails every limit, for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return math.nan
    try:
        return float(value)
    except (ValueError, OverflowError):
        return math.nan


def kind_of(declared: Any) -> Kind:
    """The kind that a type stands for: ``bool``, ``Path`` or a ``Literal``, perhaps with None."""
    if NoneType in get_args(declared):
        declared = get_args(declared)[0]
    return {bool: FLAG, Path: FILE}.get(declared) or _one_of(get_args(declared))


def _one_of(allowed: tuple[str, ...]) -> Kind:
    """One of these words, which must be all lower case or all upper case."""
    fold = str.upper if allowed[0].isupper() else str.lower
    *first, last = map(repr, allowed)

    def read(value: object) -> str:
        word = fold(value.strip()) if isinstance(value, str) else None
        if word not in allowed:
            raise ValueError(f"must be {', '.join(first)} or {last}")
        return word

    return Kind(read=read)


def subset_of(names: Collection[str]) -> Kind:
    """A list with at least one of these names."""

    def read(value: object) -> tuple[str, ...]:
        chosen = _texts(value)
        if not set(chosen) <= set(names):
            raise ValueError(f"must be one of {', '.join(names)}")
        return chosen

    return Kind(read=read)


def _flag(value: object) -> bool:
    word = value.strip().lower() if isinstance(value, str) else value
    if isinstance(word, bool):
        return word
    if word in ("true", "false"):
        return word == "true"
    raise ValueError("must be true or false")


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("must be a string")
    return value


def _nonempty_text(value: object) -> str:
    if isinstance(value, str) and not value.strip():
        raise ValueError("must not be empty")
    return _text(value)


def _names(value: object) -> tuple[str, ...]:
    """A list; or, from the environment, comma-separated names or a JSON list."""
    names = _structure(value)
    if isinstance(names, str):
        return tuple(name.strip() for name in names.split(",") if name.strip())
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        raise ValueError("must be a list of strings")
    return tuple(names)


def _texts(value: object) -> tuple[str, ...]:
    names = _names(value)
    if not names:
        raise ValueError("must have at least 1 item")
    return names


def _structure(value: object) -> object:
    """Parse a table or list from the environment, where it is written as JSON."""
    if isinstance(value, str) and value.lstrip()[:1] in {"{", "["}:
        try:
            return json.loads(value)
        except ValueError:
            raise ValueError("is not JSON") from None
    return value


def _duration(value: object) -> timedelta:
    if isinstance(value, str):
        return parse_duration(value)
    if isinstance(value, timedelta):
        return value
    raise ValueError("is not a duration; write it as a string with a unit, such as '30m'")


def _positive_duration(value: object) -> timedelta:
    duration = _duration(value)
    if not duration:
        raise ValueError("must be longer than 0")
    return duration


def duration_or_none(*, minimum: timedelta = timedelta(0)) -> Kind:
    """A duration of at least ``minimum``, or ``none``."""

    def read(value: object) -> timedelta | None:
        duration = None if value is None or value == "none" else _duration(value)
        if duration is not None and duration < minimum:
            raise ValueError(f"must be at least {format_duration(minimum)}, or none")
        return duration

    return Kind(read=read)


def _file(value: object) -> Path:
    text = str(value) if isinstance(value, Path) else _text(value)
    if "\n" in text or "{" in text or "BEGIN " in text or len(text) > _PATH_CHARACTERS_MAX:
        raise ValueError("must be a file name, not the content of a file")
    return Path(text)


def _secret_under(value: Secret, folder: Path) -> Secret:
    return Secret(sqlite_under(value.text, folder))


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise ValueError("is not a URL") from None
    return parts


def _http_url(value: object) -> str:
    url = _text(value).strip()
    parts = _split(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be a URL that starts with https://")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not contain a user name or password")
    if parts.query or parts.fragment:
        raise ValueError("must not contain a query or fragment")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise ValueError("http:// is allowed for loopback addresses only; use https://")
    return url.rstrip("/")


def _proxy_url(value: object) -> str:
    url = _text(value).strip()
    parts = _split(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be a URL such as http://proxy.example:3128")
    if parts.username is not None or parts.password is not None:
        raise ValueError(
            "must not contain a user name or password; use network.proxy_credentials_file"
        )
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError("must not contain anything after host and port")
    return url.rstrip("/")


def _store_url(value: object) -> Secret:
    url = _text(value)
    dialect, _, driver = _split(url).scheme.partition("+")
    if dialect == "postgres":
        raise ValueError("starts with postgres://; use postgresql://")
    if dialect not in _DIALECTS:
        raise ValueError("must start with sqlite:/// or postgresql://")
    if driver:
        raise ValueError(f"must not name a driver; write {dialect}:// and the worker selects one")
    check_store_url(url)
    return Secret(url)


def _any_database_url(value: object) -> Secret:
    url = _text(value)
    if "://" not in url or not _split(url).scheme:
        raise ValueError("must be a SQLAlchemy URL, such as postgresql://host/database")
    check_roster_url(url)
    return Secret(url)


def _time_zone(value: object) -> str:
    name = _text(value)
    try:
        ZoneInfo(name)
    except (KeyError, OSError, ValueError):
        raise ValueError("is not a time zone name, such as Europe/Oslo") from None
    return name


def _cron(value: object) -> str:
    fields = _text(value).split()
    if len(fields) != _CRON_FIELDS:
        raise ValueError("must be a cron expression of five fields, such as '30 3 * * *'")
    try:
        CronSim(" ".join(fields), datetime.min.replace(tzinfo=UTC))
    except CronSimError as error:
        raise ValueError(f"must be a cron expression such as '30 3 * * *': {error}") from None
    return " ".join(fields)


def _listen(value: object) -> str:
    address = _text(value).strip()
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) <= _PORT_MAX:
        raise ValueError("must be host:port, such as 127.0.0.1:9464")
    return address


def _organization_number(value: object) -> str:
    digits = _text(value).replace(" ", "")
    if not _ORGANIZATION_NUMBER.fullmatch(digits):
        raise ValueError("must be an organisation number of 9 digits")
    return digits


FLAG: Final = Kind(read=_flag)
TEXT: Final = Kind(read=_text)
NONEMPTY_TEXT: Final = Kind(read=_nonempty_text)
POSITIVE_DURATION: Final = Kind(read=_positive_duration)
FILE: Final = Kind(
    read=_file,
    under=lambda value, folder: folder / value,
)
FILE_OR_STDIN: Final = Kind(
    read=_nonempty_text,
    under=lambda value, folder: value if value == "-" else str(folder / value),
)
HTTP_URL: Final = Kind(read=_http_url)
SECRET_HTTP_URL: Final = Kind(read=lambda value: Secret(_http_url(value)))
PROXY_URL: Final = Kind(read=_proxy_url)
STORE_URL: Final = Kind(read=_store_url, under=_secret_under)
DATABASE_URL: Final = Kind(read=_any_database_url, under=_secret_under)
TIME_ZONE: Final = Kind(read=_time_zone)
CRON: Final = Kind(read=_cron)
LISTEN: Final = Kind(read=_listen)
ORGANIZATION_NUMBER: Final = Kind(read=_organization_number)
