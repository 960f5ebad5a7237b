"""``sync``: one full snapshot run."""

import os
from collections.abc import Mapping
from datetime import timedelta

from worker.cli.base import Cli
from worker.cli.commands.sync import JOB_INDEX, RUN_KEY, SHARD_COUNT
from worker.cli.progress import run_and_report
from worker.core.sharding import ShardAssignment, checked_run_key, parse_shard
from worker.errors import UsageError
from worker.use_cases.run_sync import RunRequest


def run(
    cli: Cli, *, wait: timedelta, accept_removals: bool, shard: str | None, run_key: str | None
) -> int:
    """Run it, report the result and return its exit code."""
    part = part_of(shard, run_key, os.environ)
    app = cli.load("sync")
    request = RunRequest(wait_s=wait.total_seconds(), accept_removals=accept_removals, part=part)
    return run_and_report(cli, app, request)


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
