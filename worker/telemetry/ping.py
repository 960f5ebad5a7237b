"""Ping a dead man's switch, such as healthchecks.io: a run begins, has published, or has failed.

The switch raises the alarm when pings stay away: a machine that is down, a timer that is disabled.
"""

from enum import StrEnum
from typing import Final
from urllib.parse import urlsplit

import httpx

from worker.core.model import RunStatus
from worker.core.run import RunReport
from worker.errors import ConfigurationError, ExitCode, UnavailableError
from worker.proxy import proxy_for
from worker.telemetry.options import TelemetryOptions
from worker.tls import client_context

_CONNECT_RETRIES: Final = 2
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

    A lost connection attempt is repeated; the body of a response is not read, and no redirect is
    followed.

    Raises:
        ConfigurationError: the service knows no such check.
        UnavailableError: it refuses the ping for another reason.
        httpx.HTTPError: it cannot be reached.
    """
    if options.ping_url is None:
        return
    proxy = proxy_for(options.proxy, urlsplit(options.ping_url).hostname)
    context = client_context(options.ca_file)
    transport = httpx.AsyncHTTPTransport(
        verify=context,
        trust_env=False,
        retries=_CONNECT_RETRIES,
        proxy=None if proxy is None else proxy.for_httpx(context),
    )
    async with httpx.AsyncClient(
        transport=transport, trust_env=False, timeout=options.push_s_max
    ) as client:
        request = client.build_request(
            "POST",
            options.ping_url + ping,
            content="" if exit_code is None else f"exit code {int(exit_code)}\n",
        )
        response = await client.send(request, stream=True)
        await response.aclose()
    if response.is_success:
        return
    problem = f"the service answered with status {response.status_code}"
    if response.is_client_error or response.is_redirect:
        raise ConfigurationError(problem, hint="check telemetry.ping_url")
    raise UnavailableError(problem)
