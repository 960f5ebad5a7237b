"""``failures``: what could not be read, one by one."""

from typing import Any

import click

from worker.cli import options
from worker.cli.access import ask_person, open_person, purpose_option


@click.group("failures", cls=options.Group, no_args_is_help=True)
def command() -> None:
    """What could not be read. Example: `pts-worker failures list`"""


@command.command("list")
@click.pass_obj
def list_open(cli: options.Cli) -> None:
    """List what cannot be read, the longest-failing first.

    Every `sync` tries again; `backfill --failed` reads these and nothing else. In a store of plain
    identifiers a person has no key here: identifiers are not printed.

    Example: `pts-worker failures list`
    """
    from worker.store.persons import list_failures

    app = cli.load("report")

    async def read() -> Any:
        async with app.database() as store:
            return await store.read(list_failures)

    cli.emit({"failures": cli.run(read)})


@command.command("show")
@click.argument("dash", metavar="-", type=click.Choice(["-"]), required=False, expose_value=False)
@purpose_option
@click.pass_obj
def show(cli: options.Cli, *, purpose: str | None) -> None:
    """Show the failures of one person.

    Give the identifier on standard input, on one line. It is never printed. The access is logged.

    Example: `pts-worker failures show - < identifier.txt`
    """
    from worker.store.persons import failures_of

    app, off_id = ask_person(cli)

    async def read() -> Any:
        async with open_person(app, off_id, "failures show", purpose) as (store, _, key):
            return await store.read(failures_of, key)

    cli.emit({"failures": cli.run(read)})
