"""Responses, byte by byte, and what may become of each.

The subjects are those of the test suites of public HTTP parsers (llhttp, h11, CPython's
http.client, Go's net/http); the bytes are made up. Where a reader may be lenient, a case allows
every reading that is right, and refusing it: no case allows a body of other bytes.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from tests.support.http.calls import CONTRACT, REFUSED, TRANSIENT, Outcome, chunked, response


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
    "a reason in Latin-1": ("HTTP/1.1 200 Pr\xf8vd", BODY),
    "an unknown final status": ("HTTP/1.1 299 Hm", BODY),
    "an error status": ("HTTP/1.1 503 Busy", BODY),
    "a status beyond the known classes": ("HTTP/1.1 799 Hm", BODY | REFUSED),
    "version 1.0": ("HTTP/1.0 200 OK", BODY),
    "version 7.4": ("HTTP/7.4 200 OK", REFUSED),
    "a request": ("POST / HTTP/1.1", REFUSED),
    "no status": ("HTTP/1.1 OK", REFUSED),
    "a status of four digits": ("HTTP/1.1 2000 OK", REFUSED),
    "a status below 100": ("HTTP/1.1 050 OK", REFUSED),
    "a reason with a carriage return": ("HTTP/1.1 200 O\rK", REFUSED),
}

FIELDS: dict[str, tuple[str, frozenset[Outcome]]] = {
    "spaces and tabs around a value": ("X-A: \t b \t", BODY),
    "an empty value": ("X-A:", BODY),
    "an empty value before another field": ("X-A:\r\nX-B: c", BODY),
    "many fields": ("\r\n".join(f"X-{number}: b" for number in range(90)), BODY),
    "Latin-1 in a value": ("X-A: bl\xe5", BODY),
    "a value over two lines": ("X-A: b\r\n c", BODY | REFUSED),
    "a first line that continues nothing": (" X-A: b", REFUSED),
    "a space before the colon": ("X-A : b", REFUSED),
    "no name": (": b", REFUSED),
    "no colon": ("X-A", REFUSED),
    "a value with a zero byte": ("X-A: b\0c", REFUSED),
    "a value with a carriage return": ("X-A: b\rX-B: c", REFUSED),
    "a wish to leave HTTP": ("Connection: upgrade\r\nUpgrade: h2c", BODY),
    "keep-alive": ("Connection: keep-alive", BODY),
    "close": ("Connection: close", BODY),
    "close among others": ("Connection: keep-alive, Close", BODY),
    "no content coding": ("Content-Encoding: Identity", BODY),
    "an empty content coding": ("Content-Encoding:", BODY),
    "a content coding": ("Content-Encoding: GZIP", CONTRACT),
    "a content coding with a weight": ("Content-Encoding: gzip;q=1", CONTRACT),
    "a content coding in a list": ("Content-Encoding: identity, br", CONTRACT),
    "a content coding in another field": (
        "Content-Encoding: identity\r\nContent-Encoding: deflate", CONTRACT,
    ),
}  # fmt: skip

LENGTHS: dict[str, tuple[str, frozenset[Outcome]]] = {
    "padded with zeros": ("Content-Length: 0003", BODY | REFUSED),
    "twice the same": ("Content-Length: 3\r\nContent-Length: 3", BODY | REFUSED),
    "twice with two values": ("Content-Length: 3\r\nContent-Length: 2", REFUSED),
    "two values in a list": ("Content-Length: 3, 2", REFUSED),
    "small and large letters": ("content-LENGTH: 3", BODY),
    "nothing": ("Content-Length:", REFUSED),
    "below zero": ("Content-Length: -3", REFUSED),
    "with a letter": ("Content-Length: 3x", REFUSED),
    "with a space inside": ("Content-Length: 0 3", REFUSED),
    "beyond 64 bits": ("Content-Length: 18446744073709551619", REFUSED),
    "with chunks": ("Content-Length: 3\r\nTransfer-Encoding: chunked", REFUSED),
    "of zero, and a body in chunks": ("Transfer-Encoding: chunked\r\nContent-Length: 0", REFUSED),
    "with an empty transfer coding": ("Transfer-Encoding:\r\nContent-Length: 3", BODY | REFUSED),
}

TRANSFER_CODINGS: dict[str, tuple[str, frozenset[Outcome]]] = {
    "large letters": ("Transfer-Encoding: CHUNKED", BODY),
    "compressed": ("Transfer-Encoding: gzip", REFUSED),
    "compressed, then in chunks": ("Transfer-Encoding: gzip, chunked", REFUSED),
    "in chunks, then compressed": ("Transfer-Encoding: chunked, deflate", REFUSED),
    "in chunks of chunks": ("Transfer-Encoding: chunked, chunked", REFUSED),
    "in chunks, said twice": (
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", BODY | REFUSED,
    ),
    "in chunks, then as it is": (
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", REFUSED,
    ),
    "as it is": ("Transfer-Encoding: identity", REFUSED),
    "a word that goes on": ("Transfer-Encoding: chunkedchunked", REFUSED),
    "with a parameter": ("Transfer-Encoding: chunked;q=1", REFUSED),
    "over two lines": ("Transfer-Encoding: chunked\r\n x", REFUSED),
}  # fmt: skip

CHUNKS: dict[str, tuple[bytes, frozenset[Outcome]]] = {
    "one": (b"3\r\n[1]\r\n0\r\n\r\n", BODY),
    "a hexadecimal size": (b"1\r\n[\r\nA\r\n          \r\n2\r\n1]\r\n0\r\n\r\n", SPACED),
    "an extension": (b"3;a\r\n[1]\r\n0\r\n\r\n", BODY),
    "extensions with values": (b"3;a=b;c=d\r\n[1]\r\n0;e=f\r\n\r\n", BODY),
    "spaces after the size": (b"3  \r\n[1]\r\n0  \r\n\r\n", BODY | REFUSED),
    "no size": (b"\r\n[1]\r\n0\r\n\r\n", REFUSED),
    "a size below zero": (b"-3\r\n[1]\r\n0\r\n\r\n", REFUSED),
    "a size that is none": (b"g\r\n[1]\r\n0\r\n\r\n", REFUSED),
    "a size beyond 64 bits": (b"10000000000000003\r\n[1]\r\n0\r\n\r\n", REFUSED),
    "line feeds alone": (b"3\n[1]\n0\n\n", BODY | REFUSED),
    "carriage returns alone": (b"3\r[1]\r0\r\r", REFUSED),
    "a size too small": (b"2\r\n[1]\r\n0\r\n\r\n", REFUSED),
    "a size too large": (b"4\r\n[1]\r\n0\r\n\r\n", REFUSED),
    "no line break after the data": (b"3\r\n[1]0\r\n\r\n", REFUSED),
    "two line breaks after the data": (b"3\r\n[1]\r\n\r\n0\r\n\r\n", REFUSED),
    "a body without chunks": (b"[1]\r\n\r\n", REFUSED),
    "a trailer": (b"3\r\n[1]\r\n0\r\nX-A: b\r\n\r\n", BODY),
    "a trailer without a colon": (b"3\r\n[1]\r\n0\r\nX-A\r\n\r\n", REFUSED),
    "a response in place of trailers": (
        b"3\r\n[1]\r\n0\r\n" + response(b"[2]"), REFUSED,
    ),
    "a chunk after the last": (b"3\r\n[1]\r\n0\r\n1\r\n2\r\n0\r\n\r\n", REFUSED),
}  # fmt: skip

CUT: dict[str, bytes] = {
    "nothing": b"",
    "in the version": b"HTT",
    "in the status": b"HTTP/1.1 2",
    "after the status line": b"HTTP/1.1 200 OK\r\n",
    "before the last line break": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n",
    "after an interim response": b"HTTP/1.1 100 Continue\r\n\r\n",
    "before the body": response(b"", length=3),
    "in the body": response(b"[1", length=3),
    "before the first chunk": chunked(end=b""),
    "in a chunk": chunked(b"[", end=b"2\r\n1"),
    "after a chunk's data": chunked(b"[1]", end=b"1\r\n ")[:-2],
    "before the last chunk": chunked(b"[1]", end=b""),
    "before the trailers": chunked(b"[1]", end=b"0\r\n"),
    "in a trailer": chunked(b"[1]", end=b"0\r\nX-A"),
}
"""The server ends the connection there: always transient, since another attempt may get more."""

OTHERS: dict[str, tuple[bytes, frozenset[Outcome]]] = {
    "version 1.0 with a length and keep-alive": (
        head("Connection: keep-alive", "Content-Length: 3", status_line="HTTP/1.0 200 OK")
        + b"[1]", BODY,
    ),
    "line feeds alone": (b"HTTP/1.1 200 OK\nContent-Length: 3\n\n[1]", BODY | REFUSED),
    "line feeds among line breaks": (
        b"HTTP/1.1 200 OK\r\nX-A: b\nContent-Length: 3\r\n\r\n[1]", BODY | REFUSED,
    ),
    "no content": (head(status_line="HTTP/1.1 204 No Content"), EMPTY),
    "no content, of a length": (
        head("Content-Length: 3", status_line="HTTP/1.1 204 No Content"), EMPTY | REFUSED,
    ),
    "not modified, of a length": (
        head("Content-Length: 3", status_line="HTTP/1.1 304 Not Modified"), EMPTY,
    ),
    "not modified, in chunks": (
        head("Transfer-Encoding: chunked", status_line="HTTP/1.1 304 Not Modified"),
        EMPTY | REFUSED,
    ),
    "reset content": (head("Content-Length: 0", status_line="HTTP/1.1 205 Reset Content"), EMPTY),
    "a length of zero": (response(b""), EMPTY),
    "no chunk but the last": (chunked(), EMPTY),
    "continue": (b"HTTP/1.1 100 Continue\r\n\r\n" + response(), BODY),
    "continue in version 1.0": (b"HTTP/1.0 100 Continue\r\n\r\n" + response(), BODY | REFUSED),
    "three interim responses": (
        head("Link: </a>", status_line="HTTP/1.1 103 Early Hints")
        + head(status_line="HTTP/1.1 102 Processing")
        + head("X-A: b", status_line="HTTP/1.1 199 Hm") + response(), BODY,
    ),
    "an interim response of a length": (
        head("Content-Length: 3", status_line="HTTP/1.1 103 Early Hints") + response(),
        BODY | REFUSED,
    ),
    "an interim response with a body": (
        head("Content-Length: 3", status_line="HTTP/1.1 103 Early Hints") + b"[2]" + response(),
        REFUSED,
    ),
    "another protocol after HTTP": (
        head("Upgrade: h2c", status_line="HTTP/1.1 101 Switching") + response(), REFUSED,
    ),
}  # fmt: skip

LAST: dict[str, tuple[bytes, frozenset[Outcome]]] = {
    "no fields, until the end": (head() + b"[1]", TRANSIENT),
    "nothing until the end": (head(), TRANSIENT),
    "version 1.0 with keep-alive, until the end": (
        head("Connection: keep-alive", status_line="HTTP/1.0 200 OK") + b"[1]", TRANSIENT,
    ),
    "version 1.0 in chunks": (
        head("Transfer-Encoding: chunked", status_line="HTTP/1.0 200 OK")
        + b"3\r\n[1]\r\n0\r\n\r\n", BODY | REFUSED,
    ),
    "until the end, in line feeds": (b"HTTP/1.1 200 OK\nX-A: b\n\n[1]", BODY | REFUSED),
    "carriage returns alone": (b"HTTP/1.1 200 OK\rContent-Length: 3\r\r[1]", REFUSED),
    "an end of the fields that is none": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r[1]", REFUSED,
    ),
    "another protocol": (
        head("Connection: upgrade", "Upgrade: h2c", status_line="HTTP/1.1 101 Switching")
        + b"[1]", REFUSED,
    ),
    "a page of HTML": (b"<p>Out of order</p>\r\n\r\n", REFUSED),
    "a greeting": (b"220 mail.example ESMTP\r\n\r\n", REFUSED),
    "TLS": (b"\x15\x03\x03\x00\x02\x02\x46", REFUSED),
    "HTTP/2": (b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0d", REFUSED),
    "HTTP/2.0 in words": (b"HTTP/2.0 200 OK\r\nContent-Length: 3\r\n\r\n[1]", REFUSED),
    "RTSP": (b"RTSP/1.0 200 OK\r\nContent-Length: 3\r\n\r\n[1]", BODY | REFUSED),
    "ICE": (b"ICE/1.0 200 OK\r\nContent-Length: 3\r\n\r\n[1]", BODY | REFUSED),
    "zero bytes": (b"\0" * 64, REFUSED),
}  # fmt: skip
"""The server closes the connection behind each of these."""


def cases() -> Iterator[Case]:
    for name, (line, allowed) in STATUS_LINES.items():
        data = head("Content-Length: 3", status_line=line) + b"[1]"
        yield Case(name=f"status line: {name}", data=data, allowed=allowed)
    for name, (line, allowed) in FIELDS.items():
        data = head(line, "Content-Length: 3") + b"[1]"
        yield Case(name=f"field: {name}", data=data, allowed=allowed)
        data = head("Content-Length: 3", line) + b"[1]"
        yield Case(name=f"last field: {name}", data=data, allowed=allowed)
    for name, (line, allowed) in LENGTHS.items():
        is_chunked = "chunked" in line
        data = head(line) + (b"3\r\n[1]\r\n0\r\n\r\n" if is_chunked else b"[1]")
        yield Case(name=f"length: {name}", data=data, allowed=allowed)
    for name, (line, allowed) in TRANSFER_CODINGS.items():
        for closes in (False, True):
            data = head(line) + b"3\r\n[1]\r\n0\r\n\r\n"
            ending = ", then closed" if closes else ""
            yield Case(
                name=f"transfer coding: {name}{ending}", data=data, allowed=allowed, closes=closes
            )
    for name, (chunks, allowed) in CHUNKS.items():
        data = head("Transfer-Encoding: chunked") + chunks
        yield Case(name=f"chunks: {name}", data=data, allowed=allowed)
    for name, data in CUT.items():
        yield Case(name=f"cut: {name}", data=data, allowed=TRANSIENT, closes=True)
    for closes, others in ((False, OTHERS), (True, LAST)):
        for name, (data, allowed) in others.items():
            yield Case(name=name, data=data, allowed=allowed, closes=closes)


ALL = {case.name: case for case in cases()}
