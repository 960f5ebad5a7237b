"""The HTTP client of the Pushgateway and the ping."""

import httpx

from worker.http.options import TransportOptions
from worker.http.transport import USER_AGENT, Transport
from worker.telemetry.options import TelemetryOptions
from worker.tls import client_context

_BODY_BYTES_MAX = 65_536


def open_client(options: TelemetryOptions, server: str) -> httpx.AsyncClient:
    """A client that is closed with its context. It follows no redirect.

    Args:
        server: who answers, for messages.
    """
    transport = Transport(
        TransportOptions(
            server=server,
            attempt_s_max=options.push_s_max,
            response_bytes_max=_BODY_BYTES_MAX,
            tls=client_context(options.ca_file),
            proxy=options.proxy,
        )
    )
    headers = {"Accept-Encoding": "identity", "User-Agent": USER_AGENT}
    return httpx.AsyncClient(transport=transport, trust_env=False, headers=headers)
