"""``contract``: what is declared of PTS's answers, and contracts made of what PTS says."""

import sys
from collections.abc import Iterator, Mapping
from difflib import unified_diff
from io import BytesIO
from pathlib import Path
from typing import Any, Final

from worker.app import App
from worker.cli.base import Cli
from worker.cli.showing import columns, read_identifiers
from worker.contracts.proposal import Row
from worker.contracts.text import as_toml, document_of
from worker.core.contract import Contract, fingerprint
from worker.core.identity import NationalId
from worker.errors import ConfigurationError, ExitCode, UsageError
from worker.files import named_faults, write_new
from worker.offid import is_h_number, normalise, problem
from worker.trusted_files import Trust, read_trusted
from worker.use_cases.contract_making import (
    Made,
)
from worker.use_cases.contract_making import (
    from_openapi as made_from_openapi,
)
from worker.use_cases.contract_making import (
    learn as learned,
)

_ROWS_MAX: Final = 40
_PERSONS_MAX: Final = 1_000
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
    return _report(cli, app, made_from_openapi(app, content), out)


def learn(cli: Cli, *, out: Path | None) -> int:
    """Run ``pts-worker contract learn``."""
    app = cli.load("read-pts")
    persons = _persons(app)
    return _report(cli, app, cli.run(lambda: learned(app, persons)), out)


def _persons(app: App) -> list[NationalId]:
    """The identifiers on standard input, one a line.

    Raises:
        UsageError: there is none, or one is not one, by its line; no message holds it.
    """
    lines = read_identifiers() if sys.stdin.isatty() else BytesIO(sys.stdin.buffer.read(1 << 20))
    found = list[NationalId]()
    for number, line in enumerate(lines.read().decode(errors="replace").splitlines(), start=1):
        digits = normalise(line)
        if line.strip() and digits is None:
            raise UsageError(f"standard input, line {number}: {problem(line)}")
        if digits is not None and is_h_number(digits) and not app.sends_h_numbers:
            raise UsageError(f"standard input, line {number}: an H-number is not sent to PTS")
        if digits is not None:
            found.append(NationalId(digits))
    if not 0 < len(found) <= _PERSONS_MAX:
        raise UsageError(
            f"standard input: 1 to {_PERSONS_MAX} identifiers are needed, one a line",
            hint="of synthetic persons who have restrictions",
        )
    return found


def _report(cli: Cli, app: App, made: Mapping[str, Made], out: Path | None) -> int:
    """Print or write the contract that was made, with what was found and the differences."""
    known = app.contract()
    proposals = {name: one.proposal for name, one in made.items() if one.proposal is not None}
    contract = {**known, **{name: one.contract for name, one in proposals.items()}}
    notes = {
        f"{name}.{key}": lines
        for name, one in proposals.items()
        for key, lines in one.notes.items()
    }
    text = as_toml(contract, notes)
    if out is not None and proposals:
        _write(out, text)
    differences = [*_differences(known, contract)]
    document = {
        "file": None if out is None or not proposals else str(out),
        "areas": {name: _facts(one) for name, one in made.items()},
        "proposals": notes,
        "contract": document_of(contract),
        "differences": differences,
    }
    cli.emit(document, lambda: _print(made, differences, None if out is not None else text))
    return ExitCode.OK if proposals else ExitCode.DATA_CONTRACT


def _write(out: Path, text: str) -> None:
    try:
        with named_faults(out):
            write_new(out, text.encode())
    except ConfigurationError as error:
        if isinstance(error.__cause__, FileExistsError):
            raise ConfigurationError(
                f"{out} already exists", hint="it is never overwritten; choose another name"
            ) from None
        raise


def _facts(one: Made) -> Mapping[str, Any]:
    found = one.proposal
    return {
        "facts": one.facts,
        "fields": [row._asdict() for row in found.rows] if found else [],
        "empty": found.empty if found else (),
        "left": found.left if found else (),
    }


def _differences(known: Contract, contract: Contract) -> Iterator[str]:
    """The lines that go, and those that come."""
    for name in contract:
        before, after = (as_toml({name: one[name]}).splitlines() for one in (known, contract))
        lines = [*unified_diff(before, after, n=0, lineterm="")][2:]
        if changed := [line for line in lines if not line.startswith("@@")]:
            yield f"[{name}]"
            yield from changed


def _print(made: Mapping[str, Made], differences: list[str], text: str | None) -> None:
    """Everything but the contract itself is a comment, so that all of it is a TOML file."""
    for name, one in made.items():
        for fact in one.facts:
            print(f"# {name}: {fact}")
        if one.proposal is not None:
            print(f"# {name}: columns without a field: {', '.join(one.proposal.empty) or 'none'}")
            if one.proposal.left:
                print(f"# {name}: not declared, so refused: {', '.join(one.proposal.left)}")
    rows = [(name, row) for name, one in made.items() if one.proposal for row in one.proposal.rows]
    columns(("# area", "field", "kinds", "records", "becomes"), [*map(_cells, rows[:_ROWS_MAX])])
    if rows[_ROWS_MAX:]:
        print(f"# and {len(rows) - _ROWS_MAX} others; --json has all")
    print("# differences to the contract in force:" if differences else "# no differences")
    for line in differences:
        print(f"# {line}")
    if text is not None:
        print(f"\n{text}", end="")


def _cells(pair: tuple[str, Row]) -> tuple[str, ...]:
    name, row = pair
    return (f"# {name}", row.field, row.kinds, str(row.records or ""), row.becomes)
