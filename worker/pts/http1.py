"""HTTP/1.1 for one kind of call: a POST, answered with a body that is read whole.

A connection writes one request and parses one answer with llhttp (by way of ``httptools``, the
parser of uvicorn). It knows no redirects, cookies, proxies, upgrades or pipelining, and it never
resends: what is not here cannot go wrong at night, and costs nothing. ADR 0002 has the figures.
"""

import asyncio
import zlib
from typing import Final, cast

import httptools

from worker.errors import ContractError, StaleConnectionError, TransientError, WorkerError
from worker.ports import HttpResponse
from worker.pts.turns import Inbox, Outbox

HEADER_BYTES_MAX: Final = 32 * 1024
"""More header bytes than this are not an answer of PTS."""

_FIRST_FINAL_STATUS: Final = 200
_BODILESS: Final = frozenset({204, 304})
_INFLATERS: Final = {"gzip": 31, "x-gzip": 31, "deflate": 47}
"""Window bits for ``zlib``: gzip alone, or zlib with its header found out."""


class Connection(asyncio.Protocol):
    """One connection to the server; it carries one exchange at a time.

    Args:
        loop: the loop it lives on.
        outbox: what its requests go out through.
        inbox: what its answers come in through.
        body_bytes_max: a larger body is refused while it comes in.
        silence_s_max: the longest time between two bytes of an answer.
        attempt_s_max: the longest time for one exchange.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        outbox: Outbox,
        inbox: Inbox,
        *,
        body_bytes_max: int,
        silence_s_max: float,
        attempt_s_max: float,
    ) -> None:
        self._loop = loop
        self._outbox = outbox
        self._inbox = inbox
        self._body_bytes_max = body_bytes_max
        self._silence_s_max = silence_s_max
        self._attempt_s_max = attempt_s_max
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._answered: asyncio.Future[HttpResponse] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._began_s = self._heard_s = 0.0
        self.idle_since_s = 0.0
        self.is_usable = True
        self._is_proven = False
        self._begin()

    async def exchange(self, request: bytes) -> HttpResponse:
        """Write a request and give its answer. On any error the connection is not usable again.

        Raises:
            TransientError: no whole answer came.
            ContractError: what came is no HTTP, or is too large.
        """
        transport = self._transport
        if transport is None or not self.is_usable:
            raise StaleConnectionError("the connection was closed before an answer")
        self._began_s = self._heard_s = self._loop.time()
        self._begin()
        answered: asyncio.Future[HttpResponse] = self._loop.create_future()
        self._answered = answered
        wait_s = min(self._silence_s_max, self._attempt_s_max)
        self._timer = self._loop.call_later(wait_s, self._look_at_the_clock)
        self._outbox.put(transport, request)
        try:
            return await answered
        except WorkerError as fault:
            raise fault from None
        except asyncio.CancelledError:
            self.close()
            raise
        finally:
            self._answered = None
            self._timer.cancel()

    def close(self) -> None:
        """Drop the connection."""
        self.is_usable = False
        if self._transport is not None:
            self._transport.abort()

    # --- called by the loop ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See ``asyncio.Protocol``."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        """See ``asyncio.Protocol``."""
        if self._answered is None or self._answered.done():
            self.close()  # nothing was asked: whatever this is, it answers no request of ours
            return
        self._heard_s = max(self._loop.time(), self._began_s + 1e-9)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as fault:
            own = fault.__context__
            if isinstance(own, WorkerError):
                self._fail(own)
            elif self._is_proven and not self._status:
                # What an earlier answer had too much: it answers no request of ours.
                self._fail(StaleConnectionError("an earlier answer was longer than it said"))
            else:
                self._fail(ContractError("the answer is not HTTP"))
        except httptools.HttpParserUpgrade:
            self._fail(ContractError("the answer leaves HTTP"))

    def eof_received(self) -> bool:
        """The server says no more: the end of a body that came without a length (RFC 9112 §6.3)."""
        if self._answered is not None and self._is_open_ended:
            self.on_message_complete()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """See ``asyncio.Protocol``."""
        self.is_usable = False
        if self._answered is None:
            return
        where = "the answer was cut short" if self._status else "the connection broke"
        if exc is None and not self._status:
            where = "the connection was closed before an answer"
        name = f" ({type(exc).__name__})" if exc is not None else ""
        is_stale = self._is_proven and self._heard_s == self._began_s
        self._fail((StaleConnectionError if is_stale else TransientError)(f"{where}{name}"))

    # --- called by the parser ---

    def on_message_begin(self) -> None:
        """Another answer. A second one to one request belongs to nobody, least of all the next."""
        if self._answered is None or self._answered.done():
            self.close()
            return
        self._begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header line."""
        self._header_bytes += len(name) + len(value)
        if self._header_bytes > HEADER_BYTES_MAX:
            raise ContractError("the answer's headers are too large")
        key = name.decode("latin-1").lower()
        text = value.decode("latin-1")
        before = self._headers.get(key)
        self._headers[key] = (text,) if before is None else (*before, text)

    def on_headers_complete(self) -> None:
        """The status is known, and how the body ends."""
        self._status = self._parser.get_status_code()
        headers = self._headers
        self._is_open_ended = (
            "content-length" not in headers
            and "transfer-encoding" not in headers
            and self._status not in _BODILESS
        )
        length = headers.get("content-length", ("0",))[0]
        if length.isdigit() and int(length) > self._body_bytes_max:
            raise self._too_large()

    def on_body(self, data: bytes) -> None:
        """A part of the body."""
        self._size += len(data)
        if self._size > self._body_bytes_max:
            raise self._too_large()
        self._parts.append(data)

    def on_message_complete(self) -> None:
        """The answer is whole."""
        if self._status < _FIRST_FINAL_STATUS:
            return  # an interim answer (RFC 9110 §15.2); the one that counts follows
        answered = self._answered
        if answered is None or answered.done():
            return
        if self._is_open_ended or not self._parser.should_keep_alive():
            self.is_usable = False
        body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        try:
            body = self._inflated(body)
        except WorkerError as fault:
            self._fail(fault)
            return
        self._is_proven = True
        self._answered = None  # whatever comes now belongs to nobody, and takes nothing away
        self._inbox.put(
            answered, HttpResponse(status=self._status, headers=self._headers, body=body)
        )

    # --- ours ---

    def _begin(self) -> None:
        self._status = 0
        self._headers: dict[str, tuple[str, ...]] = {}
        self._header_bytes = 0
        self._parts: list[bytes] = []
        self._size = 0
        self._is_open_ended = False

    def _inflated(self, body: bytes) -> bytes:
        """The body without the content coding that the server chose against our wish.

        Raises:
            TransientError: it cannot be decoded.
            ContractError: the coding is unknown, or the content is too large.
        """
        coding = self._headers.get("content-encoding", ("identity",))[0].strip().lower()
        if coding == "identity" or not body:
            return body
        bits = _INFLATERS.get(coding)
        if bits is None:
            raise ContractError("the answer is in a content coding that was not asked for")
        inflater = zlib.decompressobj(bits)
        try:
            content = inflater.decompress(body, self._body_bytes_max + 1)
        except zlib.error:
            raise TransientError("the answer was cut short or cannot be decoded") from None
        if len(content) > self._body_bytes_max:
            raise self._too_large()
        if not inflater.eof:
            raise TransientError("the answer was cut short or cannot be decoded")
        return content

    def _too_large(self) -> ContractError:
        return ContractError(f"an answer of more than {self._body_bytes_max} bytes")

    def _look_at_the_clock(self) -> None:
        if self._answered is None:
            return
        now_s = self._loop.time()
        left_s = min(
            self._heard_s + self._silence_s_max - now_s,
            self._began_s + self._attempt_s_max - now_s,
        )
        if left_s <= 0:
            self._fail(TransientError("no whole answer in time"))
        else:
            self._timer = self._loop.call_later(left_s, self._look_at_the_clock)

    def _fail(self, fault: WorkerError) -> None:
        self.is_usable = False
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(fault)
        if self._transport is not None:
            self._transport.abort()
