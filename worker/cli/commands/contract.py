"""``contract``: what is declared of PTS's answers, and contracts made of what PTS says."""

from pathlib import Path
from typing import Final

import click

from worker.cli import options

_DOCUMENT_BYTES_MAX: Final = 16 << 20

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

    What differs from the contract in force is listed, and marked `# proposal`; docs/first-day.md
    explains the rest. Only live answers prove a contract: `pts-worker doctor --probe`.

    `--json`: file, areas (facts, fields), proposals, contract, differences.

    Example: `pts-worker contract from-openapi pts.json --out pts.toml`
    """
    from worker.cli.contract_tools import report
    from worker.cli.openapi import OpenApi
    from worker.trusted_files import read_trusted

    app = cli.load(None)
    content = read_trusted(file, key="FILE", group_may_write=True, bytes_max=_DOCUMENT_BYTES_MAX)
    described, known = OpenApi(content), app.contract()
    drafts = {area.name: described.draft(area, known[area.name]) for area in app.areas()}
    return report(cli, known, drafts, out)


@command.command("learn")
@_out
@click.pass_obj
def learn(cli: options.Cli, *, out: Path | None) -> int:
    """Propose a contract from live answers about some persons.

    Give their identifiers on standard input, one a line: synthetic persons who have restrictions,
    100 at most. PTS is asked as the contract in force says, and only the first page of each answer
    is read. It shows the names of fields, their types and how many records have them, never a
    value; for a refusal (4xx) the names of the answer's fields.

    The output is as `from-openapi`'s. Exit code 65 if no answer could be used.

    Example: `pts-worker contract learn --out pts.toml < synthetic.txt`
    """
    from worker.cli.access import typed_identifier
    from worker.cli.contract_tools import learned, report
    from worker.roster.csv_file import CsvRoster

    app = cli.load("read-pts")
    roster = CsvRoster("-", stdin=typed_identifier())
    drafts = cli.run(lambda: learned(app, roster))
    return report(cli, app.contract(), drafts, out)
