"""The kinds of value that a key may hold, and how each is read from text."""

import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final, TypeAlias
from urllib.parse import SplitResult, urlsplit
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BeforeValidator,
    PlainSerializer,
    SecretStr,
    WithJsonSchema,
)

from worker.core.durations import format_duration, parse_duration
from worker.core.hosts import is_loopback

_PATH_CHARACTERS_MAX: Final = 1_024
_PORT_MAX: Final = 65_535
_CRON_FIELDS: Final = 5
_CRON_FIELD: Final = re.compile(r"[0-9A-Za-z*/,\-?#]+")
_DRIVERLESS: Final = {"sqlite", "postgresql"}


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise ValueError("is not a URL") from None
    return parts


def _http_url(url: str) -> str:
    parts = _split(url.strip())
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be a URL that begins with https://")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not hold a user name or password")
    if parts.query or parts.fragment:
        raise ValueError("must not hold a query or fragment")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise ValueError("http:// is for loopback addresses only; use https://")
    return url.strip().rstrip("/")


def _duration(value: object) -> object:
    if isinstance(value, str):
        return parse_duration(value)
    if isinstance(value, timedelta):
        return value
    raise ValueError("is not a duration; write it with its unit, in quotes, such as '30m'")


def _optional_duration(value: object) -> object:
    return None if value is None or value == "none" else _duration(value)


def _names(value: object) -> object:
    if isinstance(value, str):
        return tuple(name.strip() for name in value.split(",") if name.strip())
    return value


def _structure(value: object) -> object:
    """A table or list from the environment stands there as JSON."""
    if isinstance(value, str) and value.lstrip()[:1] in {"{", "["}:
        try:
            return json.loads(value)
        except ValueError:
            raise ValueError("is not JSON") from None
    return value


def _structure_or_names(value: object) -> object:
    return _names(_structure(value))


def _file(path: Path) -> Path:
    text = str(path)
    if "\n" in text or "{" in text or "BEGIN " in text or len(text) > _PATH_CHARACTERS_MAX:
        raise ValueError("must be the name of a file, not what the file holds")
    return path


def _store_url(url: SecretStr) -> SecretStr:
    scheme = _split(url.get_secret_value()).scheme
    dialect, _, driver = scheme.partition("+")
    if dialect == "postgres":
        raise ValueError("begins with postgres://; write postgresql://")
    if dialect not in _DRIVERLESS:
        raise ValueError("must begin with sqlite:/// or postgresql://")
    if driver:
        raise ValueError(f"must name no driver; write {dialect}:// and the worker picks one")
    return url


def _any_database_url(url: SecretStr) -> SecretStr:
    if "://" not in url.get_secret_value() or not _split(url.get_secret_value()).scheme:
        raise ValueError("must be a SQLAlchemy URL, such as postgresql://host/database")
    return url


def _time_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, OSError, ValueError):
        raise ValueError("is not the name of a time zone, such as Europe/Oslo") from None
    return name


def _cron(expression: str) -> str:
    fields = expression.split()
    if len(fields) != _CRON_FIELDS or not all(map(_CRON_FIELD.fullmatch, fields)):
        raise ValueError("must be a cron expression of five fields, such as '30 3 * * *'")
    return " ".join(fields)


def _listen(address: str) -> str:
    host, _, port = address.strip().rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) <= _PORT_MAX:
        raise ValueError("must be host:port, such as 127.0.0.1:9464")
    return address.strip()


def _organization_number(number: str) -> str:
    digits = number.replace(" ", "")
    if not re.fullmatch(r"[0-9]{9}", digits):
        raise ValueError("must be an organisation number of 9 digits")
    return digits


def _lower(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


def _upper(value: object) -> object:
    return value.strip().upper() if isinstance(value, str) else value


def _write_duration(duration: timedelta) -> str:
    return format_duration(duration)


def _write_optional_duration(duration: timedelta | None) -> str | None:
    return None if duration is None else format_duration(duration)


_DURATION_SCHEMA: Final = {"type": "string", "examples": ["30s", "15m", "12h", "1h30m", "PT1H"]}

Duration: TypeAlias = Annotated[
    timedelta,
    BeforeValidator(_duration),
    PlainSerializer(_write_duration, return_type=str),
    WithJsonSchema(_DURATION_SCHEMA),
]
OptionalDuration: TypeAlias = Annotated[
    timedelta | None,
    BeforeValidator(_optional_duration),
    PlainSerializer(_write_optional_duration, return_type=str | None),
    WithJsonSchema(_DURATION_SCHEMA),
]
FileName: TypeAlias = Annotated[Path, AfterValidator(_file)]
HttpUrl: TypeAlias = Annotated[str, AfterValidator(_http_url)]
StoreUrl: TypeAlias = Annotated[SecretStr, AfterValidator(_store_url)]
AnyDatabaseUrl: TypeAlias = Annotated[SecretStr, AfterValidator(_any_database_url)]
TimeZone: TypeAlias = Annotated[str, AfterValidator(_time_zone)]
Cron: TypeAlias = Annotated[str, AfterValidator(_cron)]
Listen: TypeAlias = Annotated[str, AfterValidator(_listen)]
OrganizationNumber: TypeAlias = Annotated[str, AfterValidator(_organization_number)]
LowerCase: Final = BeforeValidator(_lower)
UpperCase: Final = BeforeValidator(_upper)
CommaList: Final = BeforeValidator(_names)
Structure: Final = BeforeValidator(_structure)
StructureOrNames: Final = BeforeValidator(_structure_or_names)
