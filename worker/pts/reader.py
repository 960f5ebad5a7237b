"""Reads an area of a person to its last page; the only place that creates a ``CompleteArea``."""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Final

import anyio
import anyio.to_thread
import orjson
from msgspec.structs import replace

from worker.core.answer import read_page
from worker.core.answer_forms import Form
from worker.core.area import OFF_ID, ResourceArea
from worker.core.budgets import DriftBudget, check_area
from worker.core.model import CompleteArea, Person, Proof
from worker.core.paging import PageRequest, PagingState
from worker.core.privacy import Cleaner, PrivacyRules
from worker.core.record import Page, digest_of
from worker.core.value import Value
from worker.errors import AreaError
from worker.ports import HttpResponse, Runtime
from worker.pts.retrying_client import RetryingClient, SendingStats

PAGES_MAX: Final = 1000
"""More pages than this for one person count as a loop."""

_LARGE_BYTES: Final = 64 * 1024
"""Larger bodies are read in a thread: at worst, 4 MiB take ten seconds (docs/security.md)."""

_JSON_HEADERS: Final = {"Content-Type": "application/json", "Accept": "application/json"}


class _Prepared(Value, frozen=True, kw_only=True):
    """The parts of a request that depend only on the area."""

    area: ResourceArea
    url: str
    headers: Mapping[str, str]
    body_parts: tuple[bytes, ...]

    def body(self, off_id: str, request: PageRequest) -> bytes:
        """The request body: the template with the identifier and any continuation."""
        body = orjson.dumps(off_id)[1:-1].join(self.body_parts)
        if not request.fields:
            return body
        return orjson.dumps({**orjson.loads(body), **request.fields})


class PtsReader:
    """The port ``AreaReader`` on PTS.

    Args:
        base_url: PTS's address, with or without a path.
        privacy: what may be stored of a response.
        pages_max: maximum number of pages of one person's area.
    """

    def __init__(
        self,
        *,
        areas: Iterable[ResourceArea],
        base_url: str,
        client: RetryingClient,
        runtime: Runtime,
        privacy: PrivacyRules,
        pages_max: int = PAGES_MAX,
    ) -> None:
        self._areas = {area.name: _prepared(area, base_url) for area in areas}
        self._client = client
        self._runtime = runtime
        self._privacy = privacy
        self._pages_max = pages_max
        self._large = anyio.CapacityLimiter(1)

    @property
    def stats(self) -> SendingStats:
        """Counters of the requests sent."""
        return self._client.stats

    async def read(
        self,
        person: Person,
        area: str,
        *,
        key_path: str | None,
        is_single_use: bool = False,
        is_probe: bool = False,
    ) -> CompleteArea:
        """See ``AreaReader.read``."""
        prepared = self._areas[area]
        paging = PagingState(
            paging=prepared.area.paging,
            url=prepared.url,
            off_id=person.off_id.reveal(),
            pages_max=self._pages_max,
        )
        cleaner = self._privacy.cleaner(person)
        pages: list[Page] = []
        attempts = received_bytes = 0
        form: Form = frozenset()
        request: PageRequest | None = paging.first
        while request is not None:
            answered = 0
            try:
                response, answered = await self._client.send(
                    request.url,
                    headers=prepared.headers,
                    body=prepared.body(person.off_id.reveal(), request),
                    is_single_use=is_single_use,
                    is_probe=is_probe,
                )
                page = await self._page(response, prepared.area, person, key_path, cleaner)
                received_bytes += len(response.body)
                check_area(records=paging.items + page.item_count, received_bytes=received_bytes)
                request = paging.next_request(page)
                form |= paging.form(page)
            except AreaError as error:
                error.attempts = attempts + (answered or error.attempts)
                raise
            attempts += answered
            key_path = page.key_path or key_path
            # The envelope is no longer needed and can be megabytes.
            pages.append(page if request is None else replace(page, envelope={}, headers={}))
        return self._complete(area, pages, form)

    async def _page(
        self,
        response: HttpResponse,
        area: ResourceArea,
        person: Person,
        key_path: str | None,
        cleaner: Cleaner,
    ) -> Page:
        read = partial(
            read_page,
            response.status,
            response.headers,
            response.body,
            area=area,
            person=person,
            key_path=key_path,
            cleaner=cleaner,
        )
        if len(response.body) <= _LARGE_BYTES:
            return read()
        # The lease is renewed and a stop is heard meanwhile.
        return await anyio.to_thread.run_sync(read, abandon_on_cancel=True, limiter=self._large)

    def _complete(self, area: str, pages: list[Page], form: Form) -> CompleteArea:
        records, drift, left_out = pages[0].records, pages[0].drift, pages[0].drift_left_out
        if len(pages) > 1:
            records = tuple(record for page in pages for record in page.records)
            budget = DriftBudget()
            for page in pages:
                budget.add(page.drift, page.drift_left_out)
            drift, left_out = frozenset(budget.kept), budget.left_out
        proof = Proof(
            pages=len(pages),
            record_count=len(records),
            digest=digest_of(records),
            read_at=self._runtime.now(),
            key_path=next((page.key_path for page in pages if page.records), ""),
        )
        return CompleteArea(
            area=area,
            records=records,
            proof=proof,
            drift=drift,
            drift_left_out=left_out,
            form=form,
        )


def _prepared(area: ResourceArea, base_url: str) -> _Prepared:
    template = orjson.dumps(dict(area.body))
    return _Prepared(
        area=area,
        url=base_url.rstrip("/") + area.path,
        headers={**_JSON_HEADERS, **area.headers},
        body_parts=tuple(template.split(OFF_ID.encode())),
    )
