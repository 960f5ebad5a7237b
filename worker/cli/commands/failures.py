"""``failures``: what could not be read, one by one."""

from collections.abc import Sequence
from textwrap import fill
from typing import TYPE_CHECKING

import click

from worker.cli import options
from worker.cli.access import ask_person, open_person, purpose_option
from worker.core.escaping import visible
from worker.core.plurals import counted

if TYPE_CHECKING:
    from worker.store.persons import OpenFailure


@click.group("failures", cls=options.Group, no_args_is_help=True)
def command() -> None:
    """What could not be read. Example: `pts-worker failures list`"""


@command.command("list")
@options.database
@click.pass_obj
def list_open(cli: options.Cli) -> None:
    """List what cannot be read, the longest-failing first.

    Every `sync` tries again; `backfill --failed` reads these and nothing else.

    `--json`: failures (person_key, person_id, local_ref, area, kind, status, reason,
    attempts, runs, first_at, last_at). In a store of plain identifiers person_key
    is null: identifiers are not printed.

    Example: `pts-worker failures list`
    """
    from worker.store.identity import stored_identity
    from worker.store.persons import list_failures

    app = cli.load("report")

    async def read() -> Sequence["OpenFailure"]:
        async with app.database() as store:
            found = await store.read(list_failures)
            return without_identifiers(found, (await store.read(stored_identity)).identity)

    found = cli.run(read)
    cli.emit({"failures": found}, lambda: _print(found, "no open failures"))


@command.command("show")
@click.argument("dash", metavar="-", type=click.Choice(["-"]), required=False, expose_value=False)
@purpose_option
@options.database
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
        async with open_person(app, off_id, "failures show", purpose) as (store, identity, key):
            return without_identifiers(await store.read(failures_of, key), identity.mode)

    found = cli.run(read)
    cli.emit({"failures": found}, lambda: _print(found, "no open failures of this person"))


def without_identifiers(found: Sequence["OpenFailure"], mode: str) -> Sequence["OpenFailure"]:
    """The failures, with the persons' keys only if they are pseudonyms."""
    from msgspec.structs import replace

    return found if mode == "pseudonym" else [replace(one, person_key=None) for one in found]


def _print(found: Sequence["OpenFailure"], nothing: str) -> None:
    from worker.core.identity import short_key

    if not found:
        print(nothing)
        return
    print(f"{'person':<11} {'local ref':<12} {'area':<15} {'kind':<9} {'runs':>5}  since UTC")
    for failure in found:
        key, ref = failure.person_key, visible(failure.local_ref or "")
        who = f"row {failure.person_id}" if key is None else short_key(key)
        about = f"{failure.area:<15} {failure.kind:<9} {failure.runs:>5,}"
        print(f"{who:<11} {ref:<12} {about}  {failure.first_at:%Y-%m-%d %H:%M}")
        last = f"{failure.last_at:%Y-%m-%d %H:%M}, {counted(failure.attempts, 'attempt')}"
        text = f"{visible(failure.reason)} (last at {last})"
        print(fill(text, 80, initial_indent="  ", subsequent_indent="  "))
