"""Calls through the port, and what may come of them."""

from typing import TypeAlias

from worker.errors import ContractError, TransientError, WorkerError
from worker.http.connection import TransportOptions
from worker.http.transport import Transport
from worker.tls import client_context

OPTIONS = TransportOptions(
    attempt_s_max=60.0,
    response_bytes_max=10_000,
    tls=client_context(),  # made once: it reads all authorities
)

Outcome: TypeAlias = bytes | type[WorkerError]

TRANSIENT: frozenset[Outcome] = frozenset({TransientError})
CONTRACT: frozenset[Outcome] = frozenset({ContractError})
REFUSED = TRANSIENT | CONTRACT


async def outcome(
    transport: Transport, url: str, *, body: bytes = b"{}", is_single_use: bool = False
) -> Outcome:
    """The body of the response, or the class of the error: one of the two that a case may name."""
    try:
        connection = await transport.connect(url, is_single_use=True) if is_single_use else None
        response = await transport.post(url, headers={}, body=body, connection=connection)
    except (TransientError, ContractError) as error:
        if not error.__suppress_context__:
            raise AssertionError("a context may hold what was received") from error
        return TransientError if isinstance(error, TransientError) else ContractError
    return bytes(response.body)


def response(
    body: bytes = b"[1]", *headers: str, status: str = "200 OK", length: int | None = None
) -> bytes:
    lines = (f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}")
    return "\r\n".join((*lines, *headers, "", "")).encode("latin-1") + body


def chunked(*parts: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    lines = ("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "", "")
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    return "\r\n".join(lines).encode("latin-1") + chunks + end


CUT: dict[str, bytes] = {
    "nothing": b"",
    "in the status": b"HTTP/1.1 2",
    "after the status line": b"HTTP/1.1 200 OK\r\n",
    "after an interim response": b"HTTP/1.1 100 Continue\r\n\r\n",
    "before the body": response(b"", length=3),
    "in the body": response(b"[1", length=3),
    "before the first chunk": chunked(end=b""),
    "in a chunk": chunked(b"[", end=b"2\r\n1"),
    "before the last chunk": chunked(b"[1]", end=b""),
    "before the trailers": chunked(b"[1]", end=b"0\r\n"),
    "in a trailer": chunked(b"[1]", end=b"0\r\nX-A"),
}
"""The server ends the connection there: always transient, since another attempt may get more."""
