"""Parses one HTTP/1.1 response to a POST from received bytes; does no I/O.

It is stricter than RFC 9112: ambiguous responses are refused. It knows where the response ends, so
it detects surplus bytes. httptools (llhttp) does not fit: it does not report where a response ends,
keeps header lines of any length, reads an unknown transfer coding as body, and reports trailers as
headers.
"""

import re
from collections.abc import Mapping
from typing import Final, Protocol

from worker.core.content_coding import decoded, too_large
from worker.errors import ContractError, StaleConnectionError, TransientError
from worker.ports import HttpResponse

HEADER_BYTES_MAX: Final = 32 * 1024
"""Maximum size of everything but the body: status lines and headers, also of interim responses,
chunk extensions and trailers. Counted while they arrive."""

_FIELDS: Final = rb"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*\r\n)*"
_HEAD: Final = re.compile(
    rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: [\t\x20-\x7e\x80-\xff]*)?\r\n(" + _FIELDS + rb")\r\n"
)
_TRAILERS: Final = re.compile(rb"\r\n" + _FIELDS)
_SIZE: Final = rb"([0-9A-Fa-f]{1,16})([\t ]*(?:;[\t\x20-\x7e\x80-\xff]*)?)\r\n"
_FIRST_CHUNK: Final = re.compile(_SIZE)
_NEXT_CHUNK: Final = re.compile(rb"\r\n" + _SIZE)
_LINE_MAY_END: Final = re.compile(rb"[\r\n]")
_LINE_START: Final = 2
"""Length of the line break before a chunk size."""
_LENGTH: Final = re.compile(r"[0-9]{1,18}")
_START: Final = b"HTTP/1."

_SWITCHING_PROTOCOLS: Final = 101
_FIRST_FINAL_STATUS: Final = 200
_BODILESS: Final = frozenset({204, 304})


class _Body(Protocol):
    """Finds the end of a body."""

    def feed(self, data: bytes) -> bytes | bytearray | None:
        """Add bytes; return the body once it is complete.

        Raises:
            TransientError: surplus bytes follow the body.
            ContractError: the body is too large, or its chunks cannot be parsed.
        """
        ...


class ResponseParser:
    """Parses one response incrementally.

    Args:
        body_bytes_max: maximum size of the body, encoded and decoded.

    Attributes:
        has_status: the headers of the final response are complete.
        may_reuse: the connection can carry another request after this response.
    """

    def __init__(self, body_bytes_max: int) -> None:
        self._body_bytes_max = body_bytes_max
        self._overhead = 0
        self._unread = bytearray()
        self._status = 0
        self._headers: Mapping[str, tuple[str, ...]] = {}
        self._body: _Body | None = None
        self.has_status = False
        self.may_reuse = False

    def feed(self, data: bytes) -> HttpResponse | None:
        """Add bytes; return the response once its last byte has arrived.

        Raises:
            TransientError: surplus bytes follow the response, or its body cannot be decoded.
            ContractError: it is not HTTP or is too large.
        """
        if self._body is None:
            data = self._feed_head(data)
            if self._body is None:
                return None
        content = self._body.feed(data)
        return None if content is None else self._response(content)

    def feed_eof(self) -> HttpResponse | None:
        """A response whose body ends with the connection (RFC 9112 §6.3); None if truncated.

        Raises:
            TransientError: its body cannot be decoded.
            ContractError: it is too large when decoded, or has an unknown coding.
        """
        if isinstance(self._body, _OpenBody):
            return self._response(self._body.content())
        return None

    def _feed_head(self, data: bytes) -> bytes:
        """Parse status lines and headers up to the final response; return the bytes after them.

        Searches only new bytes, so that headers sent byte by byte stay cheap.
        """
        seen, at = len(self._unread), 0
        buffer: bytes | bytearray = data
        if seen:
            buffer = self._unread
            buffer += data
        while buffer.find(b"\r\n\r\n", max(at, seen - 3)) >= 0:
            head = _HEAD.match(buffer, at)
            if head is None:
                raise _not_http()
            self._overhead = _sum_of_overhead(self._overhead, head.end() - at)
            at = head.end()
            self._status = int(head[2])
            if self._status == _SWITCHING_PROTOCOLS:
                raise ContractError("the response switches protocols")
            if self._status >= _FIRST_FINAL_STATUS:
                self._headers = _headers(head[3])
                self._begin_body(is_http_1_0=head[1] == b"0")
                self._unread = bytearray()
                return bytes(buffer[at:])
        self._unread = (
            buffer if isinstance(buffer, bytearray) and not at else bytearray(buffer[at:])
        )
        self._check_head(max(seen - at, 0))
        return b""

    def _check_head(self, seen: int) -> None:
        """Check that an incomplete head can still become a valid one."""
        buffer = self._unread
        _sum_of_overhead(self._overhead, len(buffer))
        begins_as_http = buffer.startswith(_START[: len(buffer)])
        lines = buffer.count(b"\n", seen)
        if not begins_as_http or lines != buffer.count(b"\r\n", max(seen - 1, 0)):
            raise _not_http()

    def _begin_body(self, *, is_http_1_0: bool) -> None:
        """Decide how the body ends (RFC 9112 §6.3) and whether the connection is reusable."""
        lengths = self._headers.get("content-length", ())
        codings = self._headers.get("transfer-encoding", ())
        is_bodiless = self._status in _BODILESS
        body: _Body
        if is_bodiless:
            body = _LengthBody(0)
        elif codings:
            if len(codings) > 1 or codings[0].lower() != "chunked" or lengths or is_http_1_0:
                raise ContractError("the length of the response is ambiguous")
            body = _ChunkedBody(self._body_bytes_max, self._overhead)
        elif lengths:
            if len(lengths) > 1 or not _LENGTH.fullmatch(lengths[0]):
                raise ContractError("the length of the response is ambiguous")
            length = int(lengths[0])
            if length > self._body_bytes_max:
                raise too_large(self._body_bytes_max)
            body = _LengthBody(length)
        else:
            body = _OpenBody(self._body_bytes_max)
        self._body = body
        self.has_status = True
        self.may_reuse = not (
            is_http_1_0
            or is_bodiless
            or isinstance(body, _OpenBody)
            or "close" in " ".join(self._headers.get("connection", ())).lower()
        )

    def _response(self, content: bytes | bytearray) -> HttpResponse:
        codings = self._headers.get("content-encoding", ())
        if codings:
            content = decoded(content, codings, bytes_max=self._body_bytes_max)
        return HttpResponse(status=self._status, headers=self._headers, body=content)


