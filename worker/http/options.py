"""What bounds an exchange, and where it goes."""

import ssl
from typing import Final

from worker.core.value import Value
from worker.http.proxy import Proxy

IDLE_S_MAX: Final = 15.0
"""After this the server may be closing an idle connection."""


class TransportOptions(Value, frozen=True, kw_only=True):
    """Limits of the transport, and whom it talks to.

    Attributes:
        server: who answers, for messages.
        attempt_s_max: maximum time of an exchange, from connecting to the last byte received.
        connect_s_max: maximum time of connecting, with the proxy and TLS.
        silence_s_max: maximum time between two bytes of a response.
        response_bytes_max: maximum size of a response body; reading stops beyond it.
        tls: the TLS context; None: trust the system's certificate authorities.
        proxy: for all hosts but loopback.
    """

    server: str = "PTS"
    attempt_s_max: float = 60.0
    connect_s_max: float = 10.0
    silence_s_max: float = 30.0
    response_bytes_max: int = 16 * 1024 * 1024
    tls: ssl.SSLContext | None = None
    proxy: Proxy | None = None
