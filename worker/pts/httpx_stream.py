"""A network backend for httpcore that checks every byte as it arrives.

httpcore reads only while it expects a response, and keeps surplus bytes for the next request. This
backend also parses each response with ``response_parser``. Surplus bytes end the connection, and
the response before them is discarded.
"""

import asyncio
import select
import socket
import ssl
from collections.abc import Iterable
from typing import Any, Final, cast

import httpcore

from worker.errors import ContractError, StaleConnectionError, TransientError, WorkerError
from worker.ports import HttpResponse
from worker.proxy import PROXY_HINT, Proxy
from worker.pts.happy_eyeballs import open_socket
from worker.pts.response_parser import ResponseParser, closed_early, stale_surplus, surplus
from worker.pts.transport import certificate_error, is_clean_end, why_unconnected

_AT_ONCE: Final = 0
_WAITING_BYTES_MAX: Final = 256 * 1024
"""Reading pauses when httpcore is this far behind."""


class Backend(httpcore.AsyncNetworkBackend):
    """Opens connections for httpcore.

    Args:
        connect_s_max: timeout for connecting, and again for the TLS handshake.
    """

    def __init__(self, *, connect_s_max: float, body_bytes_max: int, proxy: Proxy | None) -> None:
        self._connect_s_max = connect_s_max
        self._body_bytes_max = body_bytes_max
        self._proxy = proxy

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002, ASYNC109 - httpcore's signature
        local_address: str | None = None,  # noqa: ARG002
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,  # noqa: ARG002
    ) -> "Stream":
        """Connect to PTS or to the proxy.

        Raises:
            TransientError: the connection failed.
        """
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._connect_s_max):
                peer = await open_socket(host, port)
                _, stream = await loop.create_connection(
                    lambda: Stream(
                        loop,
                        peer,
                        connect_s_max=self._connect_s_max,
                        body_bytes_max=self._body_bytes_max,
                        proxy=self._proxy,
                    ),
                    sock=peer,
                )
        except OSError as error:  # a TimeoutError is one
            raise _failure(self._proxy, why_unconnected(error)) from None
        return stream


