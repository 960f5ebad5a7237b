"""``failures``: what could not be read, one by one; read it again; forget it."""

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.cli.access import PurposeOption, checked_purpose, log_access
from worker.cli.base import Cli, add_command
from worker.cli.showing import columns, instant, read_identifier, store_to_read
from worker.cli.sync import AreaOption, DatabaseOption, WaitOption, wait_seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.app import App
    from worker.store.queries.failures import OpenFailure

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


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        no_args_is_help=True,
        help="What could not be read. Example: `pts-worker failures list`",
    )
    add_command(group, "list", list_, LIST)
    add_command(group, "show", show, SHOW)
    add_command(group, "retry", retry, RETRY)
    add_command(group, "purge", purge, PURGE)
    app.add_typer(group, name="failures")


def list_(
    cli: Cli,
    *,
    kind: Annotated[
        str | None,
        typer.Option("--kind", help="transient, rejected, refused, contract, paging or unstable."),
    ] = None,
    area: AreaOption = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many, at most.")] = 100,
    database: DatabaseOption = None,
) -> int:
    """See ``LIST``."""
    from worker.core.model import FailureKind
    from worker.errors import ExitCode, UsageError

    if kind is not None and kind not in list(FailureKind):
        raise UsageError(f"--kind: known are {', '.join(FailureKind)}")
    app = _load(cli, "report", database)

    async def work() -> tuple[bool, "Sequence[OpenFailure]"]:
        from worker.store.identity import stored_identity
        from worker.store.queries.failures import list_failures
        from worker.store.runs.ledger import DEFAULT_TENANT

        async with store_to_read(app) as store:
            found = await list_failures(
                store, DEFAULT_TENANT, kind=kind, areas=area or (), limit=limit
            )
            mode, _ = await stored_identity(store, DEFAULT_TENANT)
            return mode != "pseudonym", found

    is_plain, found = cli.run(work)
    cli.emit(_document(found, is_plain=is_plain), lambda: _print_list(found, is_plain=is_plain))
    return ExitCode.OK


def show(
    cli: Cli,
    person: Annotated[
        str,
        typer.Argument(
            metavar="KEY|-", help="The first digits of the person's key; - for standard input."
        ),
    ],
    *,
    purpose: PurposeOption = None,
    database: DatabaseOption = None,
) -> int:
    """See ``SHOW``."""
    from worker.errors import ExitCode

    why = checked_purpose(purpose)
    key = _prefix(person)
    app = _load(cli, "report" if key else "person", database)
    identity = None if key else app.identity()
    off_id = None if key else read_identifier()

    async def work() -> tuple[bool, "Sequence[OpenFailure]"]:
        from worker.store.identity import see_identity, stored_identity
        from worker.store.queries.failures import failures_by_key
        from worker.store.runs.ledger import DEFAULT_TENANT

        async with store_to_read(app) as store:
            mode, _ = await stored_identity(store, DEFAULT_TENANT)
            is_plain = mode != "pseudonym"
            if identity is None or off_id is None:
                _refuse_plain(is_plain=is_plain)
                found = await failures_by_key(store, DEFAULT_TENANT, key)
                _refuse_several(found)
                named = found[0].person_key if found else None
                await log_access(app, store, "failures show", why, person_key=named)
                return is_plain, found
            settled = await see_identity(store, DEFAULT_TENANT, identity)
            named = settled.person_key(off_id)
            await log_access(app, store, "failures show", why, person_key=named)
            found = await failures_by_key(store, DEFAULT_TENANT, named)
            return is_plain, found

    is_plain, found = cli.run(work)
    cli.emit(_document(found, is_plain=is_plain), lambda: _print_one(found, is_plain=is_plain))
    return ExitCode.OK


def retry(
    cli: Cli,
    *,
    area: AreaOption = None,
    wait: WaitOption = None,
) -> int:
    """See ``RETRY``."""
    from worker.cli.backfill import backfill

    return backfill(cli, failed=True, area=area, wait=wait)


def purge(
    cli: Cli,
    *,
    older_than: Annotated[
        str | None,
        typer.Option(
            "--older-than", metavar="DURATION", help="Failures that were last met so long ago."
        ),
    ] = None,
    departed: Annotated[
        bool, typer.Option("--departed", help="Failures of persons who left the roster.")
    ] = False,
    database: DatabaseOption = None,
) -> int:
    """See ``PURGE``."""
    from worker.errors import ExitCode, UsageError

    if older_than is None and not departed:
        raise UsageError(
            "which failures to forget is missing", hint="give --older-than 30d, --departed, or both"
        )
    older_s = wait_seconds(older_than, flag="--older-than")
    app = _load(cli, "report", database)
    before = app.runtime.now() - timedelta(seconds=older_s) if older_than is not None else None

    async def work() -> int:
        from worker.store.queries.failures import purge_failures
        from worker.store.runs.ledger import DEFAULT_TENANT

        async with store_to_read(app) as store:
            return await purge_failures(
                store, DEFAULT_TENANT, last_before=before, departed=departed
            )

    purged = cli.run(work)
    cli.emit({"purged": purged}, lambda: print(f"{purged:,} failures forgotten"))
    return ExitCode.OK


def _load(cli: Cli, purpose: str, database: str | None) -> "App":
    return cli.load(purpose, {"database.url": database}, {"database.url": "--database"})


def _prefix(person: str) -> str:
    """The beginning of a key; empty for ``-``.

    Raises:
        UsageError: it is no beginning of a key, or looks like an identifier. Not repeated.
    """
    from worker.errors import UsageError

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
    from worker.errors import UsageError

    if is_plain:
        raise UsageError(
            "this database holds plain identifiers; they are not taken from the command line",
            hint="give - and the identifier on standard input",
        )


def _refuse_several(found: "Sequence[OpenFailure]") -> None:
    from worker.errors import UsageError

    persons = len({one.person_id for one in found})
    if persons > 1:
        raise UsageError(f"{persons} persons' keys begin so", hint="give more digits")


def _document(found: "Sequence[OpenFailure]", *, is_plain: bool) -> dict[str, Any]:
    return {"failures": [failure_document(one, is_plain=is_plain) for one in found]}


def failure_document(one: "OpenFailure", *, is_plain: bool) -> dict[str, Any]:
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


def _who(one: "OpenFailure", *, is_plain: bool) -> str:
    from worker.core.identity import short_key

    return f"row {one.person_id}" if is_plain else short_key(one.person_key)


def _print_list(found: "Sequence[OpenFailure]", *, is_plain: bool) -> None:
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


def _print_one(found: "Sequence[OpenFailure]", *, is_plain: bool) -> None:
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
