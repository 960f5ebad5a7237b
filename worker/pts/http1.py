"""One HTTP/1.1 connection to PTS that sends a POST and reads its response.

It supports no redirects, cookies, proxies, upgrades or pipelining, and never resends. ADR 0002 has
the reasons and the figures.
"""

import asyncio
import select
import socket
from typing import Final, cast

from worker.errors import ContractError, StaleConnectionError, TransientError, WorkerError
from worker.ports import HttpResponse
from worker.pts.batching import RequestBatcher, ResponseBatcher
from worker.pts.response_parser import ResponseParser, closed_early, stale_surplus, surplus
from worker.pts.transport import is_clean_end

_READ_NOTHING: Final = 0


class Connection(asyncio.Protocol):
    """One connection to the server; it carries one exchange at a time.

    Args:
        peer: the socket, polled for bytes that the event loop has not read yet.

    Attributes:
        is_usable: the connection can carry another exchange.
        idle_since_s: end of the last exchange, on the event loop's clock.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        peer: socket.socket,
        requests: RequestBatcher,
        responses: ResponseBatcher,
        *,
        body_bytes_max: int,
        silence_s_max: float,
        attempt_s_max: float,
    ) -> None:
        self._loop = loop
        self._arrived = select.poll()
        self._arrived.register(peer, select.POLLIN)
        self._requests = requests
        self._responses = responses
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
        """Send a request and return its response. After any error the connection is unusable.

        Raises:
            TransientError: the response is incomplete or followed by surplus bytes.
            ContractError: the response is not HTTP or is too large.
        """
        if self._transport is None or not self.is_usable:
            raise StaleConnectionError("the connection was closed before a response")
        self._began_s = self._heard_s = self._loop.time()
        self._request = request
        self._answered = self._loop.create_future()
        if self._timer is None:
            self._check_time_in(min(self._silence_s_max, self._attempt_s_max))
        self._requests.put(self._send)
        try:
            response = await self._answered
        except WorkerError as error:
            raise error from None
        except asyncio.CancelledError:
            self.close()
            raise
        finally:
            self._answered = self._request = self._parser = None
        if self._has_surplus:
            raise surplus()
        return response

    def close(self) -> None:
        """Close the connection."""
        self.is_usable = False
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.abort()

    def _send(self) -> None:
        """Write the request, unless its exchange has ended or unexpected bytes have arrived."""
        transport, request = self._transport, self._request
        if request is None or transport is None or transport.is_closing():
            return
        if self._is_proven and self._arrived.poll(_READ_NOTHING):
            # The connection has ended, or holds bytes that cannot belong to this request. (On a
            # new connection the first bytes may belong to TLS.)
            self._fail(StaleConnectionError("unexpected bytes on an idle connection"))
            return
        self._request = None
        self._parser = ResponseParser(self._body_bytes_max)
        transport.write(request)

    # --- called by the event loop ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See ``asyncio.Protocol``."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        """See ``asyncio.Protocol``."""
        parser = self._parser
        if parser is None:  # no request was sent, or its response is complete
            self._has_surplus = True
            self.close()
            return
        self._heard_s = max(self._loop.time(), self._began_s + 1e-9)
        try:
            response = parser.feed(data)
        except ContractError as error:
            if self._is_proven and not parser.has_status:
                self._fail(stale_surplus())
            else:
                self._fail(error)
        except WorkerError as error:
            self._fail(error)
        else:
            if response is not None:
                self._complete(response, may_reuse=parser.may_reuse)

    def eof_received(self) -> bool:
        """End of the stream: completes a body without a declared length."""
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
        is_stale = self._is_proven and is_silent
        error = StaleConnectionError if is_stale else TransientError
        self._fail(error(closed_early(parser, exc, is_silent=is_silent)))

    # --- ends of an exchange ---

    def _complete(self, response: HttpResponse, *, may_reuse: bool) -> None:
        self._is_proven = True
        self.is_usable = self.is_usable and may_reuse
        self._parser = None  # any further bytes are surplus
        if self._answered is not None:
            self._responses.put(self._answered, response)

    def _fail(self, error: WorkerError) -> None:
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(error)
        self._request = self._parser = None
        self.close()

    def _check_time_in(self, wait_s: float) -> None:
        """One timer serves many exchanges: to make and to cancel one for each costs 2 µs."""
        self._timer = self._loop.call_later(wait_s, self._check_time)

    def _check_time(self) -> None:
        self._timer = None
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
            self._check_time_in(left_s)