class Stream(httpcore.AsyncNetworkStream, asyncio.Protocol):
    """One connection. It raises only the worker's own errors."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        peer: socket.socket,
        *,
        connect_s_max: float,
        body_bytes_max: int,
        proxy: Proxy | None,
    ) -> None:
        self._loop = loop
        self._arrived = select.poll()
        self._arrived.register(peer, select.POLLIN)
        self._connect_s_max = connect_s_max
        self._body_bytes_max = body_bytes_max
        self._proxy = proxy
        """Set until the TLS handshake with PTS begins."""
        self._transport: asyncio.Transport | None = None
        self._parser: ResponseParser | None = None
        self._received = bytearray()
        self._error: WorkerError | None = None
        self._is_ended = False
        self._is_silent = True
        self._is_paused = False
        self._waiter: asyncio.Future[None] | None = None
        self._response: HttpResponse | None = None
        self._has_answered = False

    # --- called by httpcore ---

    async def read(
        self,
        max_bytes: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
    ) -> bytes:
        """The received bytes; empty at the end of the connection.

        Raises:
            TransientError: a timeout, a truncated response, or surplus bytes.
            ContractError: the response is not HTTP or is too large.
        """
        if not self._received and not self._is_ended:
            self._waiter = self._loop.create_future()
            try:
                async with asyncio.timeout(timeout):
                    await self._waiter
            except TimeoutError:
                raise self._failure("no complete response in time") from None
            finally:
                self._waiter = None
        if self._proxy is None or not self._received:
            self.check()
        data = bytes(self._received[:max_bytes])
        del self._received[:max_bytes]
        if self._is_paused and not self._received:
            self._is_paused = False
            cast("asyncio.Transport", self._transport).resume_reading()
        return data

    async def write(
        self,
        buffer: bytes,
        timeout: float | None = None,  # noqa: ARG002, ASYNC109 - httpcore's signature
    ) -> None:
        """Send bytes; the first ones after a response begin a new exchange.

        Raises:
            StaleConnectionError: a kept connection has ended or holds unexpected bytes.
            TransientError: a new connection has ended.
        """
        if self._parser is None and self._proxy is None:
            is_kept = self._has_answered
            if is_kept and self._arrived.poll(_AT_ONCE):
                self._fail(StaleConnectionError("unexpected bytes on an idle connection"))
            else:
                self._parser = ResponseParser(self._body_bytes_max)
                self._is_silent = True
        if self._transport is None or self._is_ended:
            raise self._closed_early()
        self._transport.write(buffer)

    async def aclose(self) -> None:
        """Close the connection."""
        self._is_ended = True
        if self._transport is not None:
            self._transport.abort()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002, ASYNC109 - httpcore's signature
    ) -> "Stream":
        """Start TLS with the proxy or with PTS.

        Raises:
            UnavailableError: the certificate is not accepted.
            TransientError: the handshake failed.
        """
        if self._is_ended:
            raise self._closed_early()
        if not self._is_silent:
            self._proxy = None  # it has answered CONNECT: this handshake is with PTS
        self._received.clear()
        try:
            async with asyncio.timeout(self._connect_s_max):
                self._transport = await self._loop.start_tls(
                    cast("asyncio.Transport", self._transport),
                    self,
                    ssl_context,
                    server_hostname=server_hostname,
                )
        except BaseException as error:
            await self.aclose()
            if isinstance(error, ssl.SSLCertVerificationError):
                whose = f"the proxy {self._proxy.shown}" if self._proxy else "PTS"
                raise certificate_error(error, whose=whose) from None
            if isinstance(error, OSError):  # a TimeoutError is one
                raise _failure(self._proxy, why_unconnected(error)) from None
            raise
        return self

    def check(self) -> None:
        """Raise the connection's error, if it has one.

        Raises:
            WorkerError: the connection has failed, perhaps after the last read.
        """
        if self._error is not None:
            raise self._error

    def take_response(self) -> HttpResponse | None:
        """Return and release the last complete response, as parsed by ``response_parser``.

        Releasing it keeps large bodies out of idle connections.
        """
        response, self._response = self._response, None
        return response

    def get_extra_info(self, info: str) -> Any:
        """``is_readable``: whether an idle connection must be discarded."""
        if info == "is_readable":
            return self._is_ended
        return None if self._transport is None else self._transport.get_extra_info(info)

    # --- called by the event loop ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See ``asyncio.Protocol``."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        """See ``asyncio.Protocol``."""
        self._is_silent = False
        if self._proxy is not None:
            self._hand_on(data)
        elif self._parser is None:
            self._fail(surplus())
        else:
            self._feed(self._parser, data)

    def eof_received(self) -> bool:
        """End of the stream: completes a body without a declared length."""
        parser = self._parser
        if parser is not None and is_clean_end(self._transport):
            try:
                response = parser.feed_eof()
            except WorkerError as error:
                self._fail(error)
            else:
                if response is not None:
                    self._complete(response, may_reuse=False)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """See ``asyncio.Protocol``."""
        if self._is_ended or (self._parser is None and self._proxy is None):
            self._is_ended = True
            self._wake()
            return
        self._fail(self._closed_early(exc))

    def _feed(self, parser: ResponseParser, data: bytes) -> None:
        try:
            response = parser.feed(data)
        except WorkerError as error:
            is_kept = self._has_answered
            if is_kept and not parser.has_status and isinstance(error, ContractError):
                error = stale_surplus()
            self._fail(error)
            return
        if response is not None:
            self._complete(response, may_reuse=parser.may_reuse)
        self._hand_on(data)

    def _complete(self, response: HttpResponse, *, may_reuse: bool) -> None:
        self._parser = None
        self._response = response
        self._has_answered = True
        self._is_ended = self._is_ended or not may_reuse

    def _hand_on(self, data: bytes) -> None:
        self._received += data
        if len(self._received) > _WAITING_BYTES_MAX and not self._is_paused:
            self._is_paused = True
            cast("asyncio.Transport", self._transport).pause_reading()
        self._wake()

    def _closed_early(self, exc: Exception | None = None) -> WorkerError:
        """The error for a connection that ended before its response."""
        if self._error is not None:
            return self._error
        what = closed_early(self._parser, exc, is_silent=self._is_silent)
        is_stale = self._has_answered and self._is_silent
        return StaleConnectionError(what) if is_stale else self._failure(what)

    def _failure(self, problem: str) -> TransientError:
        return _failure(self._proxy, problem)

    def _fail(self, error: WorkerError) -> None:
        self._error = error
        self._is_ended = True
        if self._transport is not None:
            self._transport.abort()
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _failure(proxy: Proxy | None, problem: str) -> TransientError:
    if proxy is None:
        return TransientError(problem)
    return TransientError(f"the proxy {proxy.shown}: {problem}", hint=PROXY_HINT)
