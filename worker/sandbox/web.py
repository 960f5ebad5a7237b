"""HTTP requests, responses and refusals of both stand-ins, and their server."""

import contextlib
import socket
import socketserver
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from http.client import responses
from http.server import BaseHTTPRequestHandler
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import unquote

import msgspec

Headers: TypeAlias = dict[str, str]
Delivery: TypeAlias = Literal["complete", "dropped", "truncated", "reset"]
"""``dropped``: the connection is closed without an answer. ``truncated``: after half of the body.
``reset``: after half of the body, with a TCP reset."""

ALGORITHMS: Final = tuple(
    f"{family}{size}" for family in ("RS", "PS", "ES") for size in (256, 384, 512)
)
"""HelseID's algorithms for assertions and DPoP proofs (HelseID reference, section 4)."""

BODY_BYTES_MAX: Final = 64 * 1024
_NO_CONTENT: Final = 204


@dataclass(frozen=True, slots=True)
class Request:
    """A complete HTTP request.

    Attributes:
        headers: their names in lower case.
    """

    method: str
    path: str
    query: str
    headers: list[tuple[str, str]]
    body: bytes

    def all(self, name: str) -> list[str]:
        """All values of a header."""
        return [value for key, value in self.headers if key == name]

    def header(self, name: str) -> str | None:
        """The first value of a header."""
        return next(iter(self.all(name)), None)

    @property
    def media_type(self) -> str:
        """The media type without parameters, lower case."""
        return (self.header("content-type") or "").partition(";")[0].strip().lower()


@dataclass(frozen=True, slots=True)
class Response:
    """A response, with its delay and delivery."""

    status: int
    body: bytes = b""
    headers: Headers = field(default_factory=dict)
    media_type: str = "application/json"
    delay_s: float = 0.0
    delivery: Delivery = "complete"


def json_response(value: object, status: int = 200, headers: Headers | None = None) -> Response:
    """A response with a JSON document."""
    return Response(status, msgspec.json.encode(value), headers or {})


def problem(status: int, headers: Headers | None = None, **more: Any) -> Response:
    """Problem details (RFC 9457) in ASP.NET's format, without values of the request."""
    document = {
        # 15.5.1 is the section of status 400, 15.5.2 that of 401, and so on.
        "type": f"https://tools.ietf.org/html/rfc9110#section-15.5.{status - 399}",
        "title": responses[status],
        "status": status,
        **more,
    }
    return Response(
        status, msgspec.json.encode(document), headers or {}, "application/problem+json"
    )


# Refusals.

NO_STORE: Final[Headers] = {
    "cache-control": "no-store, no-cache, max-age=0",
    "pragma": "no-cache",
}


class RefusedError(Exception):
    """A request is refused.

    Attributes:
        error: the code of OAuth (RFC 6749) or DPoP (RFC 9449). Empty if there are no credentials.
        description: the client's text, in Duende's words where they are known.
        reason: for the counts, without personal values.
        nonce: for the next DPoP proof.
    """

    def __init__(
        self, error: str, description: str = "", *, reason: str = "", nonce: str = ""
    ) -> None:
        super().__init__(error)
        self.error = error
        self.description = description
        self.reason = reason or description or error or "no token"
        self._nonce = {"dpop-nonce": nonce} if nonce else {}

    def at_token_endpoint(self) -> Response:
        """The response of HelseID: always 400, as in Duende."""
        fields = {"error": self.error, "error_description": self.description}
        body = {name: value for name, value in fields.items() if value}
        return json_response(body, 400, NO_STORE | self._nonce)

    def at_api(self, style: str) -> Response:
        """The response of an API.

        Style ``dpop`` follows RFC 9449, and ``bearer`` follows NHN's sample. The sample reports an
        invalid DPoP proof with ``context.Fail``, for which ASP.NET's handler sends no description.
        It describes errors of the token itself, and sends no challenge with a 403 (PTS reference,
        section 13).
        """
        status = 403 if self.error == "insufficient_scope" else 401
        description = f', error_description="{self.description}"'
        if style == "bearer":
            challenge = 'Bearer error="invalid_token"' if self.error else "Bearer"
            challenge += description if isinstance(self, TokenRefusedError) else ""
        else:
            challenge = f'DPoP algs="{" ".join(ALGORITHMS)}"'
            challenge = f'DPoP error="{self.error}"{description}' if self.error else challenge
        has_challenge = status == 401 or style != "bearer"  # noqa: PLR2004
        headers = {"www-authenticate": challenge} if has_challenge else {}
        return problem(status, headers | self._nonce)


class TokenRefusedError(RefusedError):
    """An access token is not accepted."""

    def __init__(self, reason: str) -> None:
        super().__init__("invalid_token", f"The token is not accepted: {reason}.")


# The server.


class Server(socketserver.ThreadingTCPServer):
    """A port of loopback. ``serve_forever`` starts a thread for each connection.

    Attributes:
        answer: answers a request.
        now: the server's clock, for the ``Date`` header: seconds since 1970.

    Raises:
        OSError: the port is in use. ``filename`` has its number.
    """

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 500
    answer: Callable[[Request], Response]
    now: Callable[[], float]

    def __init__(self, port: int) -> None:
        try:
            super().__init__(("127.0.0.1", port), _Connection)
        except OSError as error:
            raise OSError(error.errno, error.strerror, f"port {port}") from None
        self.port: int = self.server_address[1]


class _Connection(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server
    connection: socket.socket

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):  # the client closed the connection
            super().handle()

    def _answer(self) -> None:
        length = int(self.headers.get("content-length", 0))
        # The body is not read, so the connection cannot be used again.
        if length > BODY_BYTES_MAX:
            self.close_connection = True
            self._send(problem(413))
            return
        path, _, query = self.path.partition("?")
        headers = [(name.lower(), value) for name, value in self.headers.items()]
        body = self.rfile.read(length)
        response = self.server.answer(Request(self.command, unquote(path), query, headers, body))
        time.sleep(response.delay_s)
        self._send(response)

    def __getattr__(self, name: str) -> Callable[[], None]:
        """Answer every method, unknown ones with 405."""
        if not name.startswith("do_"):
            raise AttributeError(name)
        return self._answer

    def _send(self, response: Response) -> None:
        """Send the response, or the part that its delivery specifies."""
        headers = {"date": formatdate(self.server.now(), usegmt=True), **response.headers}
        if response.status != _NO_CONTENT:  # which has no length (RFC 9110, section 8.6)
            headers["content-length"] = str(len(response.body))
        if response.body:
            headers["content-type"] = f"{response.media_type}; charset=utf-8"
        lines = [f"HTTP/1.1 {response.status} {responses.get(response.status, '')}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        head = "\r\n".join((*lines, "", "")).encode("latin-1")
        body = b"" if self.command == "HEAD" else response.body
        if response.delivery == "complete":
            self.wfile.write(head + body)
            return
        self.close_connection = True
        if response.delivery != "dropped":
            self.wfile.write(head + body[: len(body) // 2])
        if response.delivery == "reset":
            time.sleep(0.01)  # let the client receive the first half before the reset
            linger = struct.pack("ii", 1, 0)  # on, for 0 s: close() sends RST instead of FIN
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.connection.close()

    def log_message(self, *_: object) -> None:
        """Log nothing."""
