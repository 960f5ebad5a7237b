"""``failures``: what could not be read, one by one; read it again; forget it."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import click

from worker.areas import AREAS
from worker.cli import options
from worker.cli.access import log_access, purpose_option
from worker.cli.backfill import read_again
from worker.cli.base import Cli, subcommand
from worker.cli.showing import columns, instant, read_identifier
from worker.core.identity import short_key
from worker.core.model import FailureKind
from worker.errors import ExitCode, UsageError
from worker.store.identity import see_identity, stored_identity
from worker.store.queries.failures import (
    OpenFailure,
    failures_by_key,
    list_failures,
    purge_failures,
)
from worker.store.runs.ledger import DEFAULT_TENANT
from worker.use_cases.reading_store import store_to_read

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
    type=click.Choice([area.name for area in AREAS]),
    metavar="AREA",
    multiple=True,
    help="Only this area; may be given again. Default: all.",
)
@click.option("--limit", type=click.IntRange(min=1), default=100, help="How many, at most.")
@options.database
def list_(cli: Cli, *, kind: str | None, area: tuple[str, ...], limit: int) -> int:
    """See ``LIST``."""
    app = cli.load("report")

    async def work() -> tuple[bool, Sequence[OpenFailure]]:
        async with store_to_read(app) as store:
            found = await list_failures(store, DEFAULT_TENANT, kind=kind, areas=area, limit=limit)
            mode, _ = await stored_identity(store, DEFAULT_TENANT)
            return mode != "pseudonym", found

    is_plain, found = cli.run(work)
    cli.emit(_document(found, is_plain=is_plain), lambda: _print_list(found, is_plain=is_plain))
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
    identity = None if key else app.identity()
    off_id = None if key else read_identifier()

    async def work() -> tuple[bool, Sequence[OpenFailure]]:
        async with store_to_read(app) as store:
            mode, _ = await stored_identity(store, DEFAULT_TENANT)
            is_plain = mode != "pseudonym"
            if identity is None or off_id is None:
                _refuse_plain(is_plain=is_plain)
                found = await failures_by_key(store, DEFAULT_TENANT, key)
                _refuse_several(found)
                named = found[0].person_key if found else None
                await log_access(app, store, "failures show", purpose, person_key=named)
                return is_plain, found
            settled = await see_identity(store, DEFAULT_TENANT, identity)
            named = settled.person_key(off_id)
            await log_access(app, store, "failures show", purpose, person_key=named)
            found = await failures_by_key(store, DEFAULT_TENANT, named)
            return is_plain, found

    is_plain, found = cli.run(work)
    cli.emit(_document(found, is_plain=is_plain), lambda: _print_one(found, is_plain=is_plain))
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
    before = None if older_than is None else app.runtime.now() - older_than

    async def work() -> int:
        async with store_to_read(app) as store:
            return await purge_failures(
                store, DEFAULT_TENANT, last_before=before, departed=departed
            )

    purged = cli.run(work)
    cli.emit({"purged": purged}, lambda: print(f"{purged:,} failures forgotten"))
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


def _refuse_plain(*, is_plain: bool) -> None:
    if is_plain:
        raise UsageError(
            "this database holds plain identifiers; they are not taken from the command line",
            hint="give - and the identifier on standard input",
        )


def _refuse_several(found: Sequence[OpenFailure]) -> None:
    persons = len({one.person_id for one in found})
    if persons > 1:
        raise UsageError(f"{persons} persons' keys begin so", hint="give more digits")


def _document(found: Sequence[OpenFailure], *, is_plain: bool) -> dict[str, Any]:
    return {"failures": [failure_document(one, is_plain=is_plain) for one in found]}


def failure_document(one: OpenFailure, *, is_plain: bool) -> dict[str, Any]:
    """An open failure as JSON; the key only where it is a pseudonym."""
    return {
        "person_key": None if is_plain else one.person_key,
        "person_id": one.person_id,
        "local_ref": one.local_ref,
        "is_departed": one.is_departed,
        "area": one.area,
        "kind": one.kind,
        "status": one.status,
        "reason": one.reason,
        "attempts": one.attempts,
        "runs": one.runs,
        "first_at": one.first_at,
        "last_at": one.last_at,
        "first_run": one.first_run,
        "last_run": one.last_run,
    }


def _who(one: OpenFailure, *, is_plain: bool) -> str:
    return f"row {one.person_id}" if is_plain else short_key(one.person_key)


def _print_list(found: Sequence[OpenFailure], *, is_plain: bool) -> None:
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
                _who(one, is_plain=is_plain),
                one.local_ref,
                one.area,
                one.kind,
                one.attempts,
                one.runs,
                instant(one.first_at),
                instant(one.last_at),
                str(one.last_run),
                one.reason,
            )
            for one in found
        ],
    )


def _print_one(found: Sequence[OpenFailure], *, is_plain: bool) -> None:
    if not found:
        print("no open failures of this person")
    for one in found:
        departed = ", no longer on the roster" if one.is_departed else ""
        print(f"{_who(one, is_plain=is_plain)}  {one.area}: {one.kind}{departed}")
        print(f"  reason    {one.reason}")
        if one.status is not None:
            print(f"  status    {one.status}")
        print(f"  since     {instant(one.first_at)} (run {one.first_run}), {one.runs:,} runs")
        print(f"  last      {instant(one.last_at)} (run {one.last_run}), {one.attempts:,} attempts")
