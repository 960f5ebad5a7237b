"""``contract``: what is declared of PTS's answers, and contracts made of what PTS says."""

import sys
from collections.abc import Iterator, Mapping
from difflib import unified_diff
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from worker.cli import options
from worker.cli.output import print_table, write_file
from worker.core.escaping import visible
from worker.errors import ExitCode

if TYPE_CHECKING:
    from worker.contracts.proposal import Draft
    from worker.core.contract import Contract

_ROWS_MAX: Final = 40
_DOCUMENT_BYTES_MAX: Final = 16 << 20

_out = click.option(
    "--out",
    type=options.FilePath(),
    metavar="FILE",
    help="Write it to this file, which must not exist.",
)


@click.group("contract", cls=options.Group, no_args_is_help=True)
def command() -> None:
    """The contract with PTS: show it, or make one. Example: `pts-worker contract show`"""


@command.command("show")
@click.pass_obj
def show(cli: options.Cli) -> None:
    """Print the complete contract with PTS that is in force, as TOML.

    Keys with their default value are printed as well. The contract is `api.contract_file`, or comes
    with the program if that is not set.

    `--json`: origin (the file, or null for the program's own), fingerprints (by area), contract.

    Example: `pts-worker contract show`
    """
    from worker.contracts.text import as_toml, document_of
    from worker.core.contract import fingerprint

    app = cli.load(None)
    contract = app.contract()
    document = {
        "origin": app.settings.api.contract_file,
        "fingerprints": {name: fingerprint(area) for name, area in contract.items()},
        "contract": document_of(contract),
    }
    cli.emit(document, lambda: print(as_toml(contract), end=""))


@command.command("from-openapi")
@click.argument("file", type=options.FilePath(), metavar="FILE")
@_out
@click.pass_obj
def from_openapi(cli: options.Cli, *, file: Path, out: Path | None) -> int:
    """Make a contract from NHN's OpenAPI 3 document (JSON).

    It reads the search operations of both areas (POST, a path that ends in `_search`): where the
    identifier goes, where the list of records stands, what is around it, and the records' fields,
    which become columns by name. Guesses are marked `# proposal`, and fields that no column takes
    are comments below `extra`. A field around the records that may mean "there is more" is left
    out, so that answers with it are refused until you declare it. Only live answers prove a
    contract: `pts-worker doctor --probe`.

    Prints the contract, with its differences to the contract in force as comments, or writes it to
    a new file (`--out FILE`) for `api.contract_file`.

    `--json`: file, areas (facts, fields: field, kinds, records, becomes; empty), proposals,
    contract, differences.

    Example: `pts-worker contract from-openapi pts.json --out pts.toml`
    """
    from worker.cli import contract_making
    from worker.trusted_files import read_trusted

    app = cli.load(None)
    content = read_trusted(file, key="FILE", group_may_write=True, bytes_max=_DOCUMENT_BYTES_MAX)
    return _report(cli, app.contract(), contract_making.from_openapi(app, content), out)


@command.command("learn")
@_out
@click.pass_obj
def learn(cli: options.Cli, *, out: Path | None) -> int:
    """Propose a contract from live answers about some persons.

    Give their identifiers on standard input, one a line: synthetic persons who have restrictions,
    100 at most. PTS is asked as the contract in force says, and only the first page of each answer
    is read. It shows the names of fields, their types and how many records have them, never a
    value; for a refusal (4xx) the names of the answer's fields.

    Prints the contract, with its differences to the contract in force as comments, or writes it to
    a new file (`--out FILE`) for `api.contract_file`. Exit code 65 if no answer could be used.

    `--json`: as `from-openapi`.

    Example: `pts-worker contract learn --out pts.toml < synthetic.txt`
    """
    from worker.cli import contract_making
    from worker.cli.rosters import read_identifiers
    from worker.roster.csv_file import CsvRoster

    app = cli.load("read-pts")
    roster = CsvRoster("-", stdin=read_identifiers() if sys.stdin.isatty() else None)
    drafts = cli.run(lambda: contract_making.learn(app, roster))
    return _report(cli, app.contract(), drafts, out)


def _report(
    cli: options.Cli, known: "Contract", drafts: Mapping[str, "Draft"], out: Path | None
) -> int:
    """Print or write the contract that was made, with what was found and the differences."""
    from worker.contracts.text import as_toml, document_of

    made = {name: draft.contract for name, draft in drafts.items() if draft.contract is not None}
    contract = {**known, **made}
    notes = {f"{n}.{key}": lines for n, one in drafts.items() for key, lines in one.notes.items()}
    text = as_toml(contract, notes)
    if out is not None and made:
        write_file(out, text.encode())
    differences = [*_differences(known, contract)]
    document = {
        "file": str(out) if out is not None and made else None,
        "areas": {
            name: {"facts": one.facts, "fields": one.rows(), "empty": one.empty}
            for name, one in drafts.items()
        },
        "proposals": notes,
        "contract": document_of(contract),
        "differences": differences,
    }
    cli.emit(document, lambda: _print(drafts, differences, text if out is None else ""))
    return ExitCode.OK if made else ExitCode.DATA_CONTRACT


def _differences(known: "Contract", contract: "Contract") -> Iterator[str]:
    """The lines that go, and those that come."""
    from worker.contracts.text import as_toml

    for name in contract:
        before, after = (as_toml({name: one[name]}).splitlines() for one in (known, contract))
        lines = [*unified_diff(before, after, n=0, lineterm="")][2:]
        if changed := [line for line in lines if not line.startswith("@@")]:
            yield f"[{name}]"
            yield from changed


def _print(drafts: Mapping[str, "Draft"], differences: list[str], text: str) -> None:
    """Everything but the contract itself is a comment, so that all of it is a TOML file."""
    from worker.contracts.proposal import REFUSED

    rows = list[tuple[Any, ...]]()
    for name, draft in drafts.items():
        fields = draft.rows()
        refused = [row["field"].removesuffix("[]") for row in fields if row["becomes"] == REFUSED]
        lists = {"columns without a field": draft.empty, REFUSED: refused}
        facts = [f"{what}: {', '.join(names)}" for what, names in lists.items() if names]
        for fact in (*draft.facts, *facts):
            print(f"# {name}: {visible(fact)}")
        rows += [(f"# {name}", *row.values()) for row in fields]
    print_table(("# area", "field", "kinds", "records", "becomes"), rows[:_ROWS_MAX])
    if rows[_ROWS_MAX:]:
        print(f"# and {len(rows) - _ROWS_MAX} others; --json has all")
    print("# differences to the contract in force:" if differences else "# no differences")
    for line in differences:
        print(f"# {line}")
    if text:
        print(f"\n{text}", end="")
