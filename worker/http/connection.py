"""One HTTP/1.1 connection: sends requests and reads responses, one at a time, within limits."""

import asyncio
import select
import ssl
from collections.abc import Callable
from typing import Final, cast

from worker.core.value import Value
from worker.errors import LateError, TransientError, WorkerError
from worker.http.budget import Share
from worker.http.response import HttpResponse, ResponseReader, surplus_error

IDLE_S_MAX: Final = 15.0
"""After this time, the server may be closing an idle connection."""
_NO_WAIT_MS: Final = 0


class TransportOptions(Value, frozen=True, kw_only=True):
    """Limits of the transport, and the name of the server.

    Attributes:
        server: its name, for messages.
        attempt_s_max: maximum time for connecting, and again for an exchange to its last byte.
        response_bytes_max: maximum size of a response body. Reading stops beyond it.
        tls: the TLS context. None: trust the system's certificate authorities.
    """

    server: str = "PTS"
    attempt_s_max: float = 10.0
    response_bytes_max: int = 16 * 1024 * 1024
    tls: ssl.SSLContext | None = None


class Connection(asyncio.Protocol):
    """A connection to a server.

    Args:
        on_close: called once, when the connection cannot be used any more.
        is_single_use: close it after one exchange.

    Attributes:
        is_open: the connection can be used for another exchange.
    """

    def __init__(
        self,
        options: TransportOptions,
        on_close: "Callable[[Connection], None]",
        *,
        is_single_use: bool = False,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._options = options
        self._on_close = on_close
        self._is_single_use = is_single_use
        self._reader = ResponseReader(options.response_bytes_max)
        self._readable = select.poll()
        self._transport: asyncio.Transport | None = None
        self._exchange_done: asyncio.Future[None] | None = None
        self._error: WorkerError | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._due_s = 0.0
        self._share: Share | None = None
        self._is_sent = self._is_reused = self._is_waiting_for_room = False
        self.is_open = True

    async def exchange(self, request: bytes, share: Share | None = None) -> HttpResponse:
        """Send a request and return its response. After any error the connection is closed.

        Args:
            share: the memory budget of the response. Reading pauses while it is used up.

        Raises:
            TransientError: the response is late, not HTTP, incomplete or followed by surplus bytes.
            ContractError: the response is encoded or too large.
        """
        if self._transport is None or not self.is_open:
            raise TransientError("the connection was closed before the request")
        self._reader.expect()
        self._share, self._is_waiting_for_room = share, False
        self._exchange_done, self._is_sent = self._loop.create_future(), False
        self._end_after(self._options.attempt_s_max)
        # Requests of one loop iteration are written together, so that a sleeping server and this
        # process wake up once for all of them (15 % of a night's processor time).
        self._loop.call_soon(self._send, request, self._exchange_done)
        try:
            await self._exchange_done
        except asyncio.CancelledError:
            self.close()
            raise
        finally:
            self._exchange_done = None
        if self._error is not None:  # surplus bytes can arrive after a complete response, too
            raise self._error from None
        response = self._reader.take()
        if self._reader.may_reuse and not self._is_single_use:
            self._is_reused = True
            self._end_after(IDLE_S_MAX)
        else:
            self.close()
        return response

    def _send(self, request: bytes, exchange_done: asyncio.Future[None]) -> None:
        if self._transport is None or exchange_done.done() or not self.is_open:
            return
        # Bytes, or the end of the connection, may have arrived since the last response without
        # being read. Sending now would make them look like the response to this request. On a new
        # connection they can belong to the TLS handshake.
        if self._is_reused and self._readable.poll(_NO_WAIT_MS):
            self._fail(surplus_error())
            return
        self._is_sent = True
        self._transport.write(request)

    def close(self) -> None:
        """Close the connection."""
        if not self.is_open:
            return
        self.is_open = False
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.abort()
        self._on_close(self)

    # --- called by the event loop ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See ``asyncio.Protocol``."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is not a subclass
        self._readable.register(transport.get_extra_info("socket"), select.POLLIN)
        self._end_after(IDLE_S_MAX)

    def data_received(self, data: bytes) -> None:
        """See ``asyncio.Protocol``."""
        if self._exchange_done is None or self._exchange_done.done() or not self._is_sent:
            self._fail(surplus_error())
            return
        try:
            is_complete = self._reader.feed(data)
        except WorkerError as error:
            self._fail(error)
        else:
            if is_complete:
                self._exchange_done.set_result(None)
            elif self._share is not None and not self._share.covers(self._reader.received):
                self._wait_for_room(self._share)

    def _wait_for_room(self, share: Share) -> None:
        if self._transport is not None and not self._is_waiting_for_room:
            self._is_waiting_for_room = True
            self._transport.pause_reading()
            share.grow(self._options.response_bytes_max, self._resume_reading)

    def _resume_reading(self) -> None:
        self._is_waiting_for_room = False
        if self._transport is not None and self.is_open:
            self._transport.resume_reading()
            self._end_after(self._options.attempt_s_max)

    def connection_lost(self, exc: Exception | None) -> None:
        """See ``asyncio.Protocol``."""
        if self._exchange_done is None or self._exchange_done.done():
            self.close()  # the response was complete already
        else:
            cause = f" ({type(exc).__name__})" if exc else ""
            self._fail(TransientError(f"the connection ended before the response{cause}"))

    def _fail(self, error: WorkerError) -> None:
        """Close the connection, with this error for the current exchange, if any."""
        self._error = error.with_traceback(None)  # its frames would keep the response in memory
        self._reader.expect()
        if self._exchange_done is not None and not self._exchange_done.done():
            self._exchange_done.set_result(None)
        self.close()

    # --- time ---

    def _end_after(self, wait_s: float) -> None:
        """Close the connection after this time, unless a new time is set.

        A timer that is due earlier stays, and sets the next one (``_check_time``): most exchanges
        then start no timer.
        """
        self._due_s = self._loop.time() + wait_s
        if self._timer is None or self._timer.when() > self._due_s:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(self._due_s, self._check_time)

    def _check_time(self) -> None:
        self._timer = None
        left_s = self._due_s - self._loop.time()
        if self._is_waiting_for_room:
            self._end_after(self._options.attempt_s_max)  # the server is not late, this process is
        elif left_s > 0:
            self._end_after(left_s)
        else:
            self._fail(LateError("no complete response in time"))
