"""``failures``: what could not be read, one by one."""

from collections.abc import Sequence
from textwrap import fill
from typing import TYPE_CHECKING

import click

from worker.cli import options
from worker.cli.access import purpose_option
from worker.cli.base import Cli
from worker.cli.output import instant
from worker.core.escaping import visible
from worker.core.model import FailureKind
from worker.core.plurals import counted
from worker.errors import UsageError

if TYPE_CHECKING:
    from worker.app import App
    from worker.core.identity import NationalId
    from worker.store.database import Database
    from worker.store.queries.failures import OpenFailure

_PREFIX_DIGITS_MIN = 4
_IDENTIFIER_DIGITS = 11


@click.group("failures", cls=options.Group, no_args_is_help=True)
def command() -> None:
    """What could not be read. Example: `pts-worker failures list`"""


@command.command("list")
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
@click.option("--limit", type=click.IntRange(min=1), help="At most so many. Default: all.")
@options.database
@click.pass_obj
def list_open(cli: Cli, *, kind: str | None, area: tuple[str, ...], limit: int | None) -> None:
    """List what cannot be read, the longest-failing first.

    Every `sync` tries again; `backfill --failed` reads these and nothing else.

    `--json`: failures (person_key, person_id, local_ref, area, kind, status, reason,
    attempts, runs, first_at, last_at). In a store of plain identifiers person_key
    is null: identifiers are not printed.

    Example: `pts-worker failures list --kind contract --limit 20`
    """
    app = cli.load("report")

    async def read() -> Sequence["OpenFailure"]:
        from worker.store.queries.failures import list_failures

        async with app.database() as store:
            found = await store.read(list_failures, kind=kind, areas=area, limit=limit)
            is_plain = await _is_plain(store)
            return [shown(failure, is_plain=is_plain) for failure in found]

    found = cli.run(read)
    cli.emit({"failures": found}, lambda: _print_list(found))


@command.command("show")
@click.argument(
    "person",
    metavar="KEY|-",
    help="The first digits of the person's key; - for standard input.",
)
@purpose_option
@options.database
@click.pass_obj
def show(cli: Cli, *, person: str, purpose: str | None) -> None:
    """Show the failures of one person.

    Name the person by the key that `list` and the log show (or more of its digits), or by the
    identifier on standard input with `-`.

    `--json`: as `failures list`.

    Example: `pts-worker failures show p-3fa94c07`

    Example: `pts-worker failures show - < identifier.txt`
    """
    from worker.cli.identifiers import read_identifier

    prefix, off_id = _prefix(person), None
    app = cli.load("report" if prefix else "person")
    if not prefix:
        app.identity()  # an error of the configuration comes before the question
        off_id = read_identifier()
    found = cli.run(lambda: _of_person(app, prefix, off_id, purpose))
    cli.emit({"failures": found}, lambda: _print_person(found))


def shown(failure: "OpenFailure", *, is_plain: bool) -> "OpenFailure":
    """The failure, with the person's key only if it is a pseudonym."""
    from msgspec.structs import replace

    return replace(failure, person_key=None) if is_plain else failure


async def _of_person(
    app: "App", prefix: str, off_id: "NationalId | None", purpose: str | None
) -> Sequence["OpenFailure"]:
    """The open failures of a person, after the access is logged.

    Args:
        prefix: the beginning of the person's key, if the identifier is not given.

    Raises:
        ConfigurationError: the pseudonym key is missing, or not that of the store.
        UsageError: no or several persons' keys begin so, or the store holds plain identifiers.
    """
    from worker.cli.access import log_access
    from worker.store.identity import see_identity
    from worker.store.queries.failures import failures_of

    async with app.database() as store:
        is_plain = await _is_plain(store)
        if off_id is None:
            key = await _one_key(store, prefix, is_plain=is_plain)
        else:
            key = (await see_identity(store, app.identity())).person_key(off_id)
        await log_access(store, "failures show", purpose, person_key=key)
        found = await store.read(failures_of, key)
        return [shown(failure, is_plain=is_plain) for failure in found]


async def _one_key(store: "Database", prefix: str, *, is_plain: bool) -> str:
    from worker.store.queries.failures import keys_beginning

    if is_plain:
        raise UsageError(
            "this database holds plain identifiers; the command line does not accept them",
            hint="give - and the identifier on standard input",
        )
    keys = await store.read(keys_beginning, prefix)
    if not keys:
        raise UsageError(
            "no person's key begins with these digits",
            hint="`pts-worker failures list` gives the keys",
        )
    if len(keys) > 1:
        raise UsageError(
            f"the keys of {len(keys)} persons begin with these digits", hint="give more digits"
        )
    return keys[0]


async def _is_plain(store: "Database") -> bool:
    from worker.store.identity import stored_identity

    return bool((await store.read(stored_identity)).identity != "pseudonym")


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


def _who(failure: "OpenFailure") -> str:
    from worker.core.identity import short_key

    if failure.person_key is None:
        return f"row {failure.person_id}"
    return short_key(failure.person_key)


def _print_list(found: Sequence["OpenFailure"]) -> None:
    if not found:
        print("no open failures")
        return
    print(f"{'person':<11} {'local ref':<12} {'area':<15} {'kind':<9} {'runs':>5}  since UTC")
    for failure in found:
        ref, since = visible(failure.local_ref or ""), f"{failure.first_at:%Y-%m-%d %H:%M}"
        about = f"{failure.area:<15} {failure.kind:<9} {failure.runs:>5,}  {since}"
        print(f"{_who(failure):<11} {ref:<12} {about}")
        last = f"{failure.last_at:%Y-%m-%d %H:%M}, {counted(failure.attempts, 'attempt')}"
        text = f"{visible(failure.reason)} (last at {last})"
        print(fill(text, 80, initial_indent="  ", subsequent_indent="  "))


def _print_person(found: Sequence["OpenFailure"]) -> None:
    if not found:
        print("no open failures of this person")
    for failure in found:
        first, last = instant(failure.first_at), instant(failure.last_at)
        print(f"{_who(failure)}  {failure.area}: {failure.kind}")
        print(f"  reason    {failure.reason}")
        if failure.status is not None:
            print(f"  status    {failure.status}")
        print(f"  since     {first}, {counted(failure.runs, 'run')}")
        print(f"  last      {last}, {counted(failure.attempts, 'attempt')}")
