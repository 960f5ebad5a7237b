"""One HTTP/1.1 connection: it sends a request and reads its response, one at a time, in limits."""

import asyncio
import select
import ssl
from collections.abc import Callable
from typing import Final, cast

from worker.core.value import Value
from worker.errors import ContractError, TransientError, WorkerError
from worker.http.proxy import Proxy
from worker.http.response import HttpResponse, ResponseReader, surplus

IDLE_S_MAX: Final = 15.0
"""After this the server may be closing an idle connection."""
_READ_NOTHING: Final = 0


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


class Connection(asyncio.Protocol):
    """A connection to a server.

    Args:
        on_close: called once, when the connection can carry no other exchange.

    Attributes:
        is_open: the connection can carry another exchange.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        options: TransportOptions,
        on_close: "Callable[[Connection], None]",
    ) -> None:
        self._loop = loop
        self._options = options
        self._on_close = on_close
        self._reader = ResponseReader(options.response_bytes_max)
        self._arrived = select.poll()
        self._transport: asyncio.Transport | None = None
        self._answered: asyncio.Future[None] | None = None
        self._error: WorkerError | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._until_s = 0.0
        self._heard_s = loop.time()
        self._is_silent = True
        self._is_kept = False
        self.is_open = True

    async def exchange(
        self, request: bytes, until_s: float, *, opens_tunnel: bool = False
    ) -> HttpResponse:
        """Send a request and return its response. After any error the connection is closed.

        Args:
            until_s: when the response must be complete, on the event loop's clock.
            opens_tunnel: a response of success ends with its head (CONNECT).

        Raises:
            TransientError: the response is late, incomplete or followed by surplus bytes.
            ContractError: the response is not HTTP, is encoded or is too large.
        """
        if self._transport is None or not self.is_open:
            raise TransientError("the connection was closed before a response")
        self._heard_s, self._until_s = self._loop.time(), until_s
        self._is_silent = True
        self._reader.expect(opens_tunnel=opens_tunnel)
        self._answered = self._loop.create_future()
        self._watch()
        self._transport.write(request)
        try:
            await self._answered
        except asyncio.CancelledError:
            self.close()
            raise
        finally:
            self._answered = None
        if self._error is not None:  # perhaps since the response was complete
            raise self._error from None
        response = self._reader.take()
        self._is_kept = True
        if self._reader.may_reuse:
            self._watch()  # it is idle from now on, which may be over sooner
        else:
            self.close()
        return response

    def is_clean(self) -> bool:
        """Whether nothing has arrived since the last response, its end included.

        Asks the socket: the event loop may not have read yet what has arrived.
        """
        return self.is_open and not self._arrived.poll(_READ_NOTHING)

    def release(self) -> asyncio.Transport:
        """Give up the connection without closing it: its bytes are somebody else's from now on."""
        self.is_open = False
        if self._timer is not None:
            self._timer.cancel()
        return cast("asyncio.Transport", self._transport)

    def close(self) -> None:
        """Close the connection."""
        if not self.is_open:
            return
        self.release()
        if self._transport is not None:
            self._transport.abort()
        self._on_close(self)

    # --- called by the event loop ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See ``asyncio.Protocol``."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass
        self._arrived.register(transport.get_extra_info("socket"), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        """See ``asyncio.Protocol``."""
        if self._answered is None or self._answered.done():
            self._fail(surplus())
            return
        self._heard_s = self._loop.time()
        self._is_silent = False
        try:
            is_complete = self._reader.feed(data)
        except ContractError as error:
            # On a kept connection these may be bytes that an earlier response left in flight.
            is_surplus = self._is_kept and not self._reader.has_head
            self._fail(surplus() if is_surplus else error)
        except WorkerError as error:
            self._fail(error)
        else:
            if is_complete:
                self._answered.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """See ``asyncio.Protocol``."""
        if self._answered is None or self._answered.done():
            self.close()  # a complete response needs no end of the connection
            return
        if self._reader.has_head:
            what = "the response was truncated"
        elif exc is None and self._is_silent:
            what = "the connection was closed before a response"
        else:
            what = "the connection broke"
        if exc is not None:
            what = f"{what} ({type(exc).__name__})"
        self._fail(TransientError(what))

    def _fail(self, error: WorkerError) -> None:
        """Close the connection; the error is that of its exchange, if there is one."""
        self._error = error.with_traceback(None)  # its frames would keep what was received
        self._reader.expect()
        if self._answered is not None and not self._answered.done():
            self._answered.set_result(None)
        self.close()

    # --- time ---

    def _watch(self) -> None:
        """Look at the clock when the time may be over. One timer serves many exchanges."""
        due_s = self._due_s()
        if self._timer is None or self._timer.when() > due_s:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(due_s, self._check_time)

    def _due_s(self) -> float:
        if self._answered is None:
            return self._heard_s + IDLE_S_MAX
        return min(self._heard_s + self._options.silence_s_max, self._until_s)

    def _check_time(self) -> None:
        self._timer = None
        if self._due_s() <= self._loop.time():
            self._fail(TransientError("no complete response in time"))
        else:
            self._watch()
