"""``contract``: shows the contract with PTS, or proposes one from a document or live answers."""

import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import click

from worker.cli import options
from worker.cli.output import print_table
from worker.core.display import listed, visible
from worker.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from worker.app import App
    from worker.cli.openapi import OpenApi, Operation
    from worker.cli.proposal import Proposal

_QUESTIONS_MAX: Final = 5
_SHOWN_MAX: Final = 20
_out = click.option(
    "--out", type=options.path, metavar="FILE", help="Write it to this file, which must not exist."
)


@click.group("contract", cls=options.Group, no_args_is_help=True)
def command() -> None:
    """Show the contract with PTS, or propose one. Example: `pts-worker contract show`"""


@command.command("show")
@click.pass_obj
def show(cli: options.Cli) -> None:
    """Print the complete contract with PTS that is in force, as TOML.

    This is `api.contract_file`, or the default contract if that is not set. `--json` has the
    members origin (the file, null for the default contract) and contract.

    Example: `pts-worker contract show`
    """
    from worker.cli.toml_text import contract_toml

    app = cli.load(None)
    text, _ = contract_toml(app.contract(), app.contract(), {})
    document = {"origin": app.settings.api.contract_file, "contract": tomllib.loads(text)}
    cli.emit(document, lambda: print(text, end=""))


@command.command("from-openapi")
@click.argument("file", type=options.path, metavar="FILE")
@click.option("--safety", metavar="PATH", help="Path of the search for patient-safety.")
@click.option("--privacy", metavar="PATH", help="Path of the search for patient-privacy.")
@_out
@click.pass_obj
def from_openapi(
    cli: options.Cli, *, file: Path, safety: str | None, privacy: str | None, out: Path | None
) -> int:
    """Propose a contract from NHN's OpenAPI 3 document (JSON or YAML).

    Prints the operations that may be the search operation of each area. If several match, you are
    asked on a terminal. In a script, choose with `--safety` and `--privacy`.

    The result is a complete contract. Comments `# TODO 1: …` mark the lines to check. The output
    lists them, with up to five questions that you can send to NHN. Test the contract with
    `pts-worker contract learn` next, because a document can differ from the answers
    (docs/first-day.md).

    Exit code 65 if the document has no list of records for an area. The contract in force is then
    kept for this area. `--json` has the members file, areas (operations, facts, fields), todos,
    questions, contract.

    Example: `pts-worker contract from-openapi pts.json --out pts.toml`
    """
    from worker.cli.openapi import OpenApi
    from worker.trusted_files import WORLD_WRITE, read_trusted

    app = cli.load(None)
    content = read_trusted(file, key="FILE", forbidden=WORLD_WRITE)
    document = OpenApi(content, urlsplit(app.settings.api.base_url or "").path)
    contract, proposals = app.contract(), dict[str, Any]()
    paths = {"patient-safety": safety, "patient-privacy": privacy}
    for area in app.areas():
        candidates = document.candidates(area, contract[area.name])
        path = paths[area.name]
        chosen = _named(path, document) if path else _chosen(cli, area.name, candidates)
        proposals[area.name] = document.proposal(area, contract[area.name], candidates, chosen)
    return _report(cli, app, proposals, out)


def _named(path: str, document: "OpenApi") -> "Operation":
    for operation in document.operations:
        if operation.path.rstrip("/") == path.rstrip("/"):
            return operation
    paths = listed([operation.path for operation in document.operations])
    raise UsageError(f"the document has no operation {path}", hint=f"its paths are {paths}")


def _chosen(cli: options.Cli, area: str, candidates: list["Operation"]) -> "Operation | None":
    """The likeliest operation. If not exactly one is likely, ask at a terminal."""
    likely = [operation for operation in candidates if operation.is_likely]
    is_terminal = sys.stdin.isatty() and sys.stderr.isatty() and not cli.as_json
    if len(likely) == 1 or not candidates or not is_terminal:
        return likely[0] if likely else None
    candidates = candidates[:_SHOWN_MAX]
    # On standard error, because standard output may be redirected to a file.
    for number, operation in enumerate(candidates, 1):
        click.echo(visible(f"{number:3}  {operation.name}  {operation.remark}"), err=True)
    kind = click.IntRange(0, len(candidates))
    number = click.prompt(f"Search operation of {area} (0: none of these)", type=kind, err=True)
    return candidates[number - 1] if number else None


