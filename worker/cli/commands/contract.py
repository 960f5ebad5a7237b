"""``contract``: what is declared of PTS's answers, and contracts made of what PTS says."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import aclosing, suppress
from difflib import unified_diff
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from worker.cli import options
from worker.cli.output import print_table
from worker.core.display import visible
from worker.errors import AreaError, ExitCode, UsageError
from worker.files import named_faults, write_new

if TYPE_CHECKING:
    from worker.app import App
    from worker.cli.proposal import Draft
    from worker.core.area import ResourceArea
    from worker.core.contract import Contract
    from worker.core.model import Person
    from worker.http.response import HttpResponse
    from worker.ports import Roster

_DOCUMENT_BYTES_MAX: Final = 16 << 20
_PERSONS_MAX: Final = 100
_OK: Final = 200

_out = click.option(
    "--out", type=options.path, metavar="FILE", help="Write it to this file, which must not exist."
)


@click.group("contract", cls=options.Group, no_args_is_help=True)
def command() -> None:
    """The contract with PTS: show it, or make one. Example: `pts-worker contract show`"""


@command.command("show")
@click.pass_obj
def show(cli: options.Cli) -> None:
    """Print the complete contract with PTS that is in force, as TOML.

    It is `api.contract_file`, or comes with the program if that is not set.

    `--json`: origin (the file, or null for the program's own), contract.

    Example: `pts-worker contract show`
    """
    from worker.cli.toml_text import contract_toml, document_of

    app = cli.load(None)
    contract, origin = app.contract(), app.settings.api.contract_file
    document = {"origin": origin, "contract": document_of(contract)}
    cli.emit(document, lambda: print(contract_toml(contract), end=""))


@command.command("from-openapi")
@click.argument("file", type=options.path, metavar="FILE")
@_out
@click.pass_obj
def from_openapi(cli: options.Cli, *, file: Path, out: Path | None) -> int:
    """Make a contract from NHN's OpenAPI 3 document (JSON).

    It reads the search operations of both areas (POST, a path that ends in `_search`); the records'
    fields become columns by name. What differs from the contract in force is marked `# proposal`,
    and fields that no column takes are comments below `extra`. A field around the records that may
    mean "there is more" is left out, so that answers with it are refused until you declare it. Only
    live answers prove a contract: `pts-worker doctor --probe`.

    Prints the contract, with its differences to the contract in force as comments, or writes it to
    a new file (`--out FILE`) for `api.contract_file`.

    `--json`: file, areas (facts, fields: field, kinds, records, becomes), proposals, contract,
    differences.

    Example: `pts-worker contract from-openapi pts.json --out pts.toml`
    """
    from worker.cli.openapi import OpenApi
    from worker.trusted_files import read_trusted

    app = cli.load(None)
    content = read_trusted(file, key="FILE", group_may_write=True, bytes_max=_DOCUMENT_BYTES_MAX)
    described, known = OpenApi(content), app.contract()
    drafts = {area.name: described.draft(area, known[area.name]) for area in app.areas()}
    return _report(cli, known, drafts, out)


@command.command("learn")
@_out
@click.pass_obj
def learn(cli: options.Cli, *, out: Path | None) -> int:
    """Propose a contract from live answers about some persons.

    Give their identifiers on standard input, one a line: synthetic persons who have restrictions,
    100 at most. PTS is asked as the contract in force says, and only the first page of each answer
    is read. It shows the names of fields, their types and how many records have them, never a
    value; for a refusal (4xx) the names of the answer's fields.

    Output and `--json` are as `from-openapi`'s. Exit code 65 if no answer could be used.

    Example: `pts-worker contract learn --out pts.toml < synthetic.txt`
    """
    from worker.cli.access import typed_identifier
    from worker.roster.csv_file import CsvRoster

    app = cli.load("read-pts")
    roster = CsvRoster("-", stdin=typed_identifier())
    drafts = cli.run(lambda: _learned(app, roster))
    return _report(cli, app.contract(), drafts, out)


async def _learned(app: "App", roster: "Roster") -> Mapping[str, "Draft"]:
    """What live answers for these persons suggest of each area."""
    from worker.cli.proposal import Draft
    from worker.core.breaker import verdict_of

    persons, known = await _persons(app, roster), app.contract()
    drafts = {area.name: Draft(known[area.name]) for area in app.areas()}
    try:
        async with app.reader(app.throttle(), attempts_max=2) as reader:
            for area in app.areas():
                answers = [await reader.ask(person, area.name) for person in persons]
                _complete(drafts[area.name], area, answers)
    except AreaError as error:
        raise verdict_of(error) from None
    return drafts


async def _persons(app: "App", roster: "Roster") -> list["Person"]:
    from worker.core.model import Person, RosterLineError

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


def _complete(draft: "Draft", area: "ResourceArea", answers: Sequence["HttpResponse"]) -> None:
    """Complete a draft by what the answers of an area suggest. Values stay in here."""
    from worker.cli.proposal import propose, shape_of
    from worker.core.answer import parse

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


def _report(
    cli: options.Cli, known: "Contract", drafts: Mapping[str, "Draft"], out: Path | None
) -> int:
    """Print or write the contract that was made, with what was found and the differences."""
    from worker.cli.toml_text import contract_toml, document_of

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


def _differences(known: "Contract", contract: "Contract") -> list[str]:
    """The lines that go, and those that come, with their area."""
    from worker.cli.toml_text import contract_toml

    before, after = (
        [f"{n}: {line}" for n in contract for line in contract_toml({n: one[n]}).splitlines()]
        for one in (known, contract)
    )
    lines = [*unified_diff(before, after, n=0, lineterm="")][2:]
    return [line for line in lines if not line.startswith("@@")]


def _print(drafts: Mapping[str, "Draft"], differences: list[str], text: str) -> None:
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
