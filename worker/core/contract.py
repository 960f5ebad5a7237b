"""The contract with PTS: the request for an area, and the expected answer.

A contract is one TOML file. ``docs/reference/contract.md`` and the default contract,
``worker/areas/pts.toml``, explain its keys. An answer with an undeclared field around its records
is not a complete read.
"""

import json
import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from hashlib import blake2b
from itertools import chain
from typing import Annotated, Any, ClassVar, Final, Literal, TypeAlias, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from worker.core.paths import parse_path

OFF_ID: Final = "{off_id}"
"""The placeholder for the person's identifier in a body."""
UUID: Final = "{uuid}"
"""The placeholder in a header for an id that differs for each request."""
HEADER: Final = "header:"
"""Prefix of a response header in place of a path."""
EACH: Final = "each"
"""The key of a column's table for the path of an array. The leaves are fields of its elements."""

_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+\-.^_`|~]+", re.ASCII)
_URL_PATH: Final = re.compile(r"/[\w.~!$&'()*+,;=:@%/-]*")
_HEADER_VALUE: Final = re.compile(r"[\x20-\x7e]*")
WORKER_HEADERS: Final = frozenset(
    {"authorization", "connection", "content-length", "dpop", "host", "transfer-encoding"}
)
"""Headers that the worker sets itself, in lower case."""

_Scalar: TypeAlias = str | int | float | bool
_Status: TypeAlias = Literal[204, 404]


def _checked_url_path(text: str) -> str:
    if not _URL_PATH.fullmatch(text):
        raise ValueError("must be a path that starts with /, without a host (see api.base_url)")
    return text


def _checked_path(text: str) -> str:
    parse_path(text)
    return text


def _checked_place(text: str) -> str:
    if parse_path(text).selects_by_value:
        raise ValueError("a path around the records has no [name=value]")
    if text.startswith(HEADER):
        raise ValueError("a response header is not allowed here")
    return text


def _checked_place_or_header(text: str) -> str:
    if not text.startswith(HEADER):
        return _checked_place(text)
    if not _HEADER_NAME.fullmatch(text.removeprefix(HEADER)):
        raise ValueError("is not the name of a response header")
    return text


def _without_person(values: dict[str, str]) -> dict[str, str]:
    if any(OFF_ID in value for value in values.values()):
        # Proxies and servers log URLs and headers.
        raise ValueError(f"contains {OFF_ID}, which is allowed only in the body")
    return values


def _checked_headers(headers: dict[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name):
            raise ValueError("contains a name that is not valid for an HTTP header")
        if name.lower() in WORKER_HEADERS:
            raise ValueError(f"{name} is set by the worker")
        if not _HEADER_VALUE.fullmatch(value):
            raise ValueError(f"{name} must be plain text")
    return _without_person(headers)


def _checked_body(body: dict[str, Any]) -> dict[str, Any]:
    if OFF_ID not in json.dumps(body):
        raise ValueError(f'must contain "{OFF_ID}" in the place of the identifier')
    return body


def _checked_key(text: str) -> str:
    for part in text.split("+"):
        parse_path(part)
    return text


def _checked_leaves(leaves: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    if EACH in leaves and (len(leaves[EACH]) != 1 or len(leaves) == 1):
        raise ValueError(f"{EACH} must name one array, next to at least one leaf of its elements")
    return leaves


def _none_from_text(value: Any) -> Any:
    return None if value == "none" else value


def _as_tuple(value: Any) -> Any:
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, list) else value


PathText = Annotated[str, AfterValidator(_checked_path)]
PlaceText = Annotated[str, AfterValidator(_checked_place)]
"""A path around the records."""
PlaceOrHeader = Annotated[str, AfterValidator(_checked_place_or_header)]
Paths = Annotated[tuple[PathText, ...], BeforeValidator(_as_tuple), Field(min_length=1)]
Leaves = Annotated[dict[str, Paths], AfterValidator(_checked_leaves), Field(min_length=1)]
SourceText: TypeAlias = Paths | Leaves


class _Declared(BaseModel):
    """A table of the contract file. Unknown keys are errors, and values are not converted."""

    model_config: ClassVar = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        ignored_types=(cached_property,),
        use_attribute_docstrings=True,
    )


class LinkPaging(_Declared):
    """`Link: <…>; rel=next` (RFC 8288). The last page has none."""

    style: Literal["link"]


class NextLinkPaging(_Declared):
    """A URL in the answer. The last page has none."""

    style: Literal["next_link"]
    field: PlaceText
    """The path of the URL in the answer."""


class SendingPaging(_Declared):
    """Common keys of the styles that send a value back."""

    style: str
    send_as: Annotated[str, Field(min_length=1)]
    """The name of the value in the request."""
    send_in: Literal["body", "query"] = "body"
    """The place of the value in the request: `"body"` or `"query"`."""


class TokenPaging(SendingPaging):
    """A token in the answer that the next request sends back. The last page has none."""

    style: Literal["token"]
    field: PlaceText
    """The path of the token in the answer."""


class ReferencePaging(SendingPaging):
    """A reference in the answer that the next request sends back, until it is 0."""

    style: Literal["reference"]
    field: PlaceText
    """The path of the reference in the answer."""
    send_as: str = ""
    """The name of the reference in the request. Default: its name in the answer."""

    @model_validator(mode="after")
    def _send_as_received(self) -> "ReferencePaging":
        if not self.send_as:
            # The model is frozen, and a validator must return the instance that it was given.
            object.__setattr__(self, "send_as", parse_path(self.field).segments[-1].name)
        return self


class PagePaging(SendingPaging):
    """A page number."""

    style: Literal["page"]
    first: Annotated[int, Field(ge=0, le=1)] = 1
    """The number of the first page: 1 or 0."""
    field: PlaceText | Literal[""] = ""
    """The path of the page's number in the answer. It must be the requested page."""
    pages: PlaceText | Literal[""] = ""
    """The path of the number of pages in the answer."""
    more: PlaceText | Literal[""] = ""
    """The path of true or false in the answer: whether another page follows."""


class OffsetPaging(SendingPaging):
    """The number of records before the page."""

    style: Literal["offset"]
    field: PlaceText | Literal[""] = ""
    """The path of the offset in the answer. It must be the requested offset."""
    more: PlaceText | Literal[""] = ""
    """The path of true or false in the answer: whether another page follows."""


Paging: TypeAlias = Annotated[
    LinkPaging | NextLinkPaging | TokenPaging | ReferencePaging | PagePaging | OffsetPaging,
    Field(discriminator="style"),
]
STYLES: Final[Mapping[str, Any]] = {
    get_args(model.model_fields["style"].annotation)[0]: model
    for model in get_args(get_args(Paging)[0])
}
"""The styles of paging by name."""


class AreaContract(_Declared):
    """The contract of one area. The keys are explained in ``worker/areas/pts.toml``."""

    path: Annotated[str, AfterValidator(_checked_url_path)]
    query: Annotated[dict[str, str], AfterValidator(_without_person)] = {}
    headers: Annotated[dict[str, str], AfterValidator(_checked_headers)] = {}
    body: Annotated[dict[str, Any], AfterValidator(_checked_body)] = {"offId": OFF_ID}
    records: PlaceText | Literal[""] = ""
    no_records: Literal["failure", "empty"] = "failure"
    empty_status: tuple[_Status, ...] = ()
    expect: dict[PlaceText, _Scalar] = {}
    answer_person: tuple[PlaceText, ...] = ()
    paging: Annotated[Paging | None, BeforeValidator(_none_from_text)] = None
    total: PlaceOrHeader | Literal[""] = ""
    ignore: tuple[PlaceOrHeader, ...] = ()
    id: Annotated[str, AfterValidator(_checked_key)] = "id"
    person: tuple[PathText, ...] = ()
    required: tuple[str, ...] = ()
    volatile: tuple[str, ...] = ()
    naive_times: Literal["failure", "UTC", "Europe/Oslo"] = "failure"
    columns: dict[str, SourceText]
    values: dict[str, dict[str, str]] = {}
    extra: dict[str, SourceText] = {}

    # Only the checks that need several keys. Those of a single key are in its type.
    @model_validator(mode="after")
    def _check_names(self) -> "AreaContract":
        unknown = {*self.required, *self.values} - self.columns.keys()
        unknown |= {*self.volatile} - self.columns.keys() - self.extra.keys()
        if unknown:
            raise ValueError(
                f"no column or extra is named {', '.join(sorted(unknown))}; the contract declares "
                f"{', '.join([*self.columns, *self.extra])}"
            )
        if both := self.columns.keys() & self.extra.keys():
            raise ValueError(f"both a column and an extra: {', '.join(sorted(both))}")
        return self

    @model_validator(mode="after")
    def _check_continuation(self) -> "AreaContract":
        # A continuation under this key would replace the identifier, so the next request would not
        # name the person.
        name = self.paging.send_as if isinstance(self.paging, SendingPaging) else ""
        if OFF_ID in json.dumps(self.body.get(name)):
            raise ValueError(f"paging.send_as: {name} in the body contains the identifier")
        return self

    @model_validator(mode="after")
    def _check_places(self) -> "AreaContract":
        prefixes = (f"{self.records}.", f"{self.records}[")
        inside = [
            place
            for place in self.places
            # If the answer itself is the list, every path is inside it.
            if not self.records or f"{place}.".startswith(prefixes)
        ]
        if inside:
            raise ValueError(
                f'{min(inside)} is a part of the list of records ("{self.records}"). Only fields '
                "around the list can be declared here"
            )
        return self

    @cached_property
    def places(self) -> frozenset[str]:
        """The declared leaves around the records."""
        # The list itself is read record by record, so it is not a leaf.
        declared = {*self.expect, *self.answer_person, *self.ignore, *self.signs_of_records}
        declared -= {self.records}
        return frozenset(place for place in declared if not place.startswith(HEADER))

    @cached_property
    def signs_of_records(self) -> frozenset[str]:
        """The paths of fields whose value can mean that there are records, or more of them."""
        # Each style of paging has some of these keys.
        of_paging = {getattr(self.paging, key, "") for key in ("field", "pages", "more")}
        return frozenset({self.records, self.total, *of_paging} - {""})

    @cached_property
    def known_headers(self) -> frozenset[str]:
        """Response headers that are declared, in lower case."""
        headers = [place for place in (*self.ignore, self.total) if place.startswith(HEADER)]
        if isinstance(self.paging, LinkPaging):
            headers.append("link")
        return frozenset(header.removeprefix(HEADER).lower() for header in headers)

    @cached_property
    def record_paths(self) -> frozenset[str]:
        """The declared fields of records, without array indexes."""
        identifying = (*self.person, *self.id.split("+"))
        sources = (identifying, *self.columns.values(), *self.extra.values())
        return frozenset[str]().union(*map(fields_of, sources))

    @cached_property
    def record_parents(self) -> frozenset[str]:
        """The parents of declared fields of records, without array indexes."""
        return frozenset(
            path[:index]
            for path in self.record_paths
            for index, character in enumerate(path)
            if character in ".["
        )


Contract: TypeAlias = Mapping[str, AreaContract]
"""The contract of each area, by the area's name."""


def fields_of(source: SourceText) -> frozenset[str]:
    """The fields of a record that a column or extra uses, without array indexes."""
    prefix, paths = "", source
    if isinstance(source, dict):
        prefix = f"{parse_path(source[EACH][0]).general}[]." if EACH in source else ""
        leaves = (leaf_paths for leaf, leaf_paths in source.items() if leaf != EACH)
        paths = tuple(chain.from_iterable(leaves))
    return frozenset(prefix + field for path in paths for field in parse_path(path).fields)


def fingerprint(contract: AreaContract) -> str:
    """A fingerprint of sixteen characters, equal only for equal declarations."""
    # Includes the keys that keep their default, so a changed default changes the fingerprint.
    text = contract.model_dump_json()
    return blake2b(text.encode(), digest_size=8).hexdigest()


def fingerprints(contract: Contract, areas: Iterable[str]) -> str:
    """The fingerprints of these areas as one line, stored with a run."""
    return " ".join(f"{name}={fingerprint(contract[name])}" for name in sorted(areas))
