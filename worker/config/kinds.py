"""The types of configuration values. An error names the expected form, never the value."""

import re
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Final
from zoneinfo import available_timezones

from pydantic import AfterValidator, BeforeValidator, Field, Secret, StringConstraints

from worker.core.database_urls import check_roster_url, check_store_url
from worker.core.hosts import is_loopback, parts_of
from worker.core.times import parse_duration


def _of_text(convert: Callable[[str], Any]) -> BeforeValidator:
    """Converts a text. Other values go to the type unchanged."""
    return BeforeValidator(lambda value: convert(value) if isinstance(value, str) else value)


def _must(is_valid: Callable[[Any], object], problem: str) -> AfterValidator:
    """Rejects a value for which the condition is not true."""

    def checked(value: Any) -> Any:
        if not is_valid(value):
            raise ValueError(problem)
        return value

    return AfterValidator(checked)


def _web_url(url: str) -> str:
    parts = parts_of(url)
    # Messages show the URL, so it must not contain a secret. A path is appended to it.
    if parts.scheme not in {"http", "https"} or not (parts.hostname and url.isprintable()):
        raise ValueError("must be a URL that starts with https:// or http://")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError("must not contain a user name, password, query or fragment")
    return url.rstrip("/")


def _cron(text: str) -> str:
    if len(text.split()) != 5:  # noqa: PLR2004
        raise ValueError("must be a cron expression of five fields")
    from cronsim import CronSim, CronSimError  # noqa: PLC0415 - most installations keep the default

    try:
        CronSim(text, datetime.min.replace(tzinfo=UTC))
    except CronSimError as error:
        raise ValueError(f"must be a cron expression such as '30 3 * * *': {error}") from None
    return text


def _share(value: Any) -> Any:
    with suppress(ValueError, TypeError):
        if 0 <= float(value) <= 1 and not isinstance(value, bool):
            return value
    raise ValueError("must be a number from 0 to 1, such as 0.1 for 10 %")


_LIST_PUNCTUATION: Final = " []\"'"
NAMES: Final = _of_text(
    lambda text: [name for part in text.split(",") if (name := part.strip(_LIST_PUNCTUATION))]
)
"""In the environment and in flags, lists are comma-separated, or written as in TOML."""
OR_NONE: Final = _of_text(lambda text: None if text == "none" else text)
_NUMBER: Final = BeforeValidator(lambda value: str(value) if isinstance(value, bool) else value)
"""Rejects ``true`` as a number. Pydantic would read 1."""
Int = Annotated[int, _NUMBER]
Float = Annotated[float, _NUMBER]
_PLAIN: Final = _must(re.compile(r"[^\0-\x08\x0b-\x1f\x7f]*").fullmatch, "must be plain text")
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1), _PLAIN]
Share = Annotated[Float, Field(ge=0, le=1), BeforeValidator(_share)]
Duration = Annotated[
    timedelta,
    Field(strict=True),  # pydantic would read a number as seconds
    _of_text(parse_duration),
    _must(bool, "must be longer than 0"),
]
_KEPT_MIN: Final = timedelta(days=30)
Kept = Annotated[Duration, _must(lambda time: time >= _KEPT_MIN, "must be at least 30d, or none")]
"""The minimum rejects ``90m``, which looks like months. It also keeps the week that the report
covers."""
File = Annotated[
    Path,
    _must(
        # A key pasted in place of its file's name would be shown by messages as a path.
        lambda path: re.fullmatch(r"(?!.*BEGIN )[^\0-\x1f{]{1,1024}", str(path)),
        "must be a file name, not the content of a file",
    ),
]
ProxyUrl = Annotated[Text, AfterValidator(_web_url)]
HttpUrl = Annotated[
    ProxyUrl,
    _must(
        # Requests contain identifiers and tokens.
        lambda url: url.lower().startswith("https:") or is_loopback(parts_of(url).hostname),
        "http:// is allowed for loopback addresses only; use https://",
    ),
    _must(
        lambda url: "/.well-known/" not in url,
        "must be the address before /.well-known/, from which the discovery address is made",
    ),
]
SecretHttpUrl = Secret[HttpUrl]
StoreUrl = Annotated[Text, AfterValidator(check_store_url)]
RosterUrl = Annotated[Text, AfterValidator(check_roster_url)]
TimeZone = Annotated[
    str,
    _must(lambda name: name in available_timezones(), "is not a time zone, such as Europe/Oslo"),
]
Cron = Annotated[str, AfterValidator(_cron)]
Listen = Annotated[
    Text,
    _must(re.compile(r".+:[1-9][0-9]{0,4}").fullmatch, "must be host:port, such as 127.0.0.1:9464"),
]
OrganizationNumber = Annotated[
    Text, _must(re.compile(r"[0-9]{9}").fullmatch, "must be an organisation number of 9 digits")
]
