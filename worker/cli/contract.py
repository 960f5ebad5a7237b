"""``contract``: what is declared of PTS's answers, and contracts made of what PTS says."""

import sys
from collections.abc import Iterator, Mapping
from difflib import unified_diff
from pathlib import Path
from typing import Any, Final

from worker.cli.base import Cli
from worker.cli.showing import columns, read_identifiers
from worker.contracts.draft import REFUSED, Draft
from worker.contracts.text import as_toml, document_of
from worker.core.contract import Contract, fingerprint
from worker.core.escaping import visible
from worker.errors import ConfigurationError, ExitCode
from worker.files import named_faults, write_new
from worker.roster.csv_file import CsvRoster
from worker.trusted_files import Trust, read_trusted
from worker.use_cases import contract_making

_ROWS_MAX: Final = 40
_DOCUMENT_BYTES_MAX: Final = 16 << 20


def show(cli: Cli) -> None:
    """Run ``pts-worker contract show``."""
    app = cli.load(None)
    contract = app.contract()
    document = {
        "origin": app.contract_origin(),
        "fingerprints": {name: fingerprint(area) for name, area in contract.items()},
        "contract": document_of(contract),
    }
    cli.emit(document, lambda: print(as_toml(contract), end=""))


def from_openapi(cli: Cli, *, file: Path, out: Path | None) -> int:
    """Run ``pts-worker contract from-openapi``."""
    app = cli.load(None)
    content = read_trusted(file, key="FILE", trust=Trust.DATA, bytes_max=_DOCUMENT_BYTES_MAX)
    return _report(cli, app.contract(), contract_making.from_openapi(app, content), out)


def learn(cli: Cli, *, out: Path | None) -> int:
    """Run ``pts-worker contract learn``."""
    app = cli.load("read-pts")
    roster = CsvRoster("-", stdin=read_identifiers() if sys.stdin.isatty() else None)
    drafts = cli.run(lambda: contract_making.learn(app, roster))
    return _report(cli, app.contract(), drafts, out)


def _report(cli: Cli, known: Contract, drafts: Mapping[str, Draft], out: Path | None) -> int:
    """Print or write the contract that was made, with what was found and the differences."""
    made = {name: draft.contract for name, draft in drafts.items() if draft.contract is not None}
    contract = {**known, **made}
    notes = {f"{n}.{key}": lines for n, one in drafts.items() for key, lines in one.notes.items()}
    text = as_toml(contract, notes)
    if out is not None and made:
        if out.exists():
            hint = "it is never overwritten; choose another name"
            raise ConfigurationError(f"{out} already exists", hint=hint)
        with named_faults(out):
            write_new(out, text.encode())
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


def _differences(known: Contract, contract: Contract) -> Iterator[str]:
    """The lines that go, and those that come."""
    for name in contract:
        before, after = (as_toml({name: one[name]}).splitlines() for one in (known, contract))
        lines = [*unified_diff(before, after, n=0, lineterm="")][2:]
        if changed := [line for line in lines if not line.startswith("@@")]:
            yield f"[{name}]"
            yield from changed


def _print(drafts: Mapping[str, Draft], differences: list[str], text: str) -> None:
    """Everything but the contract itself is a comment, so that all of it is a TOML file."""
    rows = list[tuple[Any, ...]]()
    for name, draft in drafts.items():
        fields = draft.rows()
        refused = [row["field"].removesuffix("[]") for row in fields if row["becomes"] == REFUSED]
        lists = {"columns without a field": draft.empty, REFUSED: refused}
        facts = [f"{what}: {', '.join(names)}" for what, names in lists.items() if names]
        for fact in (*draft.facts, *facts):
            print(f"# {name}: {visible(fact)}")
        rows += [(f"# {name}", *row.values()) for row in fields]
    columns(("# area", "field", "kinds", "records", "becomes"), rows[:_ROWS_MAX])
    if rows[_ROWS_MAX:]:
        print(f"# and {len(rows) - _ROWS_MAX} others; --json has all")
    print("# differences to the contract in force:" if differences else "# no differences")
    for line in differences:
        print(f"# {line}")
    if text:
        print(f"\n{text}", end="")
