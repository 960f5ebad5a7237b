"""Responses of every kind, byte by byte: the right body, or none.

There is a case for each leniency of llhttp that could be switched on, and for each line of
``worker/http/response.py``. Where a reader may be lenient, a case allows every right reading and a
refusal, but never another body.
"""

from dataclasses import dataclass

import pytest

from tests.support.http.calls import (
    CONTRACT,
    CUT,
    OPTIONS,
    REFUSED,
    TRANSIENT,
    Outcome,
    chunked,
    outcome,
    response,
)
from tests.support.raw_server import Reply, raw_server
from worker.http.transport import Transport


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What the server sends, whether it closes then, and what may come of it."""

    data: bytes
    allowed: frozenset[Outcome]
    closes: bool = False


BODY: frozenset[Outcome] = frozenset({b"[1]"})
EMPTY: frozenset[Outcome] = frozenset({b""})


def head(*lines: str, status_line: str = "HTTP/1.1 200 OK") -> bytes:
    """A status line and headers, as they are given."""
    return "\r\n".join((status_line, *lines, "", "")).encode("latin-1")


STATUS_LINES: dict[str, frozenset[Outcome]] = {
    "HTTP/1.1 200 Pr\xf8vd": BODY,
    "HTTP/1.1 299 Hm": BODY,
    "HTTP/1.1 503 Busy": BODY,
    "HTTP/1.0 200 OK": BODY,
    "HTTP/1.2 200 OK": BODY | REFUSED,
    "HTTP/0.9 200 OK": BODY | REFUSED,
    "HTTP/7.4 200 OK": REFUSED,
    "http/1.1 200 OK": REFUSED,
    " HTTP/1.1 200 OK": REFUSED,
    "\r\nHTTP/1.1 200 OK": BODY | REFUSED,
    "HTTP/1.1 OK": REFUSED,
    "HTTP/1.1 2000 OK": REFUSED,
    "HTTP/1.1 050 OK": REFUSED,
}

FIELDS: dict[str, frozenset[Outcome]] = {
    "X-A: \t b \t": BODY,
    "X-A:\r\nX-B: bl\xe5": BODY,
    "X-A: b\r\n c": BODY | REFUSED,
    " X-A: b": BODY | REFUSED,
    "X-A : b": REFUSED,
    "X-A": REFUSED,
    "X-A: b\0c": REFUSED,
    "X-A: b\rX-B: c": REFUSED,
    "Connection: upgrade\r\nUpgrade: h2c": BODY,
    "Connection: keep-alive, Close": BODY,
    "Content-Encoding: Identity": BODY,
    "Content-Encoding:": BODY,
    "Content-Encoding: GZIP": CONTRACT,
    "Content-Encoding: identity, br": CONTRACT,
    "Content-Encoding: identity\r\nContent-Encoding: deflate": CONTRACT,
}
"""Before a length, and after it."""

LENGTHS: dict[str, frozenset[Outcome]] = {
    "Content-Length: 0003": BODY | REFUSED,
    "content-LENGTH: 3": BODY,
    "Content-Length: 3\r\nContent-Length: 2": REFUSED,
    "Content-Length: 3\r\nContent-Length: 3": BODY | REFUSED,
    "Content-Length: 3, 2": REFUSED,
    "Content-Length: 3, 3": BODY | REFUSED,
    "Content-Length:": REFUSED,
    "Content-Length: 3x": REFUSED,
    "Content-Length: 0 3": REFUSED,
    "Content-Length: 18446744073709551619": REFUSED,
    "Transfer-Encoding:\r\nContent-Length: 3": BODY | REFUSED,
}

CODINGS: dict[str, frozenset[Outcome]] = {
    "Transfer-Encoding: CHUNKED": BODY,
    "Transfer-Encoding: gzip": REFUSED,
    "Transfer-Encoding: gzip, chunked": REFUSED,
    "Transfer-Encoding: chunked, deflate": REFUSED,
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked": BODY | REFUSED,
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity": REFUSED,
    "Content-Length: 3\r\nTransfer-Encoding: chunked": REFUSED,
    "Transfer-Encoding: chunked\r\nContent-Length: 0": REFUSED,
}
"""Of a body in one chunk."""

CHUNKS: dict[bytes, frozenset[Outcome]] = {
    b"1\r\n[\r\n2\r\n1]\r\n0\r\n\r\n": BODY,
    b"3;a=b;c\r\n[1]\r\n0;e=f\r\n\r\n": BODY,
    b"3  \r\n[1]\r\n0  \r\n\r\n": BODY | REFUSED,
    b"10000000000000003\r\n[1]\r\n0\r\n\r\n": REFUSED,
    b"3\n[1]\n0\n\n": BODY | REFUSED,
    b"2\r\n[1]\r\n0\r\n\r\n": REFUSED,
    b"3\r\n[1]0\r\n\r\n": REFUSED,
    b"[1]\r\n\r\n": REFUSED,
    b"3\r\n[1]\r\n0\r\nX-A: b\r\n\r\n": BODY,
    b"3\r\n[1]\r\n0\r\nX-A\r\n\r\n": REFUSED,
    b"3\r\n[1]\r\n0\r\n" + response(b"[2]"): REFUSED,
}

HINTS, SWITCHING = "HTTP/1.1 103 Early Hints", "HTTP/1.1 101 Switching"
NO_CONTENT, NOT_MODIFIED = "HTTP/1.1 204 No Content", "HTTP/1.1 304 Not Modified"
WHOLE: tuple[tuple[bytes, frozenset[Outcome]], ...] = (
    (head("Connection: keep-alive", "Content-Length: 3", status_line="HTTP/1.0 200 OK") + b"[1]",
        BODY),
    (b"HTTP/1.1 200 OK\nContent-Length: 3\n\n[1]", BODY | REFUSED),
    (head(status_line=NO_CONTENT), EMPTY),
    (head("Content-Length: 3", status_line=NO_CONTENT), EMPTY | REFUSED),
    (head("Content-Length: 3", status_line=NOT_MODIFIED), EMPTY),
    (head("Transfer-Encoding: chunked", status_line=NOT_MODIFIED), EMPTY | REFUSED),
    (response(b""), EMPTY),
    (chunked(), EMPTY),
    (b"HTTP/1.1 100 Continue\r\n\r\n" + response(), BODY),
    (head("Link: </a>", status_line=HINTS) + head(status_line="HTTP/1.1 199 Hm") + response(),
        BODY),
    (head("Content-Encoding: br", status_line=HINTS) + response(), BODY),
    (head("Content-Length: 3", status_line=HINTS) + b"[2]" + response(), REFUSED),
    (head("Upgrade: h2c", status_line=SWITCHING) + response(), REFUSED),
)  # fmt: skip

LAST: tuple[tuple[bytes, frozenset[Outcome]], ...] = (
    (head() + b"[1]", TRANSIENT),
    (head("Connection: keep-alive", status_line="HTTP/1.0 200 OK") + b"[1]", TRANSIENT),
    (head("Transfer-Encoding: identity") + b"[1]", REFUSED),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r[1]", REFUSED),
    (head("Connection: upgrade", "Upgrade: h2c", status_line=SWITCHING) + b"[1]", REFUSED),
    (b"<p>Out of order</p>\r\n\r\n", REFUSED),
    (b"\x15\x03\x03\x00\x02\x02\x46", REFUSED),
    (b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0d", REFUSED),
    (b"HTTP/2.0 200 OK\r\nContent-Length: 3\r\n\r\n[1]", REFUSED),
)
"""The server closes the connection behind each of these."""

LENGTH, CHUNKED, ONE = "Content-Length: 3", "Transfer-Encoding: chunked", b"3\r\n[1]\r\n0\r\n\r\n"
DATA = (
    *((head(LENGTH, status_line=line) + b"[1]", allowed) for line, allowed in STATUS_LINES.items()),
    *((head(line, LENGTH) + b"[1]", allowed) for line, allowed in FIELDS.items()),
    *((head(LENGTH, line) + b"[1]", allowed) for line, allowed in FIELDS.items()),
    *((head(line) + b"[1]", allowed) for line, allowed in LENGTHS.items()),
    *((head(line) + ONE, allowed) for line, allowed in CODINGS.items()),
    *((head(CHUNKED) + chunks, allowed) for chunks, allowed in CHUNKS.items()),
    *WHOLE,
)
ALL = (
    *(Case(data=data, allowed=allowed) for data, allowed in DATA),
    *(Case(data=data, allowed=allowed, closes=True) for data, allowed in LAST),
    *(Case(data=data, allowed=TRANSIENT, closes=True) for data in CUT.values()),
)
"""Each comes at once and in drips."""
NEXT = b'["next"]'


@pytest.mark.promise("1")
@pytest.mark.parametrize("is_dripped", [False, True], ids=["at once", "in drips"])
async def test_responses(is_dripped):
    """Each response gives its body or the right error; the next request gets its own response."""
    wrong = {}
    async with Transport(OPTIONS) as transport:
        for case in ALL:
            reply = Reply(
                data=case.data,
                then="close" if case.closes else "keep",
                slices=20 if is_dripped else 1,
            )
            async with raw_server(reply, Reply(data=response(NEXT))) as server:
                first = await outcome(transport, server.url)
                following = await outcome(transport, server.url)
            if first not in case.allowed or following not in TRANSIENT | {NEXT}:
                wrong[case.data] = (first, following)
    assert wrong == {}
