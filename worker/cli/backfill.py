"""``backfill``: a run over some persons."""

from typing import Annotated

import typer

from worker.cli.base import Cli, add_command
from worker.cli.sync import (
    FLAG_NAMES,
    AcceptOption,
    AreaOption,
    BaseUrlOption,
    ConcurrencyOption,
    DatabaseOption,
    DeadlineOption,
    IssuerOption,
    RateOption,
    WaitOption,
    wait_seconds,
)

HELP = """Read some persons again, and publish that. Nobody is departed by a backfill.

Whom: `--roster FILE`, `--person -` (identifiers on standard input, one a line), or out of the
configured roster what is stale (`--stale-for 36h`) or failed (`--failed`).

Example: `pts-worker backfill --failed`

Example: `pts-worker backfill --person - < identifiers.txt`
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    add_command(app, "backfill", backfill, HELP)


def backfill(
    cli: Cli,
    *,
    roster: Annotated[
        str | None, typer.Option("--roster", help="Whom to read: a roster file; - is stdin.")
    ] = None,
    person: Annotated[
        str | None,
        typer.Option(
            "--person",
            metavar="-",
            help="Whom to read: - takes identifiers from standard input. An identifier never "
            "stands on the command line, where every process can read it.",
        ),
    ] = None,
    stale_for: Annotated[
        str | None,
        typer.Option(
            "--stale-for", metavar="DURATION", help="Areas not confirmed for so long, e.g. 36h."
        ),
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Areas with an open failure.")] = False,
    area: AreaOption = None,
    database: DatabaseOption = None,
    base_url: BaseUrlOption = None,
    issuer: IssuerOption = None,
    concurrency: ConcurrencyOption = None,
    requests_per_second: RateOption = None,
    deadline: DeadlineOption = None,
    wait: WaitOption = None,
    accept_removals: AcceptOption = False,
) -> int:
    """See ``HELP``."""
    from worker.errors import UsageError

    wait_s = wait_seconds(wait)
    stale_s = wait_seconds(stale_for, flag="--stale-for")
    if person is not None and person != "-":
        raise UsageError(
            "--person takes - and reads identifiers from standard input",
            hint="an identifier on the command line can be read by every process of the machine",
        )
    if person is not None and roster is not None:
        raise UsageError("--person and --roster are two ways to say whom: give one")
    if not (person or roster or failed or stale_for):
        raise UsageError(
            "whom to read is missing",
            hint="give --roster FILE, --person -, --failed or --stale-for DURATION",
        )
    source = "-" if person == "-" else roster
    app = cli.load(
        "backfill" if source is not None else "sync",
        {
            "roster.path": source,
            "database.url": database,
            "api.base_url": base_url,
            "helseid.issuer": issuer,
            "sync.areas": ",".join(area) if area else None,
            "sync.concurrency": concurrency,
            "sync.requests_per_second": requests_per_second,
            "sync.deadline": deadline,
        },
        {**FLAG_NAMES, "roster.path": "--person" if person else "--roster"},
    )
    from datetime import timedelta

    from worker.cli.progress import run_and_tell
    from worker.core.model import RunKind
    from worker.store.runs.run_store import Choice
    from worker.use_cases.run_sync import RunRequest

    choice = None
    if failed or stale_for:
        before = app.runtime.now() - timedelta(seconds=stale_s) if stale_for else None
        choice = Choice(stale_before=before, failed=failed)
    request = RunRequest(
        kind=RunKind.BACKFILL, choice=choice, wait_s=wait_s, accept_removals=accept_removals
    )
    return run_and_tell(cli, app, request)
