"""``failures``: areas of persons that could not be read, with the reasons."""

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from worker.cli import options
from worker.cli.access import ask_person, open_person, purpose_option
from worker.cli.output import print_table
from worker.errors import FailureKind

if TYPE_CHECKING:
    from worker.store.persons import OpenFailure

_LISTED_BELOW: Final = 20
"""With fewer failures, each gets a line even without ``--all``."""
_KEY_SHOWN: Final = 12
"""Characters of a pseudonym, so that a line fits into 80 columns."""
_HEADERS: Final = ("person", "area", "kind", "attempts", "runs", "since UTC", "reason")


@click.group("failures", cls=options.Group, no_args_is_help=True)
def command() -> None:
    """Areas of persons that could not be read. Example: `pts-worker failures list`"""


@command.command("list")
@click.option("--all", "shows_all", is_flag=True, help="One line for each failure, however many.")
@click.option("--area", type=click.Choice(options.AREAS), metavar="AREA", help="Only this area.")
@click.option(
    "--kind",
    type=click.Choice([kind.value for kind in FailureKind]),
    help="Only failures of this kind.",
)
@click.pass_obj
def list_open(cli: options.Cli, *, shows_all: bool, area: str | None, kind: str | None) -> None:
    """List the failures: first by area, kind and reason, then one by one.

    Failures with the same reason are one line of the table, with the number of persons and the
    time of the first failure. Below 20 failures, or with `--all`, each failure follows on a line of
    its own, the oldest first: the person, the attempts of the last read, and the runs in a row that
    failed. `--json` always has all failures.

    The person is the roster's reference, else the start of the pseudonym. Without a reference and
    without pseudonyms it is a row number, because identifiers are never printed. Every `sync` tries
    again, and `backfill --failed` reads only these.

    Example: `pts-worker failures list --kind contract`
    """
    from worker.store.persons import list_failures

    app = cli.load("report")

    async def read() -> Any:
        async with app.database() as store:
            return await store.read(list_failures)

    failures = [
        failure
        for failure in cli.run(read)
        if area in {None, failure.area} and kind in {None, failure.kind}
    ]
    cli.emit({"failures": failures}, lambda: _print(failures, shows_all=shows_all))


def _print(failures: Sequence["OpenFailure"], *, shows_all: bool) -> None:
    from worker.core.paths import without_indexes

    if not failures:
        print("failures: none")
    groups = defaultdict[tuple[str, ...], list["OpenFailure"]](list)
    for failure in failures:
        # Reasons that differ in a number, such as a position, are one reason for the reader.
        groups[failure.area, failure.kind, without_indexes(failure.reason)].append(failure)
    table = [
        (
            area,
            kind,
            len({failure.person_id for failure in group}),
            f"{min(failure.first_at for failure in group):%Y-%m-%d %H:%M}",
            reason,
        )
        for (area, kind, reason), group in sorted(groups.items(), key=lambda pair: -len(pair[1]))
    ]
    print_table(("area", "kind", "persons", "since UTC", "reason"), table)
    if not shows_all and len(failures) >= _LISTED_BELOW:
        print("\n`--all` lists each of them; `--area` and `--kind` filter.")
    elif failures:
        print()
        print_table(_HEADERS, [_row(failure) for failure in failures], gap=1)


def _row(failure: "OpenFailure") -> tuple[Any, ...]:
    # None without pseudonyms, because the key would be the identifier.
    key = failure.person_key
    return (
        failure.local_ref or (f"row {failure.person_id}" if key is None else key[:_KEY_SHOWN]),
        failure.area,
        failure.kind,
        failure.attempts,
        failure.runs,
        f"{failure.first_at:%Y-%m-%d %H:%M}",
        failure.reason,
    )


@command.command("show")
@click.argument("dash", metavar="-", type=click.Choice(["-"]), required=False, expose_value=False)
@purpose_option
@click.pass_obj
def show(cli: options.Cli, *, purpose: str | None) -> None:
    """Show the failures of one person.

    Give the identifier on standard input, on one line. It is never printed. The access is logged.

    Example: `pts-worker failures show < identifier.txt`
    """
    from worker.store.persons import failures_of

    app, off_id = ask_person(cli)

    async def read() -> Any:
        async with open_person(app, off_id, "failures show", purpose) as (store, _, key):
            return await store.read(failures_of, key)

    cli.emit({"failures": cli.run(read)})
