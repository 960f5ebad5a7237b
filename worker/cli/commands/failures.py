"""``failures``: what could not be read, one by one."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from worker.cli import options
from worker.cli.access import ask_person, open_person, purpose_option
from worker.cli.output import fitted, instant
from worker.core.display import counted, visible

if TYPE_CHECKING:
    from worker.store.persons import OpenFailure


@click.group("failures", cls=options.Group, no_args_is_help=True)
def command() -> None:
    """What could not be read. Example: `pts-worker failures list`"""


@command.command("list")
@click.pass_obj
def list_open(cli: options.Cli) -> None:
    """List what cannot be read, the longest-failing first.

    Every `sync` tries again; `backfill --failed` reads these and nothing else.

    `--json`: failures (person_key, person_id, local_ref, area, kind, status, reason,
    attempts, runs, first_at, last_at). In a store of plain identifiers person_key
    is null: identifiers are not printed.

    Example: `pts-worker failures list`
    """
    from worker.store.persons import list_failures

    app = cli.load("report")

    async def read() -> Sequence["OpenFailure"]:
        async with app.database() as store:
            return await store.read(list_failures)

    found = cli.run(read)
    cli.emit({"failures": found}, lambda: _print(found))


@command.command("show")
@click.argument("dash", metavar="-", type=click.Choice(["-"]), required=False, expose_value=False)
@purpose_option
@click.pass_obj
def show(cli: options.Cli, *, purpose: str | None) -> None:
    """Show the failures of one person.

    Give the identifier on standard input, on one line. It is never printed. The access is logged.

    `--json`: as `failures list`.

    Example: `pts-worker failures show - < identifier.txt`
    """
    from worker.store.persons import failures_of

    app, off_id = ask_person(cli)

    async def read() -> Sequence["OpenFailure"]:
        async with open_person(app, off_id, "failures show", purpose) as (store, _, key):
            return await store.read(failures_of, key)

    found = cli.run(read)
    cli.emit({"failures": found}, lambda: _print(found))


def _print(found: Sequence["OpenFailure"]) -> None:
    from worker.core.identity import short_key

    if not found:
        print("no open failures")
    for failure in found:
        key, ref = failure.person_key, visible(failure.local_ref or "")
        who = f"row {failure.person_id}" if key is None else short_key(key)
        since = f"{counted(failure.runs, 'run')} since {instant(failure.first_at)}"
        print(f"{who}  {ref}  {failure.area}  {failure.kind}, {since}")
        last = f"last at {instant(failure.last_at)}, {counted(failure.attempts, 'attempt')}"
        print(fitted(f"  {visible(failure.reason)} ({last})", sys.__stdout__))
