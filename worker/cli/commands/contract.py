"""``contract``: what is declared of PTS's answers, and contracts proposed from what PTS says."""

import sys
import tomllib
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from worker.cli import options
from worker.cli.output import print_table
from worker.errors import AreaError, ExitCode, RosterError, UsageError

if TYPE_CHECKING:
    from worker.app import App
    from worker.cli.proposal import Proposal
    from worker.core.model import Person

_PERSONS_MAX: Final = 100
_BYTES_MAX: Final = 64 << 20
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

    It is `api.contract_file`, or comes with the program if that is not set. `--json` gives the same
    in the members origin (the file; null for the program's own) and contract.

    Example: `pts-worker contract show`
    """
    from worker.cli.toml_text import contract_toml

    app = cli.load(None)
    known, origin = app.contract(), app.settings.api.contract_file
    text = contract_toml(known, known, {})
    cli.emit({"origin": origin, "contract": tomllib.loads(text)}, lambda: print(text, end=""))


@command.command("from-openapi")
@click.argument("file", type=options.path, metavar="FILE")
@_out
@click.pass_obj
def from_openapi(cli: options.Cli, *, file: Path, out: Path | None) -> int:
    """Propose a contract from NHN's OpenAPI 3 document (JSON).

    Marks show what differs from the contract in force, and what the document does not show
    (docs/first-day.md). Only live answers prove a contract: `pts-worker doctor --probe`. `--json`
    has the members file, areas (facts, fields) and contract.

    Example: `pts-worker contract from-openapi pts.json --out pts.toml`
    """
    from worker.cli.openapi import OpenApi
    from worker.trusted_files import EVERYBODY_WRITES, read_trusted

    app = cli.load(None)
    content = read_trusted(file, key="FILE", forbidden=EVERYBODY_WRITES)
    document, known = OpenApi(content), app.contract()
    proposals = {area.name: document.proposal(area, known[area.name]) for area in app.areas()}
    return _report(cli, app, proposals, out)


@command.command("learn")
@_out
@click.pass_obj
def learn(cli: options.Cli, *, out: Path | None) -> int:
    """Propose a contract from live answers about some persons.

    Give their identifiers on standard input, one per line: synthetic persons who have restrictions.
    The first 100 are asked for, fewer if answers are large, as the contract in force says; only the
    first page of each answer is read. The output has names of fields, their types and how many
    records have them, never a value; for a refusal (4xx), the names of its fields.

    The output is as `from-openapi`'s. Exit code 65 if no answer could be used.

    Example: `pts-worker contract learn --out pts.toml < synthetic.txt`
    """
    app = cli.load("read-pts")
    return _report(cli, app, cli.run(lambda: _learned(app)), out)


async def _learned(app: "App") -> dict[str, "Proposal"]:
    """What live answers about the persons on standard input suggest of each area."""
    from worker.cli.proposal import learned
    from worker.core.breaker import verdict_of

    persons, known = await _persons(app), app.contract()
    answers = {area: list[Any]() for area in app.areas()}
    try:
        async with app.reader(app.pace(), attempts_max=2) as reader:
            for person in persons:
                for area, found in answers.items():
                    found.append(await reader.ask(person, area.name))
                if sum(len(one.body) for found in answers.values() for one in found) > _BYTES_MAX:
                    break
        return {area.name: learned(area, known[area.name], answers[area]) for area in answers}
    except AreaError as error:
        raise verdict_of(error) from None


async def _persons(app: "App") -> list["Person"]:
    """The first persons on standard input; a terminal has none."""
    from worker.core.model import Person, RosterLineError
    from worker.roster.csv_file import CsvRoster

    persons = list[Person]()
    given = CsvRoster("-", stdin=BytesIO() if sys.stdin.isatty() else None)
    try:
        async for entry in given.entries():
            if isinstance(entry, RosterLineError):
                raise UsageError(f"{entry.where}: {entry.problem}")
            if entry.is_h_number and not app.sends_h_numbers:
                raise UsageError("standard input: an H-number is not sent to PTS")
            persons.append(Person(off_id=entry.off_id, person_key="learn"))
    except RosterError as error:
        hint = "one synthetic identifier a line: `pts-worker contract learn < synthetic.txt`"
        raise UsageError(error.message, hint=hint) from None
    return persons[:_PERSONS_MAX]


def _report(cli: options.Cli, app: "App", found: dict[str, "Proposal"], out: Path | None) -> int:
    """Print what was found and the contract that is proposed, which may go to a file as well."""
    from worker.cli.toml_text import contract_toml
    from worker.files import named_faults, write_new

    known = app.contract()
    made = {name: one.contract for name, one in found.items() if one.contract is not None}
    remarks = {name: (one.marks, one.candidates) for name, one in found.items()}
    text = contract_toml({**known, **made}, known, remarks) if made else ""
    if out is not None and made:
        with named_faults(out):
            write_new(out, text.encode())
    areas = {name: {"facts": one.facts, "fields": one.rows} for name, one in found.items()}
    document = {"file": out if made else None, "areas": areas, "contract": tomllib.loads(text)}
    cli.emit(document, lambda: _print(found, text))
    return ExitCode.OK if made else ExitCode.DATA_CONTRACT


def _print(found: dict[str, "Proposal"], text: str) -> None:
    """Everything but the contract itself is a comment, so that all of it is a TOML file."""
    for name, one in found.items():
        print("".join(f"# {name}: {fact}\n" for fact in one.facts), end="")
    rows = [(name, *row.values()) for name, one in found.items() for row in one.rows]
    print_table(("area", "field", "kinds", "records", "becomes"), rows, indent="# ")
    print(f"\n{text}", end="")
