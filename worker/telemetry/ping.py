"""Ping a dead man's switch, such as healthchecks.io: a run begins, has published, or has failed.

The switch raises the alarm when pings stay away: a machine that is down, a timer that is disabled.
"""

from enum import StrEnum
from typing import Final

from worker.core.model import RunStatus
from worker.core.run import RunReport
from worker.errors import ConfigurationError, ExitCode, UnavailableError
from worker.telemetry.http_client import open_client
from worker.telemetry.options import TelemetryOptions

_SILENT: Final = frozenset({ExitCode.LEASE_HELD, ExitCode.STOPPED})
"""The other run pings; and a run that was stopped continues, or else the pings stay away."""


class Ping(StrEnum):
    """What a ping says: the end of its path (healthchecks.io, "HTTP API")."""

    START = "/start"
    SUCCESS = ""
    FAIL = "/fail"


def ping_of(report: RunReport) -> Ping | None:
    """The ping for the end of a run; None if nothing has published and nothing has failed."""
    if report.status is RunStatus.PUBLISHED:
        return Ping.SUCCESS
    return ping_of_failure(report.exit_code)


def ping_of_failure(exit_code: ExitCode) -> Ping | None:
    """The ping for a run that ended with this code and did not publish."""
    return None if exit_code in _SILENT else Ping.FAIL


async def send_ping(options: TelemetryOptions, ping: Ping, exit_code: ExitCode | None) -> None:
    """Send a ping. Its body is the exit code, and nothing else says anything of the run.

    Raises:
        ConfigurationError: the service knows no such check.
        UnavailableError: it refuses the ping for another reason.
        AreaError: it cannot be reached, or what answers is not HTTP.
    """
    if options.ping_url is None:
        return
    async with open_client(options, "the service") as client:
        response = await client.post(
            options.ping_url + ping,
            content="" if exit_code is None else f"exit code {int(exit_code)}\n",
        )
    if response.is_success:
        return
    problem = f"the service answered with status {response.status_code}"
    if response.is_client_error or response.is_redirect:
        raise ConfigurationError(problem, hint="check telemetry.ping_url")
    raise UnavailableError(problem)
