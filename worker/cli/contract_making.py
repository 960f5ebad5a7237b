"""Makes a contract with PTS of an OpenAPI document, or of live answers."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import aclosing, suppress
from typing import Any, Final

import httpx

from worker.app import App
from worker.cli.service_checks import as_run_error
from worker.contracts.openapi import OpenApi
from worker.contracts.proposal import Draft, propose
from worker.contracts.shape import shape_of
from worker.core.answer import parse
from worker.core.area import ResourceArea
from worker.core.contract import HEADER, AreaContract
from worker.core.model import Person, RosterLineError
from worker.errors import AreaError, DataContractError, TransientError, UsageError
from worker.http.response import HttpResponse
from worker.ports import Roster

_PERSONS_MAX: Final = 100
_NAMES_MAX: Final = 20
_COUNT: Final = "x-total-count"
_REQUEST: Final = ("path", "query", "headers", "body", "no_records", "empty_status", "naive_times")
"""What stays as in force where a contract is learned."""


def from_openapi(app: App, content: bytes) -> Mapping[str, Draft]:
    """The contracts that an OpenAPI 3 document in JSON describes.

    Raises:
        DataContractError: it is no such document, or no contract can be made of it.
    """
    try:
        described = OpenApi(parse(content))
    except AreaError as error:
        reason = "it is no JSON" if isinstance(error, TransientError) else error.message
        raise DataContractError(
            f"not an OpenAPI document in JSON: {reason}",
            hint="a document in YAML has to be converted to JSON first",
        ) from None
    drafts, known = dict[str, Draft](), app.contract()
    for area in app.areas():
        drafts[area.name], answer = described.search(area.name, known[area.name])
        if drafts[area.name].table:
            shape = {n: leaf._replace(records=0) for n, leaf in shape_of([answer]).items()}
            propose(area, known[area.name], drafts[area.name], shape)
    return drafts


async def learn(app: App, roster: Roster) -> Mapping[str, Draft]:
    """The contracts that live answers for these persons suggest. Only their first pages are read.

    Raises:
        UsageError: a line is no identifier that may be sent, or there are too many.
        WorkerError: HelseID refuses or is unavailable, or PTS answers nobody.
    """
    persons = await _persons(app, roster)
    areas, known = app.areas(), app.contract()
    drafts, unread = dict[str, Draft](), list[AreaError]()
    async with app.reader(app.throttle(), attempts_max=2) as reader:
        for area in areas:
            answers, ends = list[HttpResponse](), list[AreaError]()
            try:
                for person in persons:
                    answers.append(await reader.ask(person, area.name))
            except AreaError as error:
                ends.append(error)
            drafts[area.name] = _drafted(area, known[area.name], answers)
            drafts[area.name].facts += [f"then no answer: {error.message}" for error in ends]
            unread += [error for error in ends if not answers]
    if len(unread) == len(areas):
        raise as_run_error(unread[0])
    return drafts


async def _persons(app: App, roster: Roster) -> list[Person]:
    found = list[Person]()
    async with aclosing(roster.entries()) as lines:
        async for entry in lines:
            if isinstance(entry, RosterLineError):
                raise UsageError(f"{entry.where}: {entry.problem}")
            if entry.is_h_number and not app.sends_h_numbers:
                raise UsageError("standard input: an H-number is not sent to PTS")
            if len(found) == _PERSONS_MAX:
                raise UsageError(f"standard input: more than {_PERSONS_MAX} persons")
            found.append(Person(off_id=entry.off_id, person_key="learn"))
    return found


def _drafted(area: ResourceArea, known: AreaContract, answers: Sequence[HttpResponse]) -> Draft:
    """What the answers of an area suggest. Values stay in here."""
    draft = Draft(**known.model_dump(mode="json", include={*_REQUEST}))
    documents = defaultdict[int, list[Any]](list)
    for answer in answers:
        with suppress(AreaError):
            document = parse(answer.body)
            documents[answer.status].append(document)
    for status, count in sorted(Counter(answer.status for answer in answers).items()):
        draft.facts.append(f"status {status}: {count}, {len(documents[status])} of them JSON")
        if status != httpx.codes.OK and documents[status]:
            names = ", ".join(sorted(shape_of(documents[status]))[:_NAMES_MAX])
            draft.facts.append(f"status {status} has the fields {names}")
    if read := documents[httpx.codes.OK]:
        _declare_headers(draft, answers)
        propose(area, known, draft, shape_of(read), is_asked_by_it=True)
    return draft


def _declare_headers(draft: Draft, answers: Sequence[HttpResponse]) -> None:
    """Declare the response headers that speak of more records, if the contract can."""
    names = {name for answer in answers for name in answer.headers}
    if "link" in names:
        draft.table["paging"] = {"style": "link"}
        draft.propose("paging", "Link looks like the style link; ask NHN")
    if _COUNT in names:
        draft.table["total"] = f"{HEADER}{_COUNT}"
        draft.propose("total", f"{_COUNT} is the number of records over all pages")
    for name in sorted(names & {"content-range", "x-pagination"}):
        draft.propose("ignore", f"{name} speaks of more records; answers with it are refused")
