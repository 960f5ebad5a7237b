"""The dead man's switch: what it hears, and that it never disturbs a run. Real sockets."""

import anyio
import pytest
import structlog

from tests.support.http.reports import pushes
from tests.support.program import closed_port
from tests.support.raw_server import READ_S, Reply, http, raw_server
from worker.config.settings import Telemetry
from worker.errors import ExitCode
from worker.http.connection import TransportOptions
from worker.http.transport import Transport
from worker.telemetry import ping

SECRET = "3f1c-of-the-check"


def out(server: str) -> Transport:
    return Transport(TransportOptions(server=server, attempt_s_max=10.0))


def at_once(server: str) -> Transport:
    return Transport(TransportOptions(server=server, attempt_s_max=0.3))


def switch(url: str) -> Telemetry:
    """The address of a switch."""
    return Telemetry.model_validate({"ping_url": f"{url}/{SECRET}"})


async def test_what_a_run_pings():
    """Published is success, also with gaps; 4 and 75 say nothing; all else is a failure."""
    said = {
        None: ["/start"],
        ExitCode.OK: [""],
        ExitCode.GAPS: [""],
        ExitCode.LEASE_HELD: [],
        ExitCode.STOPPED: [],
    }
    for code in (None, *ExitCode):
        async with raw_server(http()) as server:
            await ping(switch(server.url), out, code)
        ends = [path.removeprefix(f"/{SECRET}") for _, path, _ in pushes(server)]
        assert ends == said.get(code, ["/fail"])


@pytest.mark.parametrize("status", [404, 503])
async def test_a_refusal_is_a_line_in_the_log(status: int):
    """It names the status and the key, and never the address."""
    async with raw_server(http(status=f"{status} No")) as server:
        with structlog.testing.capture_logs() as logs:
            await ping(switch(server.url), out, ExitCode.OK)
    (line,) = logs
    assert (line["event"], line["target"]) == ("telemetry.failed", "ping")
    assert f"status {status}" in line["reason"]
    assert ("telemetry.ping_url" in line["hint"]) == (status < 500)
    assert SECRET not in str(line)
    assert len(server.requests) == 1


async def test_a_switch_that_says_nothing_costs_little_time():
    """Neither a server that stalls nor a port without one delays a run for long."""
    async with raw_server(Reply(data=b"", then="hang")) as server:
        with structlog.testing.capture_logs() as logs:
            with anyio.fail_after(READ_S / 2):
                await ping(switch(server.url), at_once)
            await ping(switch(f"http://127.0.0.1:{closed_port()}"), at_once)
    assert [line["event"] for line in logs] == ["telemetry.failed"] * 2
    assert SECRET not in str(logs)
