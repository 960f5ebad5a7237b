"""``sync``: one full snapshot run."""

from datetime import timedelta

from worker.cli.base import Cli
from worker.cli.progress import run_and_report
from worker.use_cases.run_sync import RunRequest


def run(cli: Cli, *, wait: timedelta, accept_removals: bool, accept_service: bool) -> int:
    """Run it, report the result and return its exit code."""
    app = cli.load("sync")
    request = RunRequest(
        wait_s=wait.total_seconds(),
        accept_removals=accept_removals,
        accept_service=accept_service,
    )
    return run_and_report(cli, app, request)