class _LengthBody:
    """A body of a declared length."""

    def __init__(self, length: int) -> None:
        self._left = length
        self._content = bytearray()

    def feed(self, data: bytes) -> bytes | bytearray | None:
        if len(data) > self._left:
            raise surplus()
        self._left -= len(data)
        if not self._left and not self._content:
            return data
        self._content += data
        return None if self._left else self._content


class _OpenBody:
    """A body that ends with the connection."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._content = bytearray()

    def feed(self, data: bytes) -> None:
        self._content += data
        if len(self._content) > self._bytes_max:
            raise too_large(self._bytes_max)

    def content(self) -> bytearray:
        return self._content


class _ChunkedBody:
    """A body in chunks (RFC 9112 §7.1). Extensions and trailers are ignored."""

    def __init__(self, bytes_max: int, overhead: int) -> None:
        self._bytes_max = bytes_max
        self._overhead = overhead
        self._content = bytearray()
        self._left = 0
        self._unread = bytearray()
        self._line = _FIRST_CHUNK
        self._has_ended = False

    def feed(self, data: bytes) -> bytearray | None:
        unread, is_trailer = self._unread, self._has_ended
        if is_trailer:
            return self._feed_trailers(data)
        if len(unread) > _LINE_START and not _LINE_MAY_END.search(unread[-1:] + data):
            unread += data  # a line sent byte by byte is not searched from its start again
            _sum_of_overhead(self._overhead, len(unread))
            return None
        buffer = bytes(unread) + data if unread else data
        self._unread = bytearray()
        at = 0
        while not self._has_ended:
            part = buffer[at : at + self._left]
            self._content += part
            self._left -= len(part)
            at += len(part)
            if self._left:
                return None
            line = self._line.match(buffer, at)
            if line is None:
                self._keep_line(buffer[at:])
                return None
            self._begin_chunk(int(line[1], 16), len(line[2]))
            at = line.end() - 2 * self._has_ended
        return self._feed_trailers(buffer[at:])

    def _begin_chunk(self, size: int, extension_bytes: int) -> None:
        self._overhead = _sum_of_overhead(self._overhead, extension_bytes)
        if len(self._content) + size > self._bytes_max:
            raise too_large(self._bytes_max)
        self._left = size
        self._line = _NEXT_CHUNK
        self._has_ended = not size

    def _keep_line(self, rest: bytes) -> None:
        """Keep a partial chunk line until its end arrives."""
        before, rest_of_line = b"", rest
        if self._line is _NEXT_CHUNK:
            before, rest_of_line = rest[:2], rest[2:]
        is_broken = b"\n" in rest_of_line or b"\r" in rest_of_line[:-1]
        if is_broken or not b"\r\n".startswith(before):
            raise _not_http()
        _sum_of_overhead(self._overhead, len(rest))
        self._unread = bytearray(rest)

    def _feed_trailers(self, data: bytes) -> bytearray | None:
        """Skip the trailers, from the line break of the last chunk on."""
        seen = len(self._unread)
        self._unread += data
        end = self._unread.find(b"\r\n\r\n", max(seen - 3, 0))
        _sum_of_overhead(self._overhead, (len(self._unread) if end < 0 else end) + 2)
        if end < 0:
            return None
        if not _TRAILERS.fullmatch(self._unread, 0, end + 2):
            raise _not_http()
        if len(self._unread) > end + 4:
            raise surplus()
        return self._content


def surplus() -> TransientError:
    """The error for surplus bytes, which make it unclear which bytes are the response."""
    return TransientError("surplus bytes follow the response")


def stale_surplus() -> StaleConnectionError:
    """The error for bytes that are no response, on a connection that has carried another."""
    return StaleConnectionError("an earlier response was longer than declared")


def closed_early(parser: ResponseParser | None, exc: Exception | None, *, is_silent: bool) -> str:
    """How the connection ended before the response was complete.

    Args:
        is_silent: the server has sent nothing since the request.
    """
    if parser is not None and parser.has_status:
        what = "the response was truncated"
    elif exc is None and is_silent:
        what = "the connection was closed before a response"
    else:
        what = "the connection broke"
    return what if exc is None else f"{what} ({type(exc).__name__})"


def _sum_of_overhead(size: int, more: int) -> int:
    """The new size of everything but the body.

    Raises:
        ContractError: it exceeds ``HEADER_BYTES_MAX``.
    """
    if size + more > HEADER_BYTES_MAX:
        raise ContractError("the response's headers are too large")
    return size + more


def _headers(lines: bytes) -> Mapping[str, tuple[str, ...]]:
    headers: dict[str, tuple[str, ...]] = {}
    for line in lines.decode("latin-1").split("\r\n")[:-1]:
        name, _, value = line.partition(":")
        key, values = name.lower(), (value.strip(" \t"),)
        headers[key] = headers[key] + values if key in headers else values
    return headers


def _not_http() -> ContractError:
    return ContractError("the response is not HTTP")
