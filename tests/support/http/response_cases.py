"""Responses, byte by byte, and what may become of each.

The subjects are those of the test suites of public HTTP parsers (llhttp, h11, CPython's
http.client, Go's net/http); the bytes are made up. Where a reader may be lenient, a case allows
every reading that is right, and refusing it: no case allows a body of other bytes.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from tests.support.http.calls import REFUSED, TRANSIENT, Outcome, chunked, response


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What the server sends, whether it closes then, and what may come of it."""

    name: str
    data: bytes
    allowed: frozenset[Outcome]
    closes: bool = False


BODY: frozenset[Outcome] = frozenset({b"[1]"})
SPACED: frozenset[Outcome] = frozenset({b"[          1]"})
EMPTY: frozenset[Outcome] = frozenset({b""})


def head(*lines: str, status_line: str = "HTTP/1.1 200 OK") -> bytes:
    """A status line and headers, as they are given."""
    return "\r\n".join((status_line, *lines, "", "")).encode("latin-1")


STATUS_LINES: dict[str, tuple[str, frozenset[Outcome]]] = {
    "as usual": ("HTTP/1.1 200 OK", BODY),
    "no reason": ("HTTP/1.1 200", BODY),
    "an error status": ("HTTP/1.1 503 Busy", BODY),
    "version 1.0": ("HTTP/1.0 200 OK", BODY),
    "version 2.0": ("HTTP/2.0 200 OK", REFUSED),
    "no version": ("HTTP 200 OK", REFUSED),
    "a request": ("POST / HTTP/1.1", REFUSED),
    "an empty line before all": ("\r\nHTTP/1.1 200 OK", BODY | REFUSED),
    "no status": ("HTTP/1.1 OK", REFUSED),
    "a status of two digits": ("HTTP/1.1 20 OK", REFUSED),
    "a reason with a zero byte": ("HTTP/1.1 200 O\0K", REFUSED),
}

FIELDS: dict[str, tuple[str, frozenset[Outcome]]] = {
    "an empty value": ("X-A:", BODY),
    "many fields": ("\r\n".join(f"X-{number}: b" for number in range(90)), BODY),
    "a value over two lines": ("X-A: b\r\n c", BODY | REFUSED),
    "a first line that continues nothing": (" X-A: b", REFUSED),
    "a space before the colon": ("X-A : b", REFUSED),
    "no colon": ("X-A", REFUSED),
    "a value with a zero byte": ("X-A: b\0c", REFUSED),
    "a value with a carriage return": ("X-A: b\rX-B: c", REFUSED),
    "close": ("Connection: close", BODY),
}

LENGTHS: dict[str, tuple[str, frozenset[Outcome]]] = {
    "padded with zeros": ("Content-Length: 0003", BODY | REFUSED),
    "twice the same": ("Content-Length: 3\r\nContent-Length: 3", BODY | REFUSED),
    "twice with two values": ("Content-Length: 3\r\nContent-Length: 2", REFUSED),
    "nothing": ("Content-Length:", REFUSED),
    "below zero": ("Content-Length: -3", REFUSED),
    "with a letter": ("Content-Length: 3x", REFUSED),
    "beyond 64 bits": ("Content-Length: 18446744073709551619", REFUSED),
    "with chunks": ("Content-Length: 3\r\nTransfer-Encoding: chunked", REFUSED),
    "of zero, and a body in chunks": ("Transfer-Encoding: chunked\r\nContent-Length: 0", REFUSED),
    "with an empty transfer coding": ("Transfer-Encoding:\r\nContent-Length: 3", BODY | REFUSED),
}

TRANSFER_CODINGS: dict[str, tuple[str, frozenset[Outcome]]] = {
    "large letters": ("Transfer-Encoding: CHUNKED", BODY),
    "compressed": ("Transfer-Encoding: gzip", REFUSED),
    "compressed, then in chunks": ("Transfer-Encoding: gzip, chunked", REFUSED),
    "in chunks of chunks": ("Transfer-Encoding: chunked, chunked", REFUSED),
    "as it is": ("Transfer-Encoding: identity", REFUSED),
    "a word that begins otherwise": ("Transfer-Encoding: xchunked", REFUSED),
}  # fmt: skip

CHUNKS: dict[str, tuple[bytes, frozenset[Outcome]]] = {
    "one": (b"3\r\n[1]\r\n0\r\n\r\n", BODY),
    "three": (b"1\r\n[\r\n1\r\n1\r\n1\r\n]\r\n0\r\n\r\n", BODY),
    "a hexadecimal size": (b"1\r\n[\r\nA\r\n          \r\n2\r\n1]\r\n0\r\n\r\n", SPACED),
    "an extension": (b"3;a\r\n[1]\r\n0\r\n\r\n", BODY),
    "no size": (b"\r\n[1]\r\n0\r\n\r\n", REFUSED),
    "a size below zero": (b"-3\r\n[1]\r\n0\r\n\r\n", REFUSED),
    "a size beyond 64 bits": (b"10000000000000003\r\n[1]\r\n0\r\n\r\n", REFUSED),
    "line feeds alone": (b"3\n[1]\n0\n\n", BODY | REFUSED),
    "a size too small": (b"2\r\n[1]\r\n0\r\n\r\n", REFUSED),
    "a size too large": (b"4\r\n[1]\r\n0\r\n\r\n", REFUSED),
    "no line break after the data": (b"3\r\n[1]0\r\n\r\n", REFUSED),
    "a body without chunks": (b"[1]\r\n\r\n", REFUSED),
    "trailers": (b"3\r\n[1]\r\n0\r\nX-A: b\r\nX-C:\r\n\r\n", BODY),
    "a response in place of trailers": (
        b"3\r\n[1]\r\n0\r\n" + response(b"[2]"), REFUSED,
    ),
    "a chunk after the last": (b"3\r\n[1]\r\n0\r\n1\r\n2\r\n0\r\n\r\n", REFUSED),
}  # fmt: skip

