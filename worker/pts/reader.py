"""Reads an area of a person to its last page. Only this module creates a ``CompleteArea``."""

import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Final
from urllib.parse import urlencode

import msgspec

from worker.core.answer import read_answer
from worker.core.area import ResourceArea
from worker.core.contract import OFF_ID, UUID, AreaContract, Contract
from worker.core.model import CompleteArea, Person, Proof
from worker.core.paging import PageRequest, PagingState, check_area_size
from worker.core.record import Page, RecordReader, digest_of
from worker.core.run import RequestCounts
from worker.core.value import Value
from worker.errors import AreaError
from worker.http.response import HttpResponse
from worker.ports import Runtime
from worker.pts.retrying_client import Request, RetryingClient

_HEADERS: Final = {
    "content-type": "application/json",
    "accept": "application/json",
    # A cached response may be out of date.
    "cache-control": "no-store",
}


class _AreaTemplate(Value, frozen=True, kw_only=True):
    """The parts of a request that depend only on the area, and the decoder of its records.

    Attributes:
        new_headers: see ``Request``.
        body_parts: the template of the body, split at the places of the identifier.
    """

    contract: AreaContract
    record_reader: RecordReader
    url: str
    new_headers: Callable[[], Mapping[str, str]]
    body_parts: tuple[bytes, ...]

    @classmethod
    def of(
        cls, area: ResourceArea, contract: AreaContract, base_url: str, runtime: Runtime
    ) -> "_AreaTemplate":
        """The template for an area as the contract declares it."""
        query = f"?{urlencode(contract.query)}" if contract.query else ""
        body: bytes = msgspec.json.encode(contract.body)
        return cls(
            contract=contract,
            record_reader=RecordReader(area, contract),
            url=base_url.rstrip("/") + contract.path + query,
            new_headers=_header_factory(contract, runtime),
            body_parts=tuple(body.split(OFF_ID.encode())),
        )

    def body(self, off_id: str, page: PageRequest) -> bytes:
        """The body with the person's identifier, and with the fields that request the page."""
        # The template is encoded once for all persons. The identifier goes into a JSON string that
        # has its quotes already.
        without_quotes = msgspec.json.encode(off_id)[1:-1]
        body = without_quotes.join(self.body_parts)
        if not page.fields:
            return body
        return msgspec.json.encode({**msgspec.json.decode(body), **page.fields})


class PtsReader:
    """Reads one area of one person to its last page.

    Args:
        base_url: PTS's address, with or without a path.
    """

    def __init__(
        self,
        *,
        areas: Iterable[ResourceArea],
        contract: Contract,
        base_url: str,
        client: RetryingClient,
        runtime: Runtime,
    ) -> None:
        self._templates = {
            area.name: _AreaTemplate.of(area, contract[area.name], base_url, runtime)
            for area in areas
        }
        self._client = client
        self._runtime = runtime

    @property
    def counts(self) -> RequestCounts:
        """Counters of the requests sent."""
        return self._client.counts

    async def first_response(self, person: Person, area: str) -> HttpResponse:
        """The response to the first request for a person's area, unchecked.

        Raises:
            AreaError, WorkerError: as ``RetryingClient.send``.
        """
        request, _ = self._first_request(person, area)
        return await self._client.send(request)

    async def read(
        self,
        person: Person,
        area: str,
        *,
        is_single_use: bool = False,
        probe_interval_s: float = 0.0,
    ) -> CompleteArea:
        """The complete area, with its completeness proof.

        Args:
            is_single_use, probe_interval_s: see ``Request``.

        Raises:
            AreaError: the area could not be read. ``attempts`` is set.
            UnavailableError, RefusedError: HelseID cannot be reached or refuses, or PTS's
                certificate is not trusted. A later attempt may succeed.
            WorkerError: the run cannot continue.
        """
        request, paging = self._first_request(person, area)
        request.is_single_use, request.probe_interval_s = is_single_use, probe_interval_s
        try:
            # One reservation for all pages, which are parsed one after another.
            async with self._client.reserve_memory() as request.share:
                return await self._read(person, area, request, paging)
        except AreaError as error:
            # The attempts for all pages, because the failure concerns the whole area.
            error.attempts = request.attempts
            raise

    def _first_request(self, person: Person, area: str) -> tuple[Request, PagingState]:
        """The request for the first page, and the state that finds the next pages."""
        template, off_id = self._templates[area], person.off_id.reveal()
        paging = PagingState(contract=template.contract, url=template.url, off_id=off_id)
        request = Request(
            person_key=person.person_key,
            new_headers=template.new_headers,
            url=paging.first.url,
            body=template.body(off_id, paging.first),
        )
        return request, paging

    async def _read(
        self, person: Person, area: str, request: Request, paging: PagingState
    ) -> CompleteArea:
        template, off_id = self._templates[area], person.off_id.reveal()
        pages: list[Page] = []
        received_bytes = 0
        while True:
            response = await self._client.send(request)
            received_bytes += len(response.body)
            answer = read_answer(
                response.status, response.headers, response.body, template.contract, off_id
            )
            # Before parsing, because an endless area must not fill the memory.
            check_area_size(
                records=paging.record_count + len(answer.items), received_bytes=received_bytes
            )
            page = template.record_reader.read(answer.items, person)
            pages.append(page)
            # None only at the proven end. Anything unclear raises, so no area is cut short.
            following = paging.next_request(answer, (record.key for record in page.records))
            if following is None:
                return self._complete(area, pages)
            request.url, request.body = following.url, template.body(off_id, following)

    def _complete(self, area: str, pages: Sequence[Page]) -> CompleteArea:
        records = tuple(record for page in pages for record in page.records)
        # Added up after the last page, so that a failed read counts no fields twice.
        drift = Counter[str]()
        for page in pages:
            drift.update(page.drift)
        proof = Proof(
            pages=len(pages),
            record_count=len(records),
            digest=digest_of(records),
            read_at=self._runtime.now(),
        )
        return CompleteArea(area=area, records=records, proof=proof, drift=drift)


def _header_factory(contract: AreaContract, runtime: Runtime) -> Callable[[], Mapping[str, str]]:
    """Return a factory of headers, with a new id for each attempt if the contract declares one."""
    headers = {**_HEADERS, **{name.lower(): value for name, value in contract.headers.items()}}
    if not any(UUID in value for value in headers.values()):
        return lambda: headers

    def with_new_id() -> Mapping[str, str]:
        new_id = _random_uuid(runtime)
        return {name: value.replace(UUID, new_id) for name, value in headers.items()}

    return with_new_id


def _random_uuid(runtime: Runtime) -> str:
    """A new id in the form of a random UUID (RFC 9562), which PTS may check."""
    seed = blake2b(runtime.new_id().encode(), digest_size=16).digest()
    return str(uuid.UUID(bytes=seed, version=4))
