"""``failures``: what could not be read, one by one; read it again; forget it."""

from collections.abc import Sequence
from datetime import timedelta

import click

from worker.cli import options
from worker.cli.access import purpose_option
from worker.cli.backfill import read_again
from worker.cli.base import Cli, subcommand
from worker.cli.showing import columns, instant, read_identifier
from worker.core.identity import short_key
from worker.core.model import FailureKind
from worker.core.plurals import counted
from worker.errors import ExitCode, UsageError
from worker.store.queries.failures import OpenFailure
from worker.use_cases.failures import (
    failures_of_key,
    failures_of_person,
    open_failures,
    purge_open_failures,
)

LIST = """List what cannot be read at present, what has failed longest first.

`--json`: failures (person_key, person_id, local_ref, is_departed, area, kind, status, reason,
attempts, runs, first_at, last_at, first_run, last_run). In a store of plain identifiers person_key
is null: identifiers are not printed.

Example: `pts-worker failures list --kind contract --limit 20`
"""
SHOW = """Show the failures of one person.

Whom: by the key that `list` and the log give (or more of its digits), or by the identifier on
standard input with `-`.

The access is logged, with the purpose that `--purpose` gives: see the view `report_access`.

`--json`: as `failures list`.

Example: `pts-worker failures show p-3fa94c07`

Example: `pts-worker failures show - < identifier.txt`
"""
RETRY = """Read again what could not be read, and publish that: the same as `backfill --failed`.

Example: `pts-worker failures retry --area patient-privacy`
"""
PURGE = """Forget failures, e.g. of persons who left the roster.

The areas stay stale; nothing else changes. Give at least one of `--older-than` and `--departed`.

`--json`: purged (a number).

Example: `pts-worker failures purge --departed --older-than 30d`
"""
_PREFIX_DIGITS_MIN = 4
_IDENTIFIER_DIGITS = 11


command = options.group("failures", "What could not be read. Example: `pts-worker failures list`")


@subcommand("list", LIST, of=command)
@click.option(
    "--kind",
    type=click.Choice([*map(str, FailureKind)]),
    metavar="KIND",
    help="transient, rejected, refused, contract, paging or unstable.",
)
@click.option(
    "--area",
    type=options.AREA,
    metavar="AREA",
    multiple=True,
    help="Only this area; may be given again. Default: all.",
)
@click.option("--limit", type=click.IntRange(min=1), default=100, help="How many, at most.")
@options.database
def list_(cli: Cli, *, kind: str | None, area: tuple[str, ...], limit: int) -> int:
    """See ``LIST``."""
    app = cli.load("report")

    found = cli.run(lambda: open_failures(app, kind=kind, areas=area, limit=limit))
    cli.emit(found, lambda: _print_list(found.failures))
    return ExitCode.OK


@subcommand("show", SHOW, of=command)
@click.argument(
    "person", metavar="KEY|-", help="The first digits of the person's key; - for standard input."
)
@purpose_option
@options.database
def show(cli: Cli, *, person: str, purpose: str | None) -> int:
    """See ``SHOW``."""
    key = _prefix(person)
    app = cli.load("report" if key else "person")
    if key:
        found = cli.run(lambda: failures_of_key(app, key, purpose=purpose))
    else:
        app.identity()  # an error of the configuration comes before the question
        off_id = read_identifier()
        found = cli.run(lambda: failures_of_person(app, off_id, purpose=purpose))
    cli.emit(found, lambda: _print_person(found.failures))
    return ExitCode.OK


@subcommand("retry", RETRY, of=command)
@options.area
@options.wait
def retry(cli: Cli, *, wait: timedelta) -> int:
    """See ``RETRY``."""
    return read_again(cli, failed=True, wait=wait)


@subcommand("purge", PURGE, of=command)
@click.option(
    "--older-than", type=options.DURATION, help="Failures that were last met so long ago."
)
@click.option("--departed", is_flag=True, help="Failures of persons who left the roster.")
@options.database
def purge(cli: Cli, *, older_than: timedelta | None, departed: bool) -> int:
    """See ``PURGE``."""
    if older_than is None and not departed:
        raise UsageError(
            "which failures to forget is missing", hint="give --older-than 30d, --departed, or both"
        )
    app = cli.load("report")
    purged = cli.run(lambda: purge_open_failures(app, older_than=older_than, departed=departed))
    cli.emit(purged, lambda: print(f"{counted(purged.purged, 'failure')} forgotten"))
    return ExitCode.OK


def _prefix(person: str) -> str:
    """The beginning of a key; empty for ``-``.

    Raises:
        UsageError: it is no beginning of a key, or looks like an identifier. Not repeated.
    """
    if person == "-":
        return ""
    key = person.strip().lower().removeprefix("p-").removesuffix("…")
    if len(key) == _IDENTIFIER_DIGITS and key.isdigit():
        raise UsageError(
            "this looks like an identifier, which every process of the machine can read here",
            hint="give - and the identifier on standard input (or one digit of the key more)",
        )
    if len(key) < _PREFIX_DIGITS_MIN or set(key) - set("0123456789abcdef"):
        raise UsageError(
            f"a person's key begins with at least {_PREFIX_DIGITS_MIN} digits 0-9, a-f",
            hint="`pts-worker failures list` gives the keys",
        )
    return key


def _who(failure: OpenFailure) -> str:
    if failure.person_key is None:
        return f"row {failure.person_id}"
    return short_key(failure.person_key)


def _print_list(found: Sequence[OpenFailure]) -> None:
    if not found:
        print("no open failures")
        return
    columns(
        (
            "person",
            "local ref",
            "area",
            "kind",
            "attempts",
            "runs",
            "since",
            "last",
            "run",
            "reason",
        ),
        [
            (
                _who(failure),
                failure.local_ref,
                failure.area,
                failure.kind,
                failure.attempts,
                failure.runs,
                instant(failure.first_at),
                instant(failure.last_at),
                str(failure.last_run),
                failure.reason,
            )
            for failure in found
        ],
    )


def _print_person(found: Sequence[OpenFailure]) -> None:
    if not found:
        print("no open failures of this person")
    for failure in found:
        departed = ", no longer on the roster" if failure.is_departed else ""
        first, last = instant(failure.first_at), instant(failure.last_at)
        print(f"{_who(failure)}  {failure.area}: {failure.kind}{departed}")
        print(f"  reason    {failure.reason}")
        if failure.status is not None:
            print(f"  status    {failure.status}")
        print(f"  since     {first} (run {failure.first_run}), {counted(failure.runs, 'run')}")
        print(
            f"  last      {last} (run {failure.last_run}), {counted(failure.attempts, 'attempt')}"
        )
