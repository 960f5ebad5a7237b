"""What ``sync`` does. Its declaration is in ``worker.cli.sync``, which loads at once."""

import os
from datetime import timedelta

from worker.cli.base import Cli
from worker.cli.progress import run_and_report
from worker.cli.sync import part_of
from worker.use_cases.run_sync import RunRequest


def execute(
    cli: Cli, *, wait: timedelta, accept_removals: bool, shard: str | None, run_key: str | None
) -> int:
    """Run it, tell how it ended, and give its exit code."""
    part = part_of(shard, run_key, os.environ)
    app = cli.load("sync")
    request = RunRequest(wait_s=wait.total_seconds(), accept_removals=accept_removals, part=part)
    return run_and_report(cli, app, request)
