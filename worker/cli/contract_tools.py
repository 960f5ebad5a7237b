"""A contract that is made of live answers, and what is shown of one that is made."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import aclosing, suppress
from difflib import ndiff
from pathlib import Path
from typing import Any, Final

from worker.app import App
from worker.cli.options import Cli
from worker.cli.output import print_table
from worker.cli.proposal import Draft, propose, shape_of
from worker.cli.toml_text import contract_toml, document_of
from worker.core.answer import parse
from worker.core.area import ResourceArea
from worker.core.breaker import verdict_of
from worker.core.contract import Contract
from worker.core.display import visible
from worker.core.model import Person, RosterLineError
from worker.errors import AreaError, ExitCode, UsageError
from worker.files import named_faults, write_new
from worker.http.response import HttpResponse
from worker.ports import Roster

_PERSONS_MAX: Final = 100
_OK: Final = 200


async def learned(app: App, roster: Roster) -> Mapping[str, Draft]:
    """What live answers for these persons suggest of each area."""
    persons, known = await _persons(app, roster), app.contract()
    drafts = {area.name: Draft(known[area.name]) for area in app.areas()}
    try:
        async with app.reader(app.pace(), attempts_max=2) as reader:
            for area in app.areas():
                answers = [await reader.ask(person, area.name) for person in persons]
                _complete(drafts[area.name], area, answers)
    except AreaError as error:
        raise verdict_of(error) from None
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


def _complete(draft: Draft, area: ResourceArea, answers: Sequence[HttpResponse]) -> None:
    """Complete a draft by what the answers of an area suggest. Values stay in here."""
    documents = defaultdict[int, list[Any]](list)
    for answer in answers:
        read = documents[answer.status]
        with suppress(AreaError):
            read.append(parse(answer.body))
    for status, read in sorted(documents.items()):
        names = "" if status == _OK else ", ".join(sorted(shape_of(read)))
        draft.facts.append(f"status {status}: {len(read)} in JSON {names and f'with {names}'}")
    if documents[_OK]:
        headers = {name for answer in answers for name in answer.headers}
        propose(area, draft, shape_of(documents[_OK]), headers)


def report(cli: Cli, known: Contract, drafts: Mapping[str, Draft], out: Path | None) -> int:
    """Print or write the contract that was made, with what was found and the differences."""
    made = {name: draft.contract for name, draft in drafts.items() if draft.contract is not None}
    contract, notes = {**known, **made}, {name: draft.notes for name, draft in drafts.items()}
    text = contract_toml(contract, notes)
    file = out if made else None
    if file is not None:
        with named_faults(file):
            write_new(file, text.encode())
    differences = _differences(known, contract)
    document = {
        "file": file,
        "areas": {n: {"facts": one.facts, "fields": one.rows} for n, one in drafts.items()},
        "proposals": notes,
        "contract": document_of(contract),
        "differences": differences,
    }
    cli.emit(document, lambda: _print(drafts, differences, text if out is None else ""))
    return ExitCode.OK if made else ExitCode.DATA_CONTRACT


def _differences(known: Contract, contract: Contract) -> list[str]:
    """The lines that go, and those that come, with their area."""
    lines = ndiff([*_lines(known)], [*_lines(contract)])
    return [line for line in lines if line.startswith(("-", "+"))]


def _lines(contract: Contract) -> Iterator[str]:
    for name, area in contract.items():
        yield from (f"{name}: {line}" for line in contract_toml({name: area}).splitlines())


def _print(drafts: Mapping[str, Draft], differences: list[str], text: str) -> None:
    """Everything but the contract itself is a comment, so that all of it is a TOML file."""
    for name, draft in drafts.items():
        for fact in draft.facts:
            print(f"# {name}: {visible(fact)}")
    rows = [(f"# {n}", *row.values()) for n, draft in drafts.items() for row in draft.rows]
    print_table(("# area", "field", "kinds", "records", "becomes"), rows)
    for line in ("differences to the contract in force:", *(differences or ["none"])):
        print(f"# {line}")
    if text:
        print(f"\n{text}", end="")
