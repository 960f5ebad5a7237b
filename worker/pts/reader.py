"""Reads an area of a person to its last page; the only place that creates a ``CompleteArea``."""

import uuid
from collections.abc import Iterable, Mapping
from functools import partial
from hashlib import blake2b
from typing import Final
from urllib.parse import urlencode

import msgspec

from worker.core.answer import read_answer
from worker.core.area import ResourceArea
from worker.core.contract import OFF_ID, UUID, AreaContract, Contract
from worker.core.model import CompleteArea, Person, Proof
from worker.core.paging import PageRequest, PagingState, check_area
from worker.core.record import Page, RecordReader, digest_of
from worker.core.value import Value
from worker.errors import AreaError
from worker.http.response import HttpResponse
from worker.ports import Runtime
from worker.pts.retrying_client import Question, RetryingClient, SendingStats

_HEADERS: Final = {
    "content-type": "application/json",
    "accept": "application/json",
    # What a cache holds of a person may be as old as it likes.
    "cache-control": "no-store",
}


class _Prepared(Value, frozen=True, kw_only=True):
    """What reading an area needs, and the parts of a request that depend on the area alone.

    Attributes:
        is_told_apart: a header holds an id that is new for each attempt.
    """

    contract: AreaContract
    records: RecordReader
    url: str
    body_parts: tuple[bytes, ...]
    fixed_headers: Mapping[str, str]
    is_told_apart: bool

    def body(self, off_id: str, request: PageRequest) -> bytes:
        """The request body: the template with the identifier and any continuation."""
        body = msgspec.json.encode(off_id)[1:-1].join(self.body_parts)
        if not request.fields:
            return body
        return msgspec.json.encode({**msgspec.json.decode(body), **request.fields})

    def headers(self, runtime: Runtime) -> Mapping[str, str]:
        """The headers of one attempt, with an id of its own where the contract asks for one."""
        if not self.is_told_apart:
            return self.fixed_headers
        new = _new_uuid(runtime)
        return {name: value.replace(UUID, new) for name, value in self.fixed_headers.items()}


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
        self._areas = {area.name: _prepared(area, contract[area.name], base_url) for area in areas}
        self._client = client
        self._runtime = runtime

    @property
    def stats(self) -> SendingStats:
        """Counters of the requests sent."""
        return self._client.stats

    async def ask(self, person: Person, area: str) -> HttpResponse:
        """The answer to the first request for a person's area, whatever it is.

        Raises:
            AreaError, WorkerError: as ``RetryingClient.send``.
        """
        prepared, off_id = self._areas[area], person.off_id.reveal()
        first = PagingState(contract=prepared.contract, url=prepared.url, off_id=off_id).first
        return await self._send(Question(person_key=person.person_key), prepared, off_id, first)

    async def read(
        self,
        person: Person,
        area: str,
        *,
        is_single_use: bool = False,
        probe_interval_s: float | None = None,
    ) -> CompleteArea:
        """The complete area, with its completeness proof.

        Args:
            is_single_use: use a new connection for each request.
            probe_interval_s: of ``Question``.

        Raises:
            AreaError: the area could not be read; ``attempts`` is set.
            UnavailableError, RefusedError: HelseID cannot be reached or refuses, or PTS's
                certificate is not trusted; that may pass.
            WorkerError: the run cannot continue.
        """
        question = Question(
            person_key=person.person_key,
            is_single_use=is_single_use,
            probe_interval_s=probe_interval_s,
        )
        try:
            async with self._client.room() as question.share:
                return await self._read(person, area, question)
        except AreaError as error:
            error.attempts = question.attempts
            raise

    async def _read(self, person: Person, area: str, question: Question) -> CompleteArea:
        prepared, off_id = self._areas[area], person.off_id.reveal()
        paging = PagingState(contract=prepared.contract, url=prepared.url, off_id=off_id)
        pages: list[Page] = []
        received_bytes = 0
        request: PageRequest | None = paging.first
        while request is not None:
            response = await self._send(question, prepared, off_id, request)
            received_bytes += len(response.body)
            answer = read_answer(
                response.status, response.headers, response.body, prepared.contract, off_id
            )
            check_area(records=paging.items + len(answer.items), received_bytes=received_bytes)
            page = prepared.records.read(answer.items, person)
            request = paging.next_request(answer, (record.key for record in page.records))
            pages.append(page)
        return self._complete(area, pages)

    async def _send(
        self, question: Question, prepared: _Prepared, off_id: str, request: PageRequest
    ) -> HttpResponse:
        return await self._client.send(
            question,
            request.url,
            partial(prepared.headers, self._runtime),
            prepared.body(off_id, request),
        )

    def _complete(self, area: str, pages: list[Page]) -> CompleteArea:
        records = tuple(record for page in pages for record in page.records)
        drift: dict[str, int] = {}
        for page in pages:
            for name, count in page.drift.items():
                drift[name] = drift.get(name, 0) + count
        proof = Proof(
            pages=len(pages),
            record_count=len(records),
            digest=digest_of(records),
            read_at=self._runtime.now(),
        )
        return CompleteArea(area=area, records=records, proof=proof, drift=drift)


def _prepared(area: ResourceArea, contract: AreaContract, base_url: str) -> _Prepared:
    query = f"?{urlencode(contract.query)}" if contract.query else ""
    declared = {name.lower(): value for name, value in contract.headers.items()}
    template: bytes = msgspec.json.encode(contract.body)
    return _Prepared(
        contract=contract,
        records=RecordReader(area, contract),
        url=base_url.rstrip("/") + contract.path + query,
        body_parts=tuple(template.split(OFF_ID.encode())),
        fixed_headers={**_HEADERS, **declared},
        is_told_apart=any(UUID in value for value in contract.headers.values()),
    )


def _new_uuid(runtime: Runtime) -> str:
    """A new id in the form of a random UUID (RFC 9562), which PTS may check."""
    seed = blake2b(runtime.new_id().encode(), digest_size=16).digest()
    return str(uuid.UUID(bytes=seed, version=4))