CUT: dict[str, bytes] = {
    "nothing": b"",
    "in the status": b"HTTP/1.1 2",
    "in a field": b"HTTP/1.1 200 OK\r\nContent-Le",
    "in the last line break": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r",
    "after an interim response": b"HTTP/1.1 100 Continue\r\n\r\n",
    "before the body": response(b"", length=3),
    "in the body": response(b"[1", length=3),
    "in a size": chunked(b"[", end=b"2"),
    "in a chunk": chunked(b"[", end=b"2\r\n1"),
    "before the last chunk": chunked(b"[1]", end=b""),
    "before the trailers": chunked(b"[1]", end=b"0\r\n"),
}
"""The server ends the connection there: always transient, since another attempt may get more."""

OTHERS: tuple[Case, ...] = (
    Case(name="no fields, until the end", data=head() + b"[1]", allowed=BODY, closes=True),
    Case(name="nothing until the end", data=head(), allowed=EMPTY, closes=True),
    Case(
        name="version 1.0 with keep-alive, until the end",
        data=head("Connection: keep-alive", status_line="HTTP/1.0 200 OK") + b"[1]",
        allowed=BODY,
        closes=True,
    ),
    Case(
        name="line feeds alone",
        data=b"HTTP/1.1 200 OK\nContent-Length: 3\n\n[1]",
        allowed=BODY | REFUSED,
    ),
    Case(name="no content", data=head(status_line="HTTP/1.1 204 No Content"), allowed=EMPTY),
    Case(
        name="not modified, of a length",
        data=head("Content-Length: 3", status_line="HTTP/1.1 304 Not Modified"),
        allowed=EMPTY,
    ),
    Case(name="continue", data=b"HTTP/1.1 100 Continue\r\n\r\n" + response(), allowed=BODY),
    Case(
        name="three interim responses",
        data=head("Link: </a>", status_line="HTTP/1.1 103 Early Hints")
        + head(status_line="HTTP/1.1 102 Processing")
        + head("X-A: b", status_line="HTTP/1.1 199 Hm")
        + response(),
        allowed=BODY,
    ),
    Case(
        name="an interim response with a body",
        data=head("Content-Length: 3", status_line="HTTP/1.1 103 Early Hints")
        + b"[2]"
        + response(),
        allowed=REFUSED,
    ),
    Case(
        name="another protocol",
        data=head("Connection: upgrade", "Upgrade: h2c", status_line="HTTP/1.1 101 Switching")
        + b"[1]",
        allowed=REFUSED,
        closes=True,
    ),
    Case(name="a page of HTML", data=b"<p>Out of order</p>\r\n\r\n", allowed=REFUSED, closes=True),
    Case(name="HTTP/2", data=b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0d", allowed=REFUSED, closes=True),
)  # fmt: skip


def cases() -> Iterator[Case]:
    """Every case."""
    for name, (line, allowed) in STATUS_LINES.items():
        data = head("Content-Length: 3", status_line=line) + b"[1]"
        yield Case(name=f"status line: {name}", data=data, allowed=allowed)
    for name, (line, allowed) in FIELDS.items():
        data = head(line, "Content-Length: 3") + b"[1]"
        yield Case(name=f"field: {name}", data=data, allowed=allowed)
    for name, (line, allowed) in LENGTHS.items():
        is_chunked = "chunked" in line
        data = head(line) + (b"3\r\n[1]\r\n0\r\n\r\n" if is_chunked else b"[1]")
        yield Case(name=f"length: {name}", data=data, allowed=allowed)
    for name, (line, allowed) in TRANSFER_CODINGS.items():
        data = head(line) + b"3\r\n[1]\r\n0\r\n\r\n"
        for closes, ending in (False, ""), (True, ", then closed"):
            whole = f"transfer coding: {name}{ending}"
            yield Case(name=whole, data=data, allowed=allowed, closes=closes)
    for name, (chunks, allowed) in CHUNKS.items():
        data = head("Transfer-Encoding: chunked") + chunks
        yield Case(name=f"chunks: {name}", data=data, allowed=allowed)
    for name, data in CUT.items():
        yield Case(name=f"cut: {name}", data=data, allowed=TRANSIENT, closes=True)
    yield from OTHERS


ALL = {case.name: case for case in cases()}
