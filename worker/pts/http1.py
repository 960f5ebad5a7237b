"""One HTTP/1.1 connection to PTS, for one kind of call: a POST and its response.

It knows no redirects, cookies, proxies, upgrades or pipelining, and it never resends: what is not
here cannot go wrong at night, and costs nothing. ADR 0002 has the figures.
"""

import asyncio
import select
import socket
from typing import Final, cast

from worker.errors import ContractError, StaleConnectionError, TransientError, WorkerError
from worker.ports import HttpResponse
from worker.pts.batching import RequestBatcher, ResponseBatcher
from worker.pts.response_parser import ResponseParser, surplus
from worker.pts.transport import is_clean_end

_READ_NOTHING: Final = 0


class Connection(asyncio.Protocol):
    """One connection to the server; it carries one exchange at a time.

    Args:
        loop: the loop it lives on.
        peer: its socket, to see what has arrived before the loop does.
        outbox: what its requests go out through.
        inbox: what its responses come in through.
        body_bytes_max: a larger body is refused while it comes in.
        silence_s_max: the longest time between two bytes of a response.
        attempt_s_max: the longest time for one exchange.

    Attributes:
        is_usable: it may carry another exchange.
        idle_since_s: when it carried the last one, on the loop's clock.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        peer: socket.socket,
        outbox: RequestBatcher,
        inbox: ResponseBatcher,
        *,
        body_bytes_max: int,
        silence_s_max: float,
        attempt_s_max: float,
    ) -> None:
        self._loop = loop
        self._arrived = select.poll()
        self._arrived.register(peer, select.POLLIN)
        self._outbox = outbox
        self._inbox = inbox
        self._body_bytes_max = body_bytes_max
        self._silence_s_max = silence_s_max
        self._attempt_s_max = attempt_s_max
        self._transport: asyncio.Transport | None = None
        self._request: bytes | None = None
        self._parser: ResponseParser | None = None
        self._answered: asyncio.Future[HttpResponse] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._began_s = self._heard_s = 0.0
        self._is_proven = False
        self._has_surplus = False
        self.idle_since_s = 0.0
        self.is_usable = True

    async def exchange(self, request: bytes) -> HttpResponse:
        """Write a request and give its response. On any error the connection is not usable again.

        Raises:
            TransientError: no complete response came, or more bytes than the response has.
            ContractError: what came is no HTTP, or is too large.
        """
        if self._transport is None or not self.is_usable:
            raise StaleConnectionError("the connection was closed before a response")
        self._began_s = self._heard_s = self._loop.time()
        self._request = request
        self._answered = self._loop.create_future()
        wait_s = min(self._silence_s_max, self._attempt_s_max)
        self._timer = self._loop.call_later(wait_s, self._check_time)
        self._outbox.put(self._send)
        try:
            response = await self._answered
        except WorkerError as error:
            raise error from None
        except asyncio.CancelledError:
            self.close()
            raise
        finally:
            self._answered = self._request = self._parser = None
            self._timer.cancel()
        if self._has_surplus:
            raise surplus()
        return response

    def close(self) -> None:
        """Drop the connection."""
        self.is_usable = False
        if self._transport is not None:
            self._transport.abort()

    def _send(self) -> None:
        """Write the request, unless its exchange has ended or something else came before it."""
        transport, request = self._transport, self._request
        if request is None or transport is None or transport.is_closing():
            return
        if self._is_proven and self._arrived.poll(_READ_NOTHING):
            # The end of the connection, or bytes that cannot belong to this request. (The first
            # bytes on a new connection may be TLS's own.)
            self._fail(StaleConnectionError("bytes came on an idle connection"))
            return
        self._request = None
        self._parser = ResponseParser(self._body_bytes_max)
        transport.write(request)

    # --- called by the loop ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See ``asyncio.Protocol``."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        """See ``asyncio.Protocol``."""
        parser = self._parser
        if parser is None:  # nobody asked: no request was sent, or its response is complete
            self._has_surplus = True
            self.close()
            return
        self._heard_s = max(self._loop.time(), self._began_s + 1e-9)
        try:
            response = parser.feed(data)
        except ContractError as error:
            if self._is_proven and not parser.has_status:
                # What an earlier response had too much: it answers no request of this connection.
                self._fail(StaleConnectionError("an earlier response was longer than it said"))
            else:
                self._fail(error)
        except WorkerError as error:
            self._fail(error)
        else:
            if response is not None:
                self._complete(response, may_reuse=parser.may_reuse)

    def eof_received(self) -> bool:
        """The server sends no more: the end of a body that came without a length."""
        if self._parser is not None and is_clean_end(self._transport):
            try:
                response = self._parser.feed_eof()
            except WorkerError as error:
                self._fail(error)
            else:
                if response is not None:
                    self._complete(response, may_reuse=False)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """See ``asyncio.Protocol``."""
        self.is_usable = False
        parser = self._parser
        if parser is None and self._request is None:
            return  # nothing is expected
        is_silent = self._heard_s == self._began_s
        if parser is not None and parser.has_status:
            what = "the response was cut short"
        elif exc is None and is_silent:
            what = "the connection was closed before a response"
        else:
            what = "the connection broke"
        name = f" ({type(exc).__name__})" if exc is not None else ""
        is_stale = self._is_proven and is_silent
        self._fail((StaleConnectionError if is_stale else TransientError)(f"{what}{name}"))

    # --- ends of an exchange ---

    def _complete(self, response: HttpResponse, *, may_reuse: bool) -> None:
        self._is_proven = True
        self.is_usable = self.is_usable and may_reuse
        self._parser = None  # whatever comes now belongs to nobody
        if self._answered is not None:
            self._inbox.put(self._answered, response)

    def _fail(self, error: WorkerError) -> None:
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(error)
        self._request = self._parser = None
        self.close()

    def _check_time(self) -> None:
        if self._parser is None and self._request is None:
            return  # the response is complete
        now_s = self._loop.time()
        left_s = min(
            self._heard_s + self._silence_s_max - now_s,
            self._began_s + self._attempt_s_max - now_s,
        )
        if left_s <= 0:
            self._fail(TransientError("no complete response in time"))
        else:
            self._timer = self._loop.call_later(left_s, self._check_time)
