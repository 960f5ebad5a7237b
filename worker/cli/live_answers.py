"""Proposes a contract from live answers about the persons on standard input."""

import re
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import suppress
from io import BytesIO
from typing import Any, Final

from worker.app import App
from worker.cli.fields import Field, fields_in
from worker.cli.proposal import Proposal
from worker.cli.toml_text import toml_value
from worker.core.answer import LEARN, PAGING_HEADERS, parse
from worker.core.area import ResourceArea
from worker.core.contract import HEADER, AreaContract
from worker.core.display import counted, listed
from worker.core.model import Person, RosterLineError
from worker.core.paths import without_indexes
from worker.core.verdict import error_of_only_request
from worker.errors import AreaError, FailureKind, RosterError, UsageError
from worker.http.response import HttpResponse
from worker.pts.reader import PtsReader
from worker.roster.csv_file import CsvRoster

_OK: Final = 200
_EMPTY: Final = (204, 404)
_COVERED_BY: Final = {"ignore": ("ignore", "paging"), "empty_status": ("empty_status",)}
"""The keys of open points that make an open point about a failed read superfluous, by its key."""
_SUCCESSES: Final = range(201, 300)
_QUOTED: Final = re.compile(r"`(\w+)")
_KEYS: Final = {
    FailureKind.PAGING: "paging",
    FailureKind.REJECTED: "path",
    FailureKind.CONTRACT: "records",
}
"""The key of an open point about a failed read, if its message does not quote one."""
_PERSONS_MAX: Final = 100
_BYTES_MAX: Final = 64 << 20


async def learn(app: App) -> dict[str, Proposal]:
    """The proposal for each area, from the first page of each answer.

    Then all pages are read with the proposed contracts. An answer that `doctor --probe` would
    refuse becomes an open point.

    Raises:
        UsageError: standard input has no persons, or a line that is not an identifier.
        WorkerError: PTS or HelseID is unavailable or refuses this client.
    """
    persons, contract, size = await _persons(app), app.contract(), 0
    answers = {area: list[HttpResponse]() for area in app.areas()}
    try:
        async with app.reader(app.pace(), attempts_max=2) as reader:
            for person in persons:
                if size > _BYTES_MAX:
                    break
                for area, responses in answers.items():
                    responses.append(await reader.first_response(person, area.name))
                    size += len(responses[-1].body)
        proposals = {
            area.name: learned(area, contract[area.name], responses)
            for area, responses in answers.items()
        }
        proposed = {
            name: proposal.contract for name, proposal in proposals.items() if proposal.contract
        }
        async with app.reader(app.pace(), {**contract, **proposed}, attempts_max=2) as reader:
            for name in proposed:
                await _prove(reader, persons, name, proposals[name])
    except AreaError as error:
        raise error_of_only_request(error) from None
    return proposals


async def _prove(
    reader: PtsReader, persons: Sequence[Person], area: str, proposal: Proposal
) -> None:
    """Read all pages with the proposed contract, as `doctor --probe` does, and note failures."""
    failures = Counter[tuple[str, str]]()
    for person in persons:
        try:
            await reader.read(person, area)
        except AreaError as error:
            is_about_contract = error.kind in _KEYS or error.status == _OK
            if not is_about_contract:  # an outage, or a refused client
                raise
            text = without_indexes(error.message.replace(f"; {LEARN}", ""))
            keys = ["empty_status"] if error.status in _EMPTY else _QUOTED.findall(text)
            keys = [key for key in keys if key in proposal.table]
            key = keys[0] if keys else _KEYS.get(error.kind, "path")
            failures[key, text] += 1
    noted = {note.key for note in proposal.notes}
    for (key, text), number in failures.items():
        # An open point of the first pages may cover these fields, links or statuses already.
        if noted.isdisjoint(_COVERED_BY.get(key, ())):
            proposal.note(key, f"{counted(number, 'person')} cannot be read: {text}")


async def _persons(app: App) -> list[Person]:
    """The first persons on standard input. A terminal counts as empty input, which is an error."""
    persons = list[Person]()
    roster = CsvRoster("-", stdin=BytesIO() if sys.stdin.isatty() else None)
    try:
        async for entry in roster.entries():
            if isinstance(entry, RosterLineError):
                raise UsageError(f"{entry.where}: {entry.problem}")
            if entry.is_h_number and not app.sends_h_numbers:
                raise UsageError("standard input: an H-number is not sent to PTS")
            persons.append(Person(off_id=entry.off_id, person_key="learn"))
    except RosterError as error:
        hint = "one synthetic identifier per line: `pts-worker contract learn < synthetic.txt`"
        raise UsageError(error.message, hint=hint) from None
    return persons[:_PERSONS_MAX]


def learned(
    area: ResourceArea, in_force: AreaContract, responses: Sequence[HttpResponse]
) -> Proposal:
    """The proposal from live answers. Refusals contribute only statuses and names of fields."""
    proposal, documents = Proposal(area, in_force), defaultdict[int, list[Any]](list)
    statuses = Counter(response.status for response in responses)
    for response in responses:
        # A body that is not JSON has no fields, but its status counts.
        with suppress(AreaError):
            documents[response.status].append(parse(response.body))
    for status, number in sorted(statuses.items()):
        names = "" if status == _OK else ", ".join(sorted(fields_in(documents[status])))
        proposal.facts.append(f"status {status}: {number}{names and f' with {names}'}")
    if not documents[_OK]:
        request = f"POST {in_force.path} with {toml_value(in_force.body)}"
        remedy = "check path, query, headers and body, and that these persons exist there"
        text = f"every request is refused: {request}; {remedy}"
        if successes := [str(status) for status in statuses if status in _SUCCESSES]:
            text = f"PTS answers {listed(successes)}, and only 200 is read: ask NHN for status 200"
        proposal.note("path", text)
        return proposal
    headers = [response.headers for response in responses if response.status == _OK]
    counts = {name: sum(name in names for names in headers) for name in PAGING_HEADERS}
    fields = {HEADER + name: Field("header", count) for name, count in counts.items() if count}
    proposal.read(documents[_OK], fields, statuses)
    return proposal
