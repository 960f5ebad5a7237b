# ruff: noqa: TRY004 - whatever is wrong with a value, the caller gets one kind of error
"""The kinds of value that a key may hold: how each is read, and what JSON Schema says of it."""

import json
import math
import re
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, get_args
from urllib.parse import SplitResult, urlsplit
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from worker.config.store_url import check_roster_url, check_store_url
from worker.core.durations import format_duration, parse_duration
from worker.core.hosts import is_loopback
from worker.core.value import Value

_PATH_CHARACTERS_MAX: Final = 1_024
_PORT_MAX: Final = 65_535
_CRON_FIELDS: Final = 5
_ORGANIZATION_NUMBER: Final = re.compile(r"[0-9]{9}")
_DRIVERLESS: Final = {"sqlite", "postgresql"}


class Kind(Value, frozen=True, kw_only=True):
    """A kind of value.

    Attributes:
        read: makes the value of what stands in the file, in a variable or in a flag. If it cannot,
            it raises ValueError that tells what must stand there, and never what does.
        schema: what JSON Schema says of it.
    """

    read: Callable[[Any], Any]
    schema: Mapping[str, Any]


class Example(Value, frozen=True):
    """A value to show for a key that has no default."""

    value: Any


class Secret(Value, frozen=True):
    """A text that is not shown by accident: a URL that may hold a password."""

    hidden = frozenset({"text"})

    text: str

    def reveal(self) -> str:
        """The text, for the one place that needs it."""
        return self.text


def whole(least: int, most: int) -> Kind:
    """Whole numbers within limits, both included."""

    def read(value: object) -> int:
        number = _number(value)
        if not (least <= number <= most and number.is_integer()):
            raise ValueError(f"must be a whole number from {least} to {most}")
        return int(number)

    return Kind(read=read, schema={"type": "integer", "minimum": least, "maximum": most})


def number(most: float, *, least: float = 0, above_zero: bool = False) -> Kind:
    """Numbers between two limits that are included, or above 0."""
    limits = f"above 0 and at most {most:g}" if above_zero else f"from {least:g} to {most:g}"

    def read(value: object) -> float:
        number = _number(value)
        if not least <= number <= most or (above_zero and number == 0):
            raise ValueError(f"must be a number {limits}")
        return number

    lowest = {"exclusiveMinimum": 0} if above_zero else {"minimum": least}
    return Kind(read=read, schema={"type": "number", **lowest, "maximum": most})


