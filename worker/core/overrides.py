# ruff: noqa: TRY004 - callers handle one kind of error for any wrong value
"""Applies configuration overrides to an area's declaration."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson
from msgspec.structs import replace

from worker.core.area import (
    DIGEST_KEY,
    OFF_ID,
    Column,
    NotFoundMeans,
    PageStyle,
    Paging,
    ResourceArea,
    SendIn,
)
from worker.core.fields import parse_path

_PATH: Final = re.compile(r"/[A-Za-z0-9\-._~!$&'()*+,;=:@%/]*", re.ASCII)
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+\-.^_`|~]+", re.ASCII)
_HEADER_VALUE: Final = re.compile(r"[\x20-\x7e]*")
_STYLES_WITHOUT_FIELD: Final = frozenset({PageStyle.AUTO, PageStyle.NONE, PageStyle.LINK})
_OWN_HEADERS: Final = frozenset(
    {"authorization", "dpop", "host", "content-length", "content-type", "transfer-encoding"}
)


def with_overrides(area: ResourceArea, overrides: Mapping[str, Any]) -> ResourceArea:
    """Apply overrides from the configuration to an area.

    Their keys are known and their values of the types that ``worker.config`` declares. Keys:
    ``path``, ``api_version``, ``headers``, ``body``, ``record_key``, ``person``,
    ``recognised_by``, ``volatile``, ``paging`` (``style``, ``field``, ``send_as``, ``send_in``,
    ``total``, ``ignore``), ``not_found_means``, ``envelope`` and ``columns`` (name to path or
    paths). Lists replace the declared ones; headers and columns are merged by name.

    Raises:
        ValueError: a value is invalid; the message begins with the key.
    """
    # The version goes first, so that an explicit path or header overrides what it implies.
    for key in sorted(overrides, key=lambda name: name != "api_version"):
        try:
            area = APPLIED_BY[key](area, overrides[key])
        except ValueError as error:
            nested = str(error).startswith(f"{key}.")
            raise ValueError(str(error) if nested else f"{key}: {error}") from None
    return area


def _path(area: ResourceArea, value: Any) -> ResourceArea:
    if not _PATH.fullmatch(value):
        raise ValueError("must be a path that begins with / and has no query")
    return replace(area, path=value)


def _api_version(area: ResourceArea, value: Any) -> ResourceArea:
    if not value or not _HEADER_VALUE.fullmatch(value):
        raise ValueError('must be a version in quotes, such as "0.4"')
    if value == area.api_version:
        return area
    headers = {**area.headers, "api-version": value}
    return replace(area, path=area.unversioned_path, headers=headers)


def _headers(area: ResourceArea, value: Any) -> ResourceArea:
    for name, content in value.items():
        if not _HEADER_NAME.fullmatch(name):
            raise ValueError("holds an invalid HTTP header name")
        if name.lower() in _OWN_HEADERS:
            raise ValueError(f"{name} is set by the worker")
        if not isinstance(content, str) or not _HEADER_VALUE.fullmatch(content):
            raise ValueError(f"{name} must be plain text in quotes")
    names = {name.lower() for name in value}
    kept = {name: content for name, content in area.headers.items() if name.lower() not in names}
    return replace(area, headers={**kept, **value})


def _body(area: ResourceArea, value: Any) -> ResourceArea:
    try:
        text = orjson.dumps(value)
    except TypeError as error:
        raise ValueError("holds a value that cannot be sent as JSON") from error
    if f'"{OFF_ID}"'.encode() not in text:
        raise ValueError(f'must hold "{OFF_ID}" where the identifier goes')
    return replace(area, body=value)


def _record_key(area: ResourceArea, value: Any) -> ResourceArea:
    keys = _texts(value)
    for key in keys:
        if key != DIGEST_KEY:
            for part in key.split("+"):
                parse_path(part)
    return replace(area, record_keys=keys)


def _paging(area: ResourceArea, value: Any) -> ResourceArea:
    if isinstance(value, str):
        value = {"style": value}
    known: dict[str, Callable[[Any], Any]] = {
        "style": lambda style: PageStyle(_choice(style, PageStyle)),
        "send_in": lambda place: SendIn(_choice(place, SendIn)),
        "field": _path_or_nothing,
        "total": _path_or_nothing,
        "send_as": _text,
        "ignore": lambda names: _texts(names) if names else (),
    }
    read: dict[str, Any] = {}
    for key, content in value.items():
        if key not in known:
            raise ValueError(f"paging.{key}: unknown; known are {', '.join(sorted(known))}")
        try:
            read[key] = known[key](content)
        except ValueError as error:
            raise ValueError(f"paging.{key}: {error}") from None
    paging = Paging(**read)
    for key in ("field", "send_as"):
        if read.get(key) and paging.style in _STYLES_WITHOUT_FIELD:
            raise ValueError(f"paging.{key}: has no effect with the style {paging.style}")
    return replace(area, paging=paging)


def _columns(area: ResourceArea, value: Any) -> ResourceArea:
    columns = {column.name: column for column in area.columns}
    for name, paths in value.items():
        column: Column | None = columns.get(name)
        if column is None or column.never_of:
            raise ValueError(f"columns.{name}: no such column with a path in {area.name}")
        try:
            columns[name] = replace(column, paths=_paths(paths))
        except ValueError as error:
            raise ValueError(f"columns.{name}: {error}") from None
    return replace(area, columns=tuple(columns.values()))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("must be a text")
    return value


def _path_or_nothing(value: Any) -> str:
    if _text(value):
        parse_path(value)
    return _text(value)


def _texts(value: Any) -> tuple[str, ...]:
    texts = (value,) if isinstance(value, str) else value
    if (
        not isinstance(texts, list | tuple)
        or not texts
        or not all(isinstance(text, str) and text for text in texts)
    ):
        raise ValueError("must be a text, or a list of texts")
    return tuple(texts)


def _paths(value: Any) -> tuple[str, ...]:
    paths = _texts(value)
    for path in paths:
        parse_path(path)
    return paths


def _choice(value: Any, choices: type[PageStyle | SendIn]) -> str:
    names = [choice.value for choice in choices]
    if value not in names:
        raise ValueError(f"must be one of {', '.join(names)}")
    return str(value)


APPLIED_BY: Final[Mapping[str, Callable[[ResourceArea, Any], ResourceArea]]] = {
    "path": _path,
    "api_version": _api_version,
    "headers": _headers,
    "body": _body,
    "record_key": _record_key,
    "person": lambda area, value: replace(area, person_paths=_paths(value)),
    "recognised_by": lambda area, value: replace(area, recognised_by=_paths(value)),
    "volatile": lambda area, value: replace(area, volatile=_paths(value) if value else ()),
    "envelope": lambda area, value: replace(area, envelope=_path_or_nothing(value)),
    "not_found_means": lambda area, value: replace(area, not_found_means=NotFoundMeans(value)),
    "paging": _paging,
    "columns": _columns,
}
