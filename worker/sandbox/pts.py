"""The stand-in for PTS: the two searches that the worker uses.

Routes and request bodies are confirmed, responses are inferred (PTS reference, sections 1 to 3;
``docs/openapi/pts-read.yaml`` marks each item).
"""

from collections.abc import Mapping
from typing import Final

from worker.sandbox.api_access import AccessChecker
from worker.sandbox.challenges import DeniedError
from worker.sandbox.fault_responses import corrupt_documents, corrupt_response
from worker.sandbox.faults import Action, Fault, Target
from worker.sandbox.paging import Pager
from worker.sandbox.restrictions import (
    PRIVACY,
    SAFETY,
    Holder,
    Restriction,
    restrictions,
    sample,
)
from worker.sandbox.search import (
    Search,
    SearchError,
    check_version,
    matches,
    peek_off_id,
    read_search,
)
from worker.sandbox.state import World
from worker.sandbox.tokens import TokenReader
from worker.sandbox.web import Request, Response, header_line, problem

_ROUTES: Final[Mapping[str, tuple[str, bool]]] = {
    "/v0.5/access-restrictions/patient-safety/_search": (SAFETY, False),
    "/access-restrictions/patient-safety/_search": (SAFETY, True),
    "/access-restrictions/patient-privacy/_search": (PRIVACY, False),
}
"""By path: the area, and whether the header ``api-version`` is required."""

_PAGING_FAULTS: Final = frozenset(
    {Action.LOOP_PAGING, Action.WRONG_TOTAL, Action.UNKNOWN_CONTINUATION}
)


class Pts:
    """PTS for one world."""

    def __init__(self, world: World, reader: TokenReader) -> None:
        self._world = world
        self._access = AccessChecker(world, reader)

    def handle(self, request: Request) -> tuple[str, Response, str]:
        """Handle a request; return area, response and the action of an applied fault."""
        route = _ROUTES.get(request.path)
        if route is None:
            return "elsewhere", problem(404, "Not Found"), ""
        area, versioned = route
        if request.method != "POST":
            headers = (header_line("allow", "POST"),)
            return area, problem(405, "Method Not Allowed", headers=headers), ""
        self._world.ledger.search()
        target = self._target(area, request)
        fault, response = self._world.strike(target, request.url)
        if response is None:
            response, fault = self._search(request, target, fault, versioned=versioned)
        return area, response, fault.action if fault else ""

    def _target(self, area: str, request: Request) -> Target:
        if not self._world.faults.faults:
            return Target(area)
        off_id = peek_off_id(request.body)
        index = None if off_id is None else self._world.people.index(off_id)
        number = self._world.faults.next_request()
        return Target(area, off_id, index, number, request.connection)

    def _search(
        self, request: Request, target: Target, fault: Fault | None, *, versioned: bool
    ) -> tuple[Response, Fault | None]:
        try:
            self._access.check(request, fault)
            if request.media_type != "application/json":
                return problem(415, "Unsupported Media Type"), fault
            if versioned:
                check_version(request)
            search = read_search(target.area, request)
        except DeniedError as denied:
            self._world.ledger.refuse(target.area, denied.description or "no token")
            return denied.response(self._world.options.challenge_style), fault
        except SearchError as error:
            return _bad_request(error), fault
        self._world.ledger.count("searches")
        fault = fault or self._world.faults.pick(target, before_checks=False)
        response = self._page(request, target.area, search, fault)
        return corrupt_response(response, fault) if fault is not None else response, fault

    def _page(self, request: Request, area: str, search: Search, fault: Fault | None) -> Response:
        documents = [r.document for r in self._find(area, search)]
        if fault is not None:
            documents = corrupt_documents(
                documents,
                fault,
                area,
                sample=sample(area, search.off_id),
                of_other=sample(area, self._next_to(search.off_id)),
            )
        pager = Pager(
            style=self._world.options.paging,
            size=self._world.options.page_size,
            bound_to=f"{area} {search.off_id}",
            url=request.url,
            fault=fault.action if fault is not None and fault.action in _PAGING_FAULTS else None,
        )
        try:
            return pager.response(documents, pager.position(search.fields))
        except SearchError as error:
            return _bad_request(error)

    def _find(self, area: str, search: Search) -> list[Restriction]:
        world = self._world
        own = world.options.own.get(search.off_id)
        if own is not None:
            mine = [Restriction(document, None) for document in own[area]]
            return [r for r in mine if matches(search, r, world.now())]
        index = world.people.index(search.off_id)
        owner = None if index is None else world.people.owner(index, world.options.generation)
        if index is None or owner is None:
            return []
        holder = Holder(owner, search.off_id, certain=world.people.is_mover(index))
        found = restrictions(area, world.options.seed, holder, world.options.generation)
        return [r for r in found if matches(search, r, world.now())]

    def _next_to(self, off_id: str) -> str:
        """The identifier of another person on the roster."""
        people = self._world.people
        index = people.index(off_id) or 0
        return people.off_id((index + 1) % max(people.count, 2))


def _bad_request(error: SearchError) -> Response:
    return problem(400, "One or more validation errors occurred.", errors=error.errors)
