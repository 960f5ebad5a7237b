"""HTTP requests and responses of both stand-ins."""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, TypeAlias

import orjson

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers: TypeAlias = tuple[tuple[bytes, bytes], ...]

_NO_CONTENT: Final = 204
BODY_BYTES_MAX: Final = 64 * 1024

JSON: Final = b"application/json; charset=utf-8"
PROBLEM: Final = b"application/problem+json; charset=utf-8"
HTML: Final = b"text/html; charset=utf-8"


class Delivery(Enum):
    """How much of a response reaches the client."""

    COMPLETE = "complete"
    DROPPED = "dropped"
    """The connection is closed without sending anything."""
    RESET = "reset"
    """Half of the body, then a TCP reset."""
    TRUNCATED = "truncated"
    """Half of the body, then a normal close."""


@dataclass(frozen=True, slots=True)
class Request:
    """A complete HTTP request.

    Attributes:
        origin: public scheme, host and port; empty: those of the ``Host`` header.
        connection: sequence number of the connection.
    """

    method: str
    path: str
    query_string: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes
    origin: str = ""
    connection: int = 0

    def all(self, name: bytes) -> list[str]:
        """All values of a header, by lower-case name."""
        return [value.decode("latin-1") for key, value in self.headers if key == name]

    def header(self, name: bytes) -> str | None:
        """The first value of a header, by lower-case name."""
        return next((value.decode("latin-1") for key, value in self.headers if key == name), None)

    @property
    def url(self) -> str:
        """Scheme, host and path, which ``htu`` must equal."""
        origin = self.origin or f"http://{self.header(b'host') or ''}"
        return f"{origin}{self.path}"

    @property
    def media_type(self) -> str:
        """The media type without parameters, lower case."""
        return (self.header(b"content-type") or "").partition(";")[0].strip().lower()


@dataclass(frozen=True, slots=True)
class Response:
    """A response, with its delay and how it is delivered."""

    status: int
    body: bytes = b""
    content_type: bytes = JSON
    headers: Headers = ()
    delay_s: float = 0.0
    delivery: Delivery = Delivery.COMPLETE


def json_response(value: object, status: int = 200, headers: Headers = ()) -> Response:
    """A response with a JSON document."""
    return Response(status, orjson.dumps(value), JSON, headers)


def problem(
    status: int,
    title: str,
    *,
    errors: dict[str, list[str]] | None = None,
    headers: Headers = (),
) -> Response:
    """Problem details (RFC 9457) in ASP.NET's format, without values of the request."""
    document: dict[str, Any] = {
        "type": f"https://tools.ietf.org/html/rfc9110#section-15.5.{status - 399}",
        "title": title,
        "status": status,
    }
    if errors:
        document["errors"] = errors
    return Response(status, orjson.dumps(document), PROBLEM, headers)


class SearchError(Exception):
    """A search is refused with 400.

    Attributes:
        errors: messages by place, without values.
    """

    def __init__(self, errors: dict[str, list[str]]) -> None:
        super().__init__(", ".join(errors))
        self.errors = errors

    def response(self) -> Response:
        """Problem details that name the places."""
        return problem(400, "One or more validation errors occurred.", errors=self.errors)


def header_line(name: str, value: str) -> tuple[bytes, bytes]:
    """A header line for ``Response``."""
    return name.encode("ascii"), value.encode("latin-1")


async def read_request(scope: Scope, receive: Receive) -> Request | None:
    """The complete request; None if its body is larger than ``BODY_BYTES_MAX``."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        body: bytes = message.get("body", b"")
        size += len(body)
        if size > BODY_BYTES_MAX:
            return None
        parts.append(body)
        if not message.get("more_body", False):
            break
    return Request(
        scope["method"],
        scope["path"],
        scope.get("query_string", b""),
        scope["headers"],
        b"".join(parts) if len(parts) > 1 else parts[0],
        connection=scope["state"]["connection"],
    )


async def deliver(response: Response, scope: Scope, receive: Receive, send: Send) -> None:
    """Send the response, or the part that its delivery specifies."""
    if response.delay_s:
        await asyncio.sleep(response.delay_s)
    transport: asyncio.Transport = scope["state"]["transport"]
    if response.delivery is Delivery.DROPPED:
        transport.close()
        await receive()
        return
    # A 204 has no length (RFC 9110, section 8.6).
    length = (
        () if response.status == _NO_CONTENT else ((b"content-length", b"%d" % len(response.body)),)
    )
    headers: Iterable[tuple[bytes, bytes]] = (
        *length,
        *(((b"content-type", response.content_type),) if response.body else ()),
        *response.headers,
    )
    await send({"type": "http.response.start", "status": response.status, "headers": list(headers)})
    if response.delivery is Delivery.COMPLETE:
        await send({"type": "http.response.body", "body": response.body})
        return
    half = response.body[: len(response.body) // 2]
    await send({"type": "http.response.body", "body": half, "more_body": True})
    if response.delivery is Delivery.RESET:
        await asyncio.sleep(0.01)  # let the client receive the first half before the reset
        _disable_linger(transport.get_extra_info("socket"))
        transport.abort()
    else:
        transport.close()
    await receive()


def _disable_linger(connection: socket.socket | None) -> None:
    if connection is not None:
        linger = struct.pack("ii", 1, 0)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
