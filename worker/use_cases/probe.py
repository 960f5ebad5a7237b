"""Reads one person from PTS and describes the shape of the responses, never a value."""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import orjson

from worker.app import App
from worker.core.answer import parse
from worker.core.area import ResourceArea
from worker.core.fields import safe_name
from worker.core.identity import NationalId
from worker.core.model import CompleteArea, Person
from worker.core.page_signs import paging_headers
from worker.core.privacy import PrivacyRules
from worker.core.shape import shape_of
from worker.core.value import Value
from worker.errors import AreaError, ContractError
from worker.ports import HttpResponse, HttpTransport
from worker.pts.reader import PtsReader

SYNTHETIC_PERSON: Final = "16858399649"
"""A synthetic number (month +80) that NHN has published; it cannot belong to a real person."""

_PERSON_KEY: Final = "probe"
_OK: Final = 200


class _Exchange(Value, frozen=True, kw_only=True):
    """A request and its response; never shown."""

    hidden = frozenset({"url", "body", "response"})

    url: str
    body: bytes
    response: HttpResponse


class _RecordingTransport:
    """The port ``HttpTransport``; records every exchange."""

    def __init__(self, transport: HttpTransport) -> None:
        self._transport = transport
        self.seen: list[_Exchange] = []

    async def post(
        self, url: str, *, headers: Mapping[str, str], body: bytes, is_single_use: bool = False
    ) -> HttpResponse:
        """See ``HttpTransport``."""
        response = await self._transport.post(
            url, headers=headers, body=body, is_single_use=is_single_use
        )
        self.seen.append(_Exchange(url=url, body=body, response=response))
        return response


class Probe(Value, frozen=True, kw_only=True):
    """The shape of PTS's responses for one area.

    Attributes:
        error: why the area could not be read; None if it could.
        layout: ``array``, ``object`` and so on, and the names of lists in an object.
        fields: kinds of value by path.
        key_path: where the record key was found; empty if there was no record.
        paging: how the next page was requested, and names that may indicate further pages.
        unknown: fields and codes that the area's declaration does not know.
    """

    area: str
    error: AreaError | None
    status: int | None
    records: int
    pages: int
    layout: str
    fields: Mapping[str, tuple[str, ...]]
    key_path: str
    paging: str
    unknown: tuple[str, ...]


async def probe(app: App, off_id: NationalId) -> Sequence[Probe]:
    """Read every configured area of one person.

    Raises:
        WorkerError: HelseID refuses or is unavailable, or the configuration cannot be used.
    """
    areas = app.areas()
    found = []
    async with app.transport() as transport:
        recording = _RecordingTransport(transport)
        async with app.reader(
            areas,
            PrivacyRules(),
            throttle=app.throttle(),
            transport=recording,
            attempts_max=2,
        ) as reader:
            for area in areas:
                recording.seen.clear()
                found.append(await _probe_area(reader, area, off_id, recording))
    return found


async def reach(app: App) -> int:
    """The HTTP status of a request to PTS without authorization. Any status shows that it responds.

    Raises:
        WorkerError: it cannot be reached.
    """
    async with app.transport() as transport:
        response = await transport.post(app.base_url(), headers={}, body=b"")
        return response.status


async def _probe_area(
    reader: PtsReader, area: ResourceArea, off_id: NationalId, recording: _RecordingTransport
) -> Probe:
    person = Person(off_id=off_id, person_key=_PERSON_KEY)
    read: CompleteArea | None = None
    area_error: AreaError | None = None
    try:
        read = await reader.read(person, area.name, key_path=None)
    except AreaError as error:
        area_error = error
    pages = [exchange for exchange in recording.seen if exchange.response.status == _OK]
    documents = [_document(page.response) for page in pages]
    first = documents[0] if documents else None
    return Probe(
        area=area.name,
        error=area_error,
        status=recording.seen[-1].response.status if recording.seen else None,
        records=len(read.records) if read else 0,
        pages=len(pages),
        layout=_layout(first, is_there=bool(documents)),
        fields=_fields(documents),
        key_path=read.proof.key_path if read else "",
        paging=_paging(pages, first),
        unknown=_unknown(read),
    )


def _document(response: HttpResponse) -> Any:
    try:
        return parse(response.body)
    except ContractError:
        return None


def _layout(document: Any, *, is_there: bool) -> str:
    if not is_there:
        return "no response with status 200"
    if isinstance(document, list):
        return "an array"
    if not isinstance(document, dict):
        return "neither an array nor an object"
    lists = [safe_name(name) for name, value in document.items() if isinstance(value, list)]
    return f"an object with a list under {', '.join(lists)}" if lists else "an object without lists"


def _fields(documents: Sequence[Any]) -> Mapping[str, tuple[str, ...]]:
    found: dict[str, dict[str, None]] = {}
    for document in documents:
        for path, kinds in shape_of(document).items():
            found.setdefault(path, {}).update(dict.fromkeys(kinds))
    return {path: tuple(kinds) for path, kinds in found.items()}


def _paging(pages: Sequence[_Exchange], document: Any) -> str:
    """How the second page was requested, and header and field names that may indicate paging."""
    if not pages:
        return "unknown"
    names = paging_headers(tuple(pages[0].response.headers))
    signs = [f"header {safe_name(name)}" for name in names]
    if isinstance(document, dict):
        signs += [safe_name(name) for name, item in document.items() if not isinstance(item, list)]
    described = f"{len(pages)} page{'s' if len(pages) > 1 else ''}"
    if len(pages) > 1:
        described += f", {_continuation(pages[0], pages[1])}"
    return (
        f"{described}; beside the list: {', '.join(signs)}"
        if signs
        else f"{described}, no sign of more"
    )


def _continuation(first: _Exchange, second: _Exchange) -> str:
    """What the reader sent for the second page: fields of the body, or another URL."""
    before, after = orjson.loads(first.body), orjson.loads(second.body)
    names = [safe_name(name) for name in after if name not in before]
    if names:
        return f"continued by {', '.join(names)}"
    is_same_path = urlsplit(first.url).path == urlsplit(second.url).path
    return "continued by a link" + ("" if is_same_path else " to another path")


def _unknown(read: CompleteArea | None) -> tuple[str, ...]:
    if read is None:
        return ()
    return tuple(
        sorted(
            drift.field if drift.kind == "unknown_field" else f"{drift.field} ({drift.kind})"
            for drift in read.drift
        )
    )
