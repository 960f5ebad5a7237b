"""``sync``: one full snapshot run."""

from typing import Annotated

import typer

from worker.cli.base import Cli, command

RosterOption = Annotated[
    str | None,
    typer.Option(
        "--roster", help="CSV with a column off_id, or one identifier a line; - is stdin."
    ),
]
DatabaseOption = Annotated[
    str | None,
    typer.Option("--database", metavar="URL", help="sqlite:///FILE or postgresql://…"),
]
BaseUrlOption = Annotated[
    str | None, typer.Option("--base-url", metavar="URL", help="PTS's address.")
]
IssuerOption = Annotated[
    str | None, typer.Option("--issuer", metavar="URL", help="HelseID's issuer.")
]
AreaOption = Annotated[
    list[str] | None,
    typer.Option("--area", help="Only this area; may be given again. Default: sync.areas."),
]
ConcurrencyOption = Annotated[
    int | None, typer.Option("--concurrency", help="Requests in flight, at most.")
]
RateOption = Annotated[
    float | None,
    typer.Option("--requests-per-second", help="Ceiling on requests to PTS."),
]
DeadlineOption = Annotated[
    str | None, typer.Option("--deadline", metavar="DURATION", help="Stop by itself, e.g. 4h.")
]
WaitOption = Annotated[
    str | None,
    typer.Option(
        "--wait",
        metavar="DURATION",
        help="Wait so long for another run's end (e.g. 30m) before giving up with exit code 4.",
    ),
]
AcceptOption = Annotated[
    bool,
    typer.Option(
        "--accept-removals",
        help="I have looked: publish although unusually much would be closed.",
    ),
]

FLAG_NAMES = {
    "roster.path": "--roster",
    "database.url": "--database",
    "api.base_url": "--base-url",
    "helseid.issuer": "--issuer",
    "sync.areas": "--area",
    "sync.concurrency": "--concurrency",
    "sync.requests_per_second": "--requests-per-second",
    "sync.deadline": "--deadline",
}

HELP = """One full run over the roster: read everyone, then publish.

A run that was stopped or killed is continued. Readers see the new snapshot only when the whole of
it is there; a person or area that could not be read keeps its last known state, marked stale.

Example: `pts-worker sync --config /etc/pts/worker.toml --wait 30m`
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("sync", help=HELP)(command(sync))


def sync(
    cli: Cli,
    *,
    roster: RosterOption = None,
    database: DatabaseOption = None,
    base_url: BaseUrlOption = None,
    issuer: IssuerOption = None,
    area: AreaOption = None,
    concurrency: ConcurrencyOption = None,
    requests_per_second: RateOption = None,
    deadline: DeadlineOption = None,
    wait: WaitOption = None,
    accept_removals: AcceptOption = False,
) -> int:
    """See ``HELP``."""
    wait_s = wait_seconds(wait)
    app = cli.load(
        "sync",
        {
            "roster.path": roster,
            "database.url": database,
            "api.base_url": base_url,
            "helseid.issuer": issuer,
            "sync.areas": ",".join(area) if area else None,
            "sync.concurrency": concurrency,
            "sync.requests_per_second": requests_per_second,
            "sync.deadline": deadline,
        },
        FLAG_NAMES,
    )
    from worker.app import RunRequest
    from worker.cli.progress import run_and_tell

    return run_and_tell(cli, app, RunRequest(wait_s=wait_s, accept_removals=accept_removals))


def wait_seconds(text: str | None, *, flag: str = "--wait") -> float:
    """A duration given as a flag, in seconds; 0 if it was not given.

    Raises:
        UsageError: it is not a duration.
    """
    from worker.core.durations import parse_duration
    from worker.errors import UsageError

    if text is None:
        return 0.0
    try:
        return parse_duration(text).total_seconds()
    except ValueError as fault:
        raise UsageError(f"{flag}: {fault}", hint="for example 30s, 15m, 12h, 7d") from fault
