"""The stand-in for PTS: the two searches that the worker uses, in the shape of the contract.

What PTS answers is inferred wherever the contract's default says so (``worker/areas/pts.toml``,
``docs/openapi/pts-read.yaml``).
"""

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from worker.sandbox.api_access import AccessChecker
from worker.sandbox.challenges import DeniedError
from worker.sandbox.contract import HEADER
from worker.sandbox.fault_responses import corrupt_response, corrupt_restrictions
from worker.sandbox.faults import Action, Fault, Target, has_action
from worker.sandbox.paging import Pager
from worker.sandbox.render import put
from worker.sandbox.restrictions import Document, Holder, Restriction, restrictions, sample
from worker.sandbox.search import SearchReader, peek_off_id
from worker.sandbox.state import World
from worker.sandbox.tokens import TokenReader
from worker.sandbox.web import (
    Headers,
    Request,
    Response,
    SearchError,
    header_line,
    json_response,
    problem,
)

_NOT_FOUND: Final = 404
_FILLERS: Final[tuple[Any, ...]] = ("made up", 7, [])
"""For what the contract ignores around the records."""


class Pts:
    """PTS for one world."""

    def __init__(self, world: World, reader: TokenReader) -> None:
        self._world = world
        self._access = AccessChecker(world, reader)
        self._searches = SearchReader()

    def handle(self, request: Request) -> tuple[str, Response, str]:
        """Handle a request; return area, response and the action of an applied fault."""
        area = self._world.area_at(request.path)
        if area is None:
            return "elsewhere", problem(404, "Not Found"), ""
        if request.method != "POST":
            headers = (header_line("allow", "POST"),)
            return area, problem(405, "Method Not Allowed", headers=headers), ""
        target = self._target(area, request)
        fault, response = self._world.strike(target, request.url)
        if response is None:
            response, fault = self._search(request, target, fault)
        return area, response, fault.action if fault else ""

    def _target(self, area: str, request: Request) -> Target:
        if not self._world.faults.faults:
            return Target(area)
        off_id = peek_off_id(request.body, self._world.contract[area])
        index = None if off_id is None else self._world.people.index(off_id)
        number = self._world.faults.next_request()
        return Target(area, off_id, index, number, request.connection)

    def _search(
        self, request: Request, target: Target, fault: Fault | None
    ) -> tuple[Response, Fault | None]:
        try:
            self._access.check(request, fault)
            if request.media_type != "application/json":
                return problem(415, "Unsupported Media Type"), fault
            search = self._searches.read(request, self._world.contract[target.area])
        except DeniedError as denied:
            self._world.ledger.refuse(target.area, denied.description or "no token")
            return denied.response(self._world.options.challenge_style), fault
        except SearchError as error:
            return error.response(), fault
        self._world.ledger.count("searches")
        fault = fault or self._world.faults.pick(target, before_checks=False)
        try:
            response = self._answer(request, target.area, search, fault)
        except SearchError as error:
            response = error.response()
        return corrupt_response(response, fault) if fault is not None else response, fault

    def _answer(
        self, request: Request, area: str, search: tuple[str, Any], fault: Fault | None
    ) -> Response:
        contract, (off_id, continuation) = self._world.contract[area], search
        found = self._find(area, off_id)
        if fault is not None:
            spare, of_other = sample(area, off_id), sample(area, self._next_to(off_id))
            found = corrupt_restrictions(found, fault, spare=spare, of_other=of_other)
        if not found and contract.empty_status and _third(off_id) == 0:
            status = contract.empty_status[0]
            return problem(status, "Not Found") if status == _NOT_FOUND else Response(status)
        pager = Pager(
            contract=contract,
            size=self._world.options.page_size,
            count=len(found),
            bound_to=f"{area} {off_id}",
            url=request.url,
            fault=fault.action if fault else None,
        )
        start = pager.start(continuation)
        records = [self._world.renderers[area].record(one) for one in pager.page(found, start)]
        is_null = not found and contract.no_records == "empty" and _third(off_id) == 1
        around = {
            **{path: _FILLERS[_third(path)] for path in contract.ignore},
            **dict.fromkeys(contract.answer_person, off_id),
            **contract.expect,
            **pager.around(start),
        }
        place = contract.records
        if has_action(fault, Action.UNKNOWN_CONTINUATION):
            place, around = place or "items", around | {"hasMore": True, "scrollId": "c2FuZGJveA"}
        return _response(place, None if is_null and place else records, around)

    def _find(self, area: str, off_id: str) -> list[Restriction]:
        world = self._world
        index = world.people.index(off_id)
        owner = None if index is None else world.people.owner(index, world.options.generation)
        if index is None or owner is None:
            return []
        holder = Holder(owner, off_id, certain=world.people.is_mover(index))
        return restrictions(area, world.options.seed, holder, world.options.generation)

    def _next_to(self, off_id: str) -> str:
        """The identifier of another person on the roster."""
        people = self._world.people
        index = people.index(off_id) or 0
        return people.off_id((index + 1) % max(people.count, 2))


def _third(text: str) -> int:
    """0, 1 or 2: who has no restrictions is answered in each way that the contract declares."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest()) % 3


def _response(place: str, records: list[Document] | None, around: Mapping[str, Any]) -> Response:
    """The records at their place, or alone, with what stands around them by path or header."""
    document: Document = {}
    headers: Headers = ()
    if place:
        put(document, place, records)
    for path, value in around.items():
        if path.startswith(HEADER):
            line = header_line(path.removeprefix(HEADER).lower(), str(value))
            headers = (*headers, line)
        else:
            put(document, path, value)
    return json_response(document if place else records, headers=headers)
