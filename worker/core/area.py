"""The declaration of a resource area: its route, request, paging, record keys and columns.

PTS publishes no response schema (pts reference, section 2), so every part of a declaration can be
overridden in the configuration.
"""

import enum
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from worker.core.effect import Effect
from worker.core.value import Value

OFF_ID: Final = "{off_id}"
"""The placeholder for the person's identifier in a body template."""

DIGEST_KEY: Final = "digest"
"""The record key of last resort: a digest of the record itself."""


class ColumnType(enum.StrEnum):
    """The type of a typed column."""

    TEXT = "text"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    TIME = "time"
    JSON = "json"
    """The value as canonical JSON text."""


class Column(Value, frozen=True, kw_only=True):
    """One typed column.

    Attributes:
        name: the column's name in the store and the reporting views.
        type: its type; a value of another type is a failure of the area.
        paths: possible paths of the value; the first path with a value is used.
        loose: a text column that accepts any type; values other than strings become JSON text.
        is_author: keep only role and organisation of an author.
        never_of: instead of paths, the name of an earlier time column; true if that time is in the
            year 9999, which PTS uses for "never".
    """

    name: str
    type: ColumnType
    paths: tuple[str, ...] = ()
    loose: bool = False
    is_author: bool = False
    never_of: str = ""


class PageStyle(enum.StrEnum):
    """How an area is paged."""

    AUTO = "auto"
    """Detected from the response."""
    NONE = "none"
    """Not paged; a sign of more pages is an error."""
    LINK = "link"
    """``Link: <…>; rel=next`` (RFC 8288)."""
    NEXT_LINK = "next_link"
    """A URL in the body."""
    TOKEN = "token"  # noqa: S105
    """An opaque token in the body, which the next request sends back."""
    PAGE = "page"
    """A page number."""
    OFFSET = "offset"
    """The number of records already read."""
    REFERENCE = "reference"
    """``pagingReference``: sent back until it is 0 (pts reference, section 7)."""


class SendIn(enum.StrEnum):
    """Where the next request sends the continuation."""

    BODY = "body"
    QUERY = "query"
    BOTH = "both"


class Paging(Value, frozen=True, kw_only=True):
    """How an area is paged.

    Attributes:
        field: the path of the continuation in the response's envelope; empty: common names.
        send_as: the name of the continuation in the next request; empty: the received name.
        send_in: where to send the continuation.
        total: the path of the total number of records; empty: common names.
        ignore: envelope fields and headers that look like a continuation, an error or a sign of
            missing records, but are not.
    """

    style: PageStyle = PageStyle.AUTO
    field: str = ""
    send_as: str = ""
    send_in: SendIn = SendIn.BOTH
    total: str = ""
    ignore: tuple[str, ...] = ()


class NotFoundMeans(enum.StrEnum):
    """The meaning of status 404."""

    FAILURE = "failure"
    """An error; the stored state stays."""
    EMPTY = "empty"
    """The person has no restriction in this area."""


class ResourceArea(Value, frozen=True, kw_only=True, eq=False):
    """One of PTS's lists of restrictions. Compared by identity.

    Attributes:
        name: e.g. ``patient-safety``.
        table: the stem of its tables and views, e.g. ``patient_safety``.
        unversioned_path: the route used with an ``api-version`` header.
        api_version: the version of ``path``.
        headers: request headers besides the content type.
        body: the request body, with the placeholder ``OFF_ID`` in a string.
        record_keys: candidate paths of a record's key, in order; ``+`` joins the parts of a
            composite key; ``DIGEST_KEY`` is the digest of the record.
        person_paths: paths that may hold the person's identifier; any other value is an error.
        recognised_by: fields of which a record has at least one.
        known_fields: top-level fields that are neither columns nor drift.
        volatile: fields that are stored but ignored when comparing records.
        envelope: the path of the array in the response; empty: the response itself or a common
            name.
    """

    name: str
    table: str
    path: str
    unversioned_path: str
    api_version: str
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)
    body: Mapping[str, Any] = msgspec.field(default_factory=lambda: {"offId": OFF_ID})
    record_keys: tuple[str, ...]
    person_paths: tuple[str, ...]
    recognised_by: tuple[str, ...]
    columns: tuple[Column, ...]
    effect: Effect
    known_fields: tuple[str, ...] = ()
    volatile: tuple[str, ...] = ()
    envelope: str = ""
    paging: Paging = Paging()
    not_found_means: NotFoundMeans = NotFoundMeans.FAILURE
