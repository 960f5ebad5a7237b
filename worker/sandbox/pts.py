"""The stand-in for PTS: the two searches that the worker uses, in the shape of the contract.

What PTS answers is inferred wherever the contract's default says so (``worker/areas/pts.toml``).
"""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote
from zlib import crc32

from worker.sandbox.access import AccessChecker, Tokens
from worker.sandbox.contract import HEADER, put
from worker.sandbox.faults import Action, Fault, pick
from worker.sandbox.people import Document, Restriction, restrictions, sample
from worker.sandbox.search import Pager, SearchError, peek_off_id, read_search
from worker.sandbox.web import Headers, RefusedError, Request, Response, json_response, problem
from worker.sandbox.world import World

_UNLIMITED: Final = 1_000_000


class Pts:
    """PTS for one world."""

    def __init__(self, world: World, tokens: Tokens) -> None:
        self._world = world
        self._access = AccessChecker(world, tokens)

    def handle(self, request: Request) -> tuple[str, Response, str]:
        """Handle a request; return area, response and the action of an applied fault."""
        paths = {unquote(one.path): area for area, one in self._world.contract.items()}
        area = paths.get(request.path)
        if area is None:
            return "elsewhere", problem(404), ""
        if request.method != "POST":
            return area, problem(405, {"allow": "POST"}), ""
        off_id = peek_off_id(request.body, self._world.contract[area])
        whom = (off_id, self._world.people.get(off_id or ""))
        fault = pick(self._world.faults, area, *whom)
        response = None if fault is None else fault.instead()
        if response is None:
            response, fault = self._search(request, area, whom, fault)
        return area, response, fault.action if fault else ""

    def _search(
        self, request: Request, area: str, whom: tuple[Any, Any], fault: Fault | None
    ) -> tuple[Response, Fault | None]:
        try:
            self._access.check(request, fault)
            if request.media_type != "application/json":
                return problem(415), fault
            search = read_search(request, self._world.contract[area])
            self._world.counts["searches"] += 1
            fault = fault or pick(self._world.faults, area, *whom, in_records=True)
            response = self._answer(request, area, search, fault)
        except RefusedError as refused:
            self._world.counts[f"refused {area}: {refused.reason}"] += 1
            return refused.at_api(self._world.options.challenge_style), fault
        except SearchError as error:
            return problem(400, errors=error.args[0]), fault
        return fault.spoil(response) if fault else response, fault

    def _answer(
        self, request: Request, area: str, search: tuple[str, Any], fault: Fault | None
    ) -> Response:
        contract, (off_id, continuation) = self._world.contract[area], search
        found = self._find(area, off_id)
        if fault is not None:
            found = self._spoil(area, off_id, found, fault.action)
        way = _way_of(off_id)
        if not found and contract.empty_status and way == "status":
            return Response(contract.empty_status[0])
        pager = Pager(
            contract=contract,
            size=self._world.options.page_size if contract.pages.style != "none" else _UNLIMITED,
            count=len(found),
            bound_to=f"{area} {off_id}",
            url=f"{self._world.options.pts_url}{request.path}",
        )
        start = pager.start(continuation)
        render = self._world.renderers[area].record
        records = [render(restriction) for restriction in found[start : start + pager.size]]
        is_null = not found and contract.no_records == "empty" and way == "null"
        around = {
            **dict.fromkeys(contract.ignore, "made up"),
            **dict.fromkeys(contract.answer_person, off_id),
            **contract.expect,
            **pager.around(start),
        }
        place = contract.records
        if fault is not None and fault.action is Action.UNKNOWN_CONTINUATION:
            place, around = place or "items", around | {"hasMore": True, "scrollId": "c2FuZGJveA"}
        return _response(place, None if is_null and place else records, around)

    def _find(self, area: str, off_id: str) -> list[Restriction]:
        options = self._world.options
        if off_id not in self._world.people:
            return []
        return [*restrictions(area, options.seed, off_id, options.generation)]

    def _spoil(
        self, area: str, off_id: str, found: list[Restriction], action: Action
    ) -> list[Restriction]:
        """The restrictions with one of them corrupted, be it a made-up one."""
        *head, last = found or [sample(area, off_id)]
        match action:
            case Action.EMPTY_LIST:
                return []
            case Action.OTHER_PERSON:
                others = (other for other in self._world.people if other != off_id)
                return [*found, sample(area, next(others))]
            case Action.NO_KEY:
                return [*head, last._replace(id="")]
            case Action.WRONG_TYPE:
                wrong = {"confidentiality_code": 17, "privacy_type": 17, "privacy_level": ["Soft"]}
                return [*head, last._replace(values=last.values | wrong)]
            case _:
                return found


def _way_of(off_id: str) -> str:
    """How a person without restrictions is answered, if the contract declares it."""
    return ("status", "null", "list")[crc32(off_id.encode()) % 3]


def _response(place: str, records: list[Document] | None, around: Mapping[str, Any]) -> Response:
    """The records at their place, or alone, with what stands around them by path or header."""
    document: Document = {}
    headers: Headers = {}
    if place:
        put(document, place, records)
    for path, value in around.items():
        if path.startswith(HEADER):
            headers[path.removeprefix(HEADER).lower()] = str(value)
        else:
            put(document, path, value)
    return json_response(document if place else records, headers=headers)
