"""``sync``: one full snapshot run."""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Final

import typer

from worker.cli.base import Cli, add_command

if TYPE_CHECKING:
    from worker.core.sharding import ShardAssignment

SHARD_COUNT: Final = "PTS_SHARD_COUNT"
RUN_KEY: Final = "PTS_RUN_KEY"
JOB_INDEX: Final = "JOB_COMPLETION_INDEX"
"""Kubernetes gives it to each pod of an Indexed Job."""

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
ShardOption = Annotated[
    str | None,
    typer.Option(
        "--shard",
        metavar="I/N",
        help=f"Read one of N parts of the roster. Else ${JOB_INDEX} of ${SHARD_COUNT}, if that is "
        "set. Needs --run-key, and PostgreSQL.",
    ),
]
RunKeyOption = Annotated[
    str | None,
    typer.Option(
        "--run-key",
        metavar="KEY",
        help=f"The same for all shards of a run, another for the next run. Else ${RUN_KEY}.",
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

With `--shard` and `--run-key` several processes share one run: each reads its part, the last to
finish publishes for all, and `sync.requests_per_second` is divided among those that live. A shard
that is not the last ends with 0, or with 3 if its part has gaps. A shard that was stopped or killed
is started again alone, with the same key.

Example: `pts-worker sync --config /etc/pts/worker.toml --wait 30m`

Example: `pts-worker sync --shard 2/4 --run-key 2026-03-01`
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    add_command(app, "sync", sync, HELP)


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
    shard: ShardOption = None,
    run_key: RunKeyOption = None,
) -> int:
    """See ``HELP``."""
    wait_s = wait_seconds(wait)
    part = part_of(shard, run_key, os.environ)
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
    from worker.cli.progress import run_and_tell
    from worker.use_cases.run_sync import RunRequest

    request = RunRequest(wait_s=wait_s, accept_removals=accept_removals, part=part)
    return run_and_tell(cli, app, request)


def part_of(
    shard: str | None, run_key: str | None, environ: Mapping[str, str]
) -> "ShardAssignment | None":
    """The part of a shared run that flags and environment name; None for a run in one process.

    Raises:
        UsageError: they name none, or only half of one.
    """
    from worker.core.sharding import ShardAssignment, checked_run_key, parse_shard
    from worker.errors import UsageError

    run_key = environ.get(RUN_KEY) or None if run_key is None else run_key
    shard = _shard_in(environ) if shard is None else shard
    if shard is None and run_key is None:
        return None
    if shard is None or run_key is None:
        given, missing = ("--run-key", "--shard") if shard is None else ("--shard", "--run-key")
        raise UsageError(
            f"{given} goes with {missing}",
            hint="for example --shard 2/4 --run-key 2026-03-01; on Kubernetes see "
            'docs/operations.md, "Shards"',
        )
    try:
        return ShardAssignment(shard=parse_shard(shard), run_key=checked_run_key(run_key))
    except ValueError as error:
        raise UsageError(
            f"--shard, --run-key: {error}", hint="for example --shard 2/4 --run-key 2026-03-01"
        ) from error


def _shard_in(environ: Mapping[str, str]) -> str | None:
    """The shard that the environment of an Indexed Job's pod names."""
    from worker.errors import UsageError

    count, index = environ.get(SHARD_COUNT), environ.get(JOB_INDEX)
    if not count:
        return None
    if not index:
        raise UsageError(
            f"{SHARD_COUNT} is set, but {JOB_INDEX} is not",
            hint="completionMode: Indexed sets it; elsewhere give --shard I/N",
        )
    return f"{index}/{count}"


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
    except ValueError as error:
        raise UsageError(f"{flag}: {error}", hint="for example 30s, 15m, 12h, 7d") from error
