"""Reads one person from PTS and tells the shape of the answers, never a value."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

import orjson

from worker.app import App
from worker.core.answer import parse
from worker.core.area import ResourceArea
from worker.core.fields import safe_name
from worker.core.identity import NationalId
from worker.core.model import CompleteArea, Person
from worker.core.page_facts import paging_headers
from worker.core.privacy import PrivacyRules
from worker.core.retry import RetryPolicy
from worker.core.shape import shape_of
from worker.errors import AreaError, ConfigurationError, ContractError
from worker.ports import HttpResponse, HttpTransport
from worker.pts.reader import PtsReader
from worker.pts.retrying_client import RetryingClient
from worker.pts.throttle import Throttle

SYNTHETIC_PERSON: Final = "16858399649"
"""A synthetic number (month +80) that NHN has published; nobody real can own it."""

_PERSON_KEY: Final = "probe"
_OK: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class _Exchange:
    """A request and its answer; never shown."""

    url: str = field(repr=False)
    body: bytes = field(repr=False)
    answer: HttpResponse = field(repr=False)


class _Watching:
    """The port ``HttpTransport``, keeping what passed."""

    def __init__(self, transport: HttpTransport) -> None:
        self._transport = transport
        self.seen: list[_Exchange] = []

    async def post(
        self, url: str, *, headers: Mapping[str, str], body: bytes, is_single_use: bool = False
    ) -> HttpResponse:
        """See ``HttpTransport``."""
        answer = await self._transport.post(
            url, headers=headers, body=body, is_single_use=is_single_use
        )
        self.seen.append(_Exchange(url=url, body=body, answer=answer))
        return answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What PTS answered for one area, as a shape.

    Attributes:
        fault: why the area could not be read; None if it could.
        status: of the last answer; None if there was none.
        layout: ``array``, ``object`` and so on, and under which names it holds lists.
        fields: kinds of value by path.
        key_path: where the record key was found; empty if there was no record.
        paging: how the answer went on, and what looked like a sign of more.
        unknown: what the area's declaration does not know.
    """

    area: str
    fault: AreaError | None
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
        WorkerError: HelseID refuses or is away, or the configuration cannot be used.
    """
    areas = app.areas()
    found = []
    async with app.transport() as transport, app.helseid() as helseid:
        watching = _Watching(transport)
        reader = PtsReader(
            areas=areas,
            base_url=base_url(app),
            client=RetryingClient(
                transport=watching,
                authorizer=helseid.authorizer,
                throttle=Throttle(app.settings.sync.requests_per_second, app.runtime),
                policy=RetryPolicy(attempts_max=2),
                runtime=app.runtime,
                retry_after_s_max=app.settings.sync.retry_after_max.total_seconds(),
            ),
            runtime=app.runtime,
            privacy=PrivacyRules(),
            pages_max=app.settings.sync.max_pages,
        )
        for area in areas:
            watching.seen.clear()
            found.append(await _probe_area(reader, area, off_id, watching))
    return found


async def reach(app: App) -> int:
    """The status that PTS's address answers without any authorization: any shows that it is there.

    Raises:
        WorkerError: it cannot be reached.
    """
    async with app.transport() as transport:
        answer = await transport.post(base_url(app), headers={}, body=b"")
        return answer.status


def base_url(app: App) -> str:
    """PTS's address.

    Raises:
        ConfigurationError: it is not set.
    """
    if app.settings.api.base_url is None:
        raise ConfigurationError("api.base_url is not set", hint="or set api.environment")
    return app.settings.api.base_url


async def _probe_area(
    reader: PtsReader, area: ResourceArea, off_id: NationalId, watching: _Watching
) -> Probe:
    person = Person(off_id=off_id, person_key=_PERSON_KEY)
    whole: CompleteArea | None = None
    fault: AreaError | None = None
    try:
        whole = await reader.read(person, area.name, key_path=None)
    except AreaError as error:
        fault = error
    good = [one for one in watching.seen if one.answer.status == _OK]
    documents = [_document(one.answer) for one in good]
    first = documents[0] if documents else None
    return Probe(
        area=area.name,
        fault=fault,
        status=watching.seen[-1].answer.status if watching.seen else None,
        records=len(whole.records) if whole else 0,
        pages=len(good),
        layout=_layout(first, is_there=bool(documents)),
        fields=_fields(documents),
        key_path=whole.proof.key_path if whole else "",
        paging=_paging(good, first),
        unknown=_unknown(whole),
    )


def _document(answer: HttpResponse) -> Any:
    try:
        return parse(answer.body)
    except ContractError:
        return None


def _layout(document: Any, *, is_there: bool) -> str:
    if not is_there:
        return "no answer of status 200"
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


def _paging(good: Sequence[_Exchange], document: Any) -> str:
    """How the second page was asked for, and the names around the list that speak of pages."""
    if not good:
        return "unknown"
    names = paging_headers(tuple(good[0].answer.headers))
    signs = [f"header {safe_name(name)}" for name in names]
    if isinstance(document, dict):
        signs += [safe_name(name) for name, item in document.items() if not isinstance(item, list)]
    described = f"{len(good)} page{'s' if len(good) > 1 else ''}"
    if len(good) > 1:
        described += f", {_continuation(good[0], good[1])}"
    return (
        f"{described}; beside the list: {', '.join(signs)}"
        if signs
        else f"{described}, no sign of more"
    )


def _continuation(first: _Exchange, second: _Exchange) -> str:
    """What the reader sent back; a continuation may go into body and query alike."""
    before, after = orjson.loads(first.body), orjson.loads(second.body)
    names = [safe_name(name) for name in after if name not in before]
    if names:
        return f"continued by {', '.join(names)}"
    is_same_path = urlsplit(first.url).path == urlsplit(second.url).path
    return "continued by a link" + ("" if is_same_path else " to another path")


def _unknown(whole: CompleteArea | None) -> tuple[str, ...]:
    if whole is None:
        return ()
    return tuple(
        sorted(
            drift.field if drift.kind == "unknown_field" else f"{drift.field} ({drift.kind})"
            for drift in whole.drift
        )
    )