def _number(value: object) -> float:
    """What TOML or a text holds as a number; not-a-number, which no limit lets pass, if nothing."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return math.nan
    try:
        return float(value)
    except (ValueError, OverflowError):
        return math.nan


def one_of(words: Any) -> Kind:
    """One of the words of a ``Literal``, whose letters must be all small or all large."""
    allowed: tuple[str, ...] = get_args(words)
    fold = str.upper if allowed[0].isupper() else str.lower
    *others, last = map(repr, allowed)

    def read(value: object) -> str:
        word = fold(value.strip()) if isinstance(value, str) else None
        if word not in allowed:
            raise ValueError(f"must be {', '.join(others)} or {last}")
        return word

    return Kind(read=read, schema={"type": "string", "enum": list(allowed)})


def some_of(names: Collection[str]) -> Kind:
    """At least one of these names."""

    def read(value: object) -> tuple[str, ...]:
        chosen = _texts(value)
        if not set(chosen) <= set(names):
            raise ValueError(f"must be one of {', '.join(names)}")
        return chosen

    items = {"type": "string", "enum": list(names)}
    return Kind(read=read, schema={"type": "array", "items": items, "minItems": 1})


def _flag(value: object) -> bool:
    word = value.strip().lower() if isinstance(value, str) else value
    if isinstance(word, bool):
        return word
    if word in {"true", "false"}:
        return word == "true"
    raise ValueError("must be true or false")


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("must be text, in quotes")
    return value


def _some_text(value: object) -> str:
    if value == "":
        raise ValueError("must not be empty")
    return _text(value)


def _names(value: object) -> tuple[str, ...]:
    """A list, or names with commas between, or a list as JSON, as the environment has it."""
    found = _structure(value)
    if isinstance(found, str):
        return tuple(name.strip() for name in found.split(",") if name.strip())
    if not isinstance(found, (list, tuple)) or not all(isinstance(name, str) for name in found):
        raise ValueError("must be a list of texts in quotes")
    return tuple(found)


def _texts(value: object) -> tuple[str, ...]:
    found = _names(value)
    if not found:
        raise ValueError("must have at least 1 item")
    return found


def _structure(value: object) -> object:
    """A table or list from the environment stands there as JSON."""
    if isinstance(value, str) and value.lstrip()[:1] in {"{", "["}:
        try:
            return json.loads(value)
        except ValueError:
            raise ValueError("is not JSON") from None
    return value


def _table(value: object) -> dict[str, Any]:
    found = _structure(value)
    if not isinstance(found, dict):
        raise ValueError("must be a table")
    return found


def _word_or_table(value: object) -> str | dict[str, Any]:
    found = _structure(value)
    if not isinstance(found, (str, dict)):
        raise ValueError("must be a word in quotes, or a table")
    return found


def _duration(value: object) -> timedelta:
    if isinstance(value, str):
        return parse_duration(value)
    if isinstance(value, timedelta):
        return value
    raise ValueError("is not a duration; write it with its unit, in quotes, such as '30m'")


def _some_time(value: object) -> timedelta:
    duration = _duration(value)
    if not duration:
        raise ValueError("must be longer than no time at all")
    return duration


def duration_or_none(*, least: timedelta = timedelta(0)) -> Kind:
    """A duration of at least so much; ``none`` for none."""

    def read(value: object) -> timedelta | None:
        duration = None if value is None or value == "none" else _duration(value)
        if duration is not None and duration < least:
            raise ValueError(f"must be at least {format_duration(least)}, or none")
        return duration

    return Kind(read=read, schema=DURATION.schema)


def _file(value: object) -> Path:
    text = str(value) if isinstance(value, Path) else _text(value)
    if "\n" in text or "{" in text or "BEGIN " in text or len(text) > _PATH_CHARACTERS_MAX:
        raise ValueError("must be the name of a file, not what the file holds")
    return Path(text)


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
        raise ValueError("must be a URL that begins with https://")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not hold a user name or password")
    if parts.query or parts.fragment:
        raise ValueError("must not hold a query or fragment")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise ValueError("http:// is for loopback addresses only; use https://")
    return url.rstrip("/")


def _proxy_url(value: object) -> str:
    url = _text(value).strip()
    parts = _split(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be a URL such as http://proxy.example:3128")
    if parts.username is not None or parts.password is not None:
        raise ValueError(
            "must not hold a user name or password; use network.proxy_credentials_file"
        )
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError("must hold nothing after host and port")
    return url.rstrip("/")


def _store_url(value: object) -> Secret:
    url = _text(value)
    dialect, _, driver = _split(url).scheme.partition("+")
    if dialect == "postgres":
        raise ValueError("begins with postgres://; write postgresql://")
    if dialect not in _DRIVERLESS:
        raise ValueError("must begin with sqlite:/// or postgresql://")
    if driver:
        raise ValueError(f"must name no driver; write {dialect}:// and the worker picks one")
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
        raise ValueError("is not the name of a time zone, such as Europe/Oslo") from None
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


_TEXT_SCHEMA: Final = {"type": "string"}
_SECRET_SCHEMA: Final = {"type": "string", "format": "password", "writeOnly": True}
_LIST_SCHEMA: Final = {"type": "array", "items": _TEXT_SCHEMA}
_DURATION_SCHEMA: Final = {"type": "string", "examples": ["30s", "15m", "12h", "1h30m", "PT1H"]}

FLAG: Final = Kind(read=_flag, schema={"type": "boolean"})
TEXT: Final = Kind(read=_text, schema=_TEXT_SCHEMA)
SOME_TEXT: Final = Kind(read=_some_text, schema=_TEXT_SCHEMA | {"minLength": 1})
NAMES: Final = Kind(read=_names, schema=_LIST_SCHEMA)
TEXTS: Final = Kind(read=_texts, schema=_LIST_SCHEMA | {"minItems": 1})
TABLE: Final = Kind(read=_table, schema={"type": "object"})
HEADERS: Final = Kind(
    read=_table, schema={"type": "object", "additionalProperties": {"type": "string"}}
)
WORD_OR_TABLE: Final = Kind(read=_word_or_table, schema={"type": ["string", "object"]})
DURATION: Final = Kind(read=_duration, schema=_DURATION_SCHEMA)
SOME_TIME: Final = Kind(read=_some_time, schema=_DURATION_SCHEMA)
FILE: Final = Kind(read=_file, schema=_TEXT_SCHEMA | {"format": "path"})
HTTP_URL: Final = Kind(read=_http_url, schema=_TEXT_SCHEMA)
PROXY_URL: Final = Kind(read=_proxy_url, schema=_TEXT_SCHEMA)
STORE_URL: Final = Kind(read=_store_url, schema=_SECRET_SCHEMA)
DATABASE_URL: Final = Kind(read=_any_database_url, schema=_SECRET_SCHEMA)
TIME_ZONE: Final = Kind(read=_time_zone, schema=_TEXT_SCHEMA)
CRON: Final = Kind(read=_cron, schema=_TEXT_SCHEMA)
LISTEN: Final = Kind(read=_listen, schema=_TEXT_SCHEMA)
ORGANIZATION_NUMBER: Final = Kind(read=_organization_number, schema=_TEXT_SCHEMA)
