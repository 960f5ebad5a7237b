"""The dead man's switch: what it hears, and that it never disturbs a run. Real sockets."""

from functools import partial
from typing import Any

import anyio
import structlog

from tests.support.certificates import make_authority, server_context
from tests.support.http.reports import pushes
from tests.support.raw_server import READ_S, Reply, http, raw_server
from worker.config.settings import Telemetry
from worker.errors import ExitCode
from worker.http.connection import TransportOptions
from worker.http.transport import Transport
from worker.telemetry import ping
from worker.tls import client_context

SECRET = "3f1c-of-the-check"


def out(server: str, **options: Any) -> Transport:
    return Transport(TransportOptions(server=server, **options))


def switch(url: str) -> Telemetry:
    """The address of a switch."""
    return Telemetry.model_validate({"ping_url": f"{url}/{SECRET}"})


async def test_what_a_run_pings():
    """Published is success, also with gaps; 4 and 75 say nothing; all else is a failure."""
    said = {None: ["/start"], 0: [""], 3: [""], 4: [], 75: []}
    for code in (None, *ExitCode):
        async with raw_server(http()) as server:
            await ping(switch(server.url), out, code)
        ends = [path.removeprefix(f"/{SECRET}") for _, path, _ in pushes(server)]
        assert ends == said.get(code, ["/fail"])


async def test_a_failure_is_a_line_in_the_log(tmp_path):
    """In little time. It says why, and no part of the address, of which the host is one."""
    authority = make_authority(tmp_path)
    for reply, tls, why in (
        (http(status="404 No"), None, "status 404"),
        (http(status="503 No"), None, "status 503"),
        (Reply(data=b"", then="hang"), None, "no complete response in time"),
        (http(), server_context(authority, "other.test"), "not accepted: Hostname mismatch"),
    ):
        limit_s = 0.3 if "time" in why else READ_S
        to = partial(out, attempt_s_max=limit_s, tls=client_context(authority.file))
        with structlog.testing.capture_logs() as logs, anyio.fail_after(READ_S / 2):
            async with raw_server(reply, tls=tls) as server:
                url = server.url.replace("127.0.0.1", "localhost")
                await ping(switch(url), to, ExitCode.OK)
            await ping(switch(url), out)  # nobody listens any more
        assert {(line["event"], line["target"]) for line in logs} == {("telemetry.failed", "ping")}
        assert [why in logs[0]["reason"], "no connection" in logs[1]["reason"]] == [True, True]
        assert ("telemetry.ping_url" in logs[0]["hint"]) == ("404" in why)
        assert not [word for word in (SECRET, "localhost") if word in str(logs)]
        assert len(server.requests) == (tls is None)
