"""``sync``: one full snapshot run."""

from collections.abc import Mapping
from typing import Final

import click

from worker.cli import options
from worker.core.sharding import ShardAssignment, checked_run_key, parse_shard
from worker.errors import UsageError

SHARD_COUNT: Final = "PTS_SHARD_COUNT"
RUN_KEY: Final = "PTS_RUN_KEY"
JOB_INDEX: Final = "JOB_COMPLETION_INDEX"
"""Kubernetes gives it to each pod of an Indexed Job."""

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


command: Final = options.deferred(
    "sync",
    HELP,
    options.roster,
    options.database,
    options.base_url,
    options.issuer,
    options.area,
    options.concurrency,
    options.rate,
    options.deadline,
    options.wait,
    options.accept_removals,
    click.option(
        "--shard",
        metavar="I/N",
        help=f"Read one of N parts of the roster. Else ${JOB_INDEX} of ${SHARD_COUNT}, if that is "
        "set. Needs --run-key, and PostgreSQL.",
    ),
    click.option(
        "--run-key",
        metavar="KEY",
        help=f"The same for all shards of a run, another for the next run. Else ${RUN_KEY}.",
    ),
)


def part_of(
    shard: str | None, run_key: str | None, environ: Mapping[str, str]
) -> ShardAssignment | None:
    """The part of a shared run that flags and environment name; None for a run in one process.

    Raises:
        UsageError: they name none, or only half of one.
    """
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
    count, index = environ.get(SHARD_COUNT), environ.get(JOB_INDEX)
    if not count:
        return None
    if not index:
        raise UsageError(
            f"{SHARD_COUNT} is set, but {JOB_INDEX} is not",
            hint="completionMode: Indexed sets it; elsewhere give --shard I/N",
        )
    return f"{index}/{count}"
