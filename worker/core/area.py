"""The declaration of a resource area: everything that tells one of PTS's lists from another.

PTS publishes no response schema (pts reference, section 2), so a declaration says what to look
for and every part of it can be overridden in configuration.
"""

import enum
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from worker.core.effect import Effect
from worker.core.value import Value

OFF_ID: Final = "{off_id}"
"""What stands in a body template for the person's identifier."""

DIGEST_KEY: Final = "digest"
"""The record key of last resort: a digest of the record itself."""


class ColumnType(enum.StrEnum):
    """What a typed column holds."""

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
        type: what it holds; a value of another type is a failure of the area.
        paths: where the value may stand; the first path with a value serves.
        loose: a text column that takes any type, all but strings as JSON text.
        is_author: of who made something, role and organisation alone are shown.
        never_of: instead of paths: the name of a time column before this one; true if its time is
            in the year 9999, PTS's "never".
        nb, en: what it means, in bokmål and English, for the dictionary of the reporting views.
        unit: of a number.
    """

    name: str
    type: ColumnType
    paths: tuple[str, ...] = ()
    loose: bool = False
    is_author: bool = False
    never_of: str = ""
    nb: str = ""
    en: str = ""
    unit: str = ""


class PageStyle(enum.StrEnum):
    """How an area's answers are continued."""

    AUTO = "auto"
    """Whatever the answer shows."""
    NONE = "none"
    """Never; an answer that says otherwise is an error."""
    LINK = "link"
    """``Link: <…>; rel=next`` (RFC 8288)."""
    NEXT_LINK = "next_link"
    """A URL in the body."""
    TOKEN = "token"  # noqa: S105
    """An opaque token in the body, sent back."""
    PAGE = "page"
    """A page number."""
    OFFSET = "offset"
    """The number of records already read."""
    REFERENCE = "reference"
    """``pagingReference``: sent back until it is 0 (pts reference, section 7)."""


class SendIn(enum.StrEnum):
    """Where a continuation is sent back."""

    BODY = "body"
    QUERY = "query"
    BOTH = "both"


class Paging(Value, frozen=True, kw_only=True):
    """How an area is paged.

    Attributes:
        style: found automatically, or declared.
        field: the path of the continuation in the answer's envelope; empty: the usual names.
        send_as: the name under which it goes back; empty: the name it came under.
        send_in: where it goes back.
        total: the path of the number of all records; empty: the usual names.
        ignore: names of envelope fields and headers that look like a continuation and are none.
    """

    style: PageStyle = PageStyle.AUTO
    field: str = ""
    send_as: str = ""
    send_in: SendIn = SendIn.BOTH
    total: str = ""
    ignore: tuple[str, ...] = ()


class NotFoundMeans(enum.StrEnum):
    """What status 404 says."""

    FAILURE = "failure"
    """Something is wrong; the old state stands."""
    EMPTY = "empty"
    """The person has no restriction in this area."""


class ResourceArea(Value, frozen=True, kw_only=True, eq=False):
    """One of PTS's lists of restrictions. Compared by identity.

    Attributes:
        name: e.g. ``patient-safety``.
        table: the stem of its tables and views, e.g. ``patient_safety``.
        path: the route of its search.
        unversioned_path: the route used with an ``api-version`` header.
        api_version: the version that ``path`` serves without further settings.
        headers: sent with each request besides the content type.
        body: the request body, with ``OFF_ID`` in a string where the identifier goes.
        record_keys: paths of a record's key in the order in which they are tried; parts of a
            composite key are joined with ``+``; ``DIGEST_KEY`` stands for the record's own digest.
        person_paths: where a record may name the person; what stands there must be the person
            that was asked for.
        recognised_by: fields of which a record has at least one.
        columns: the typed columns.
        effect: when one of its restrictions is in effect.
        known_fields: top-level fields that are no drift though no column reads them.
        volatile: fields that are stored but do not make a record a changed one.
        envelope: the path of the array in the answer; empty: the answer itself or a usual name.
        paging: how the area is paged.
        not_found_means: what 404 says.
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
