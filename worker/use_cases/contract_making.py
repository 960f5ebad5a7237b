"""Makes a contract with PTS of an OpenAPI document, or of live answers."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from worker.app import App
from worker.contracts.openapi import Search, searches_of
from worker.contracts.proposal import PERSONS, Asked, Proposal, plain, propose
from worker.contracts.shape import shape_of
from worker.core.answer import Headers, parse
from worker.core.area import ResourceArea
from worker.core.contract import HEADER, OFF_ID, AreaContract
from worker.core.identity import NationalId
from worker.core.model import Person
from worker.core.paging import next_links
from worker.core.paths import leaves, safe_path, without_numbers
from worker.core.retry import StatusClass, classify
from worker.core.value import Value
from worker.errors import AreaError, DataContractError, RejectedError
from worker.ports import HttpResponse
from worker.pts.reader import PtsReader
from worker.use_cases.checks import as_run_error

_OWN_HEADERS: Final = frozenset({"authorization", "dpop", "content-type", "accept"})
_COUNT: Final = "x-total-count"
_KEPT: Final = ("path", "query", "headers", "body", "no_records", "empty_status", "naive_times")


class Made(Value, frozen=True, kw_only=True):
    """What was found of an area.

    Attributes:
        proposal: None if nothing could be concluded, so that the contract in force stands.
        facts: what is to be said of it, in a line each.
    """

    proposal: Proposal | None
    facts: tuple[str, ...] = ()


def from_openapi(app: App, content: bytes) -> Mapping[str, Made]:
    """The contracts that an OpenAPI 3 document in JSON describes.

    Raises:
        DataContractError: it is no such document, or has no search operation that can be read.
    """
    try:
        document = parse(content)
    except AreaError as error:
        raise DataContractError(
            f"not an OpenAPI document in JSON: {error.message}",
            hint="a document in YAML has to be converted to JSON first",
        ) from None
    known, areas = app.contract(), app.areas()
    searches = searches_of(document, [area.name for area in areas])
    if not searches:
        raise DataContractError(
            "no POST operation whose path ends in _search and names patient-safety or "
            "patient-privacy"
        )
    made = dict[str, Made]()
    for area in areas:
        if (search := searches.get(area.name)) is None:
            made[area.name] = Made(proposal=None, facts=("the document has no search of it",))
        else:
            asked = _asked(search, known[area.name])
            proposal = propose(area, known[area.name], asked, search.answer)
            made[area.name] = Made(proposal=proposal, facts=(f"POST {search.path}",))
    return made


def _asked(search: Search, known: AreaContract) -> Asked:
    """The request that a document describes."""
    table: dict[str, Any] = {"path": search.path, "query": {}, "headers": {}}
    notes = dict[str, list[str]]()
    if search.others:
        notes["path"] = [f"proposal: the highest version; there is also {', '.join(search.others)}"]
    for one in search.parameters:
        if one.place not in {"query", "header"} or one.name.lower() in _OWN_HEADERS:
            continue
        key = "headers" if one.place == "header" else "query"
        if one.value is not None and (one.is_required or one.value == "{uuid}"):
            table[key][one.name] = one.value
            notes.setdefault(key, []).append(f"proposal: the value of {one.name}; ask NHN")
        elif one.is_required:
            notes.setdefault(key, []).append(f"proposal: {one.name} is required; ask what to send")
    persons = [path for path in search.request if plain(path).rpartition(".")[2] in PERSONS]
    if persons:
        table["body"] = _nested(persons[0], OFF_ID)
    else:
        table["body"] = known.body
        notes["body"] = ["proposal: no property of the request is called offId"]
    others = [path for path in search.request if path not in persons[:1]]
    if others:
        notes.setdefault("body", []).append(f"proposal: it may also have {', '.join(others)}")
    if search.has_no_content:
        table["empty_status"] = [204]
        notes["empty_status"] = ["proposal: 204 means that there are no records"]
    table["naive_times"] = known.naive_times
    sendable = {one.name: "query" for one in search.parameters if one.place == "query"}
    return Asked(table, notes, {**sendable, **dict.fromkeys(search.request, "body")})


def _nested(path: str, value: Any) -> Any:
    """A document with this value at the path."""
    for part in reversed(path.split(".")):
        value = {part.removesuffix("[]"): [value] if part.endswith("[]") else value}
    return value


async def learn(app: App, persons: Sequence[NationalId]) -> Mapping[str, Made]:
    """The contracts that live answers for these persons suggest. Only their first pages are read.

    Raises:
        WorkerError: HelseID refuses or is unavailable, or PTS answers nobody.
    """
    areas, known = app.areas(), app.contract()
    async with app.reader(areas, throttle=app.throttle(), attempts_max=2) as reader:
        found = {area.name: await _answers(reader, area, persons) for area in areas}
    errors = [one.error for one in found.values() if one.error is not None]
    if errors and not any(one.statuses for one in found.values()):
        raise as_run_error(errors[0])
    return {area.name: found[area.name].made(area, known[area.name]) for area in areas}


class _Answers:
    """What PTS answered of one area. Values stay in here."""

    def __init__(self) -> None:
        self.statuses = Counter[int]()
        self.error: AreaError | None = None
        self._documents: list[Any] = []
        self._problems: dict[int, set[str]] = {}
        self._signs = set[str]()

    def add(self, response: HttpResponse) -> None:
        """Take in an answer."""
        self.statuses[response.status] += 1
        try:
            document = parse(response.body) if response.body else None
        except AreaError as error:
            self.error = error
            return
        if classify(response.status) is StatusClass.OK and document is not None:
            self._documents.append(document)
            self._signs |= _signs(response.headers)
        elif isinstance(document, dict):
            names = {safe_path(without_numbers(path)) for path, _ in leaves(document)}
            self._problems.setdefault(response.status, set()).update(names)

    def made(self, area: ResourceArea, known: AreaContract) -> Made:
        """What it suggests."""
        facts = [f"status {status}: {n}" for status, n in sorted(self.statuses.items())]
        facts += [
            f"status {status} has the fields {', '.join(sorted(names)[:20])}"
            for status, names in sorted(self._problems.items())
        ]
        facts += [f"not read: {self.error.message}"] if self.error is not None else []
        if not self._documents:
            return Made(proposal=None, facts=tuple(facts))
        table = {key: value for key, value in known.model_dump(mode="json").items() if key in _KEPT}
        notes = dict[str, list[str]]()
        if _COUNT in self._signs:
            table["total"] = f"{HEADER}{_COUNT}"
            notes["total"] = [f"proposal: {_COUNT} is the number of records over all pages"]
        if others := sorted(self._signs - {_COUNT, "link"}):
            notes["ignore"] = [f"proposal: {', '.join(others)} speaks of more records; refused"]
        fields = {"link": "query"} if "link" in self._signs else {}
        return Made(
            proposal=propose(area, known, Asked(table, notes, fields), shape_of(self._documents)),
            facts=tuple(facts),
        )


async def _answers(
    reader: PtsReader, area: ResourceArea, persons: Sequence[NationalId]
) -> _Answers:
    found = _Answers()
    for off_id in persons:
        try:
            found.add(await reader.ask(Person(off_id=off_id, person_key="learn"), area.name))
        except AreaError as error:
            found.error = error
            if not isinstance(error, RejectedError):
                break
    return found


def _signs(headers: Headers) -> set[str]:
    """The headers that speak of more records."""
    found = {name for name in ("content-range", "x-pagination", _COUNT) if name in headers}
    return found | ({"link"} if any(next_links(headers.get("link", ()))) else set())