@command.command("learn")
@_out
@click.pass_obj
def learn_command(cli: options.Cli, *, out: Path | None) -> int:
    """Propose a contract from live answers about synthetic persons.

    Give the identifiers of up to 100 persons with restrictions on standard input, one per line.
    Requests first pages with the contract in force, and then all pages with the proposed one.
    Prints names of fields, their types, and how many records or answers have them, never values.
    An answer that `pts-worker doctor --probe` would refuse becomes an open point.

    Set `api.contract_file` to the file of `from-openapi` first. Exit code 65 if no answer for an
    area has a list of records.

    Example: `pts-worker contract learn --out pts.toml < synthetic.txt`
    """
    from worker.cli.live_answers import learn

    app = cli.load("read-pts")
    return _report(cli, app, cli.run(lambda: learn(app)), out)


def _report(
    cli: options.Cli, app: "App", proposals: dict[str, "Proposal"], out: Path | None
) -> int:
    """Print the proposed contract or write it to a file. Then print its open points."""
    from worker.cli.toml_text import contract_toml
    from worker.files import convert_write_errors, write_new

    in_force = app.contract()
    proposed = {area: part.contract for area, part in proposals.items() if part.contract}
    text, todos = contract_toml({**in_force, **proposed}, in_force, proposals)
    # Without a proposal, the file would only repeat the contract in force.
    if out is not None and proposed:
        with convert_write_errors(out):
            write_new(out, text.encode())
    document = {
        "file": out if proposed else None,
        "areas": {
            area: {name: getattr(proposal, name) for name in ("operations", "facts", "fields")}
            for area, proposal in proposals.items()
        },
        "contract": tomllib.loads(text if proposed else ""),
        "todos": todos,
        "questions": _questions(proposals),
    }
    cli.emit(document, lambda: _print(document, text if proposed and out is None else ""))
    missing = [area for area in proposals if area not in proposed]
    if missing and not cli.as_json:
        click.echo(f"pts-worker: nothing is proposed for {', '.join(missing)}", err=True)
    return ExitCode.DATA_CONTRACT if missing else ExitCode.OK


def _questions(proposals: dict[str, "Proposal"]) -> list[str]:
    """The first questions to NHN that close open points, each with its areas."""
    areas = dict[str, dict[str, None]]()
    for area, proposal in proposals.items():
        for note in filter(lambda note: note.question, proposal.notes):
            areas.setdefault(note.question, {})[area] = None
    return [f"{' and '.join(names)}: {text}" for text, names in areas.items()][:_QUESTIONS_MAX]


def _print(document: dict[str, Any], text: str) -> None:
    """Print a TOML file: everything but the contract itself is a comment."""
    areas = document["areas"].items()
    rows = [{"area": a, **row} for a, part in areas for row in part["operations"][:_SHOWN_MAX]]
    # Without operations, the fields are from live answers. A document lists its own fields.
    rows = rows or [{"area": area, **row} for area, part in areas for row in part["fields"]]
    print_table([*rows[0]] if rows else [], [[*row.values()] for row in rows], indent="# ")
    for area, part in areas:
        print("".join(f"# {area}: {visible(fact)}\n" for fact in part["facts"]), end="")
    print(f"\n{text}" if text else f"\n# Written: {document['file'] or 'nothing'}")
    print(f"# Open points: {len(document['todos'])}")
    for todo in document["todos"]:
        print("# TODO {number} {area} {key}: {text}".format(**todo))
    for number, question in enumerate(document["questions"], 1):
        print(f"# Question {number} to NHN: {visible(question)}")
