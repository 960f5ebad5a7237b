"""Reads the responses on one connection with httptools (llhttp). No I/O.

llhttp rejects ambiguous responses: two lengths, a length beside chunks, bare line feeds, folded
headers. This module also limits sizes, and rejects codings and bytes after the end.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NoReturn

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from worker.core.value import Value
from worker.errors import ContractError, TransientError, WorkerError

HEADER_BYTES_MAX: Final = 32 * 1024
"""Maximum size of everything except the body: status lines and headers, also of interim responses,
chunk extensions and trailers. Checked as they arrive."""
_CHUNK_LINES_BYTES: Final = 8
"""Size and line breaks of a chunk, which do not count as headers."""

_INTERIM: Final = range(100, 200)
_SWITCHING_PROTOCOLS: Final = 101
_VERSIONS: Final = frozenset({"1.0", "1.1"})
_BODILESS: Final = frozenset({204, 304})
_PLAIN: Final = frozenset({"", "identity"})
"""Content codings that change nothing."""


class HttpResponse(Value, frozen=True, kw_only=True):
    """A complete HTTP response.

    Attributes:
        headers: values by lower-case name, one per occurrence of the header.
        body: the body, not a copy. Do not modify it.
    """

    hidden = frozenset({"headers", "body"})

    status: int
    headers: Mapping[str, Sequence[str]]
    body: bytes | bytearray

    def header(self, name: str) -> str | None:
        """The first value of a header by its lower-case name."""
        values = self.headers.get(name)
        return values[0] if values else None


class ResponseReader:
    """Reads one response after another. Call ``expect`` before each.

    Args:
        body_bytes_max: maximum size of a body.

    Attributes:
        has_head: the headers of the final response are complete.
        may_reuse: the connection can be used for another exchange.
    """

    def __init__(self, body_bytes_max: int) -> None:
        self._body_bytes_max = body_bytes_max
        self._parser = HttpResponseParser(self)
        self.expect()

    def expect(self) -> None:
        """Begin a new response."""
        self._status = 0
        self._headers: dict[str, list[str]] = {}
        self._body = bytearray()
        # All bytes received, without the size lines of chunks: a body may have any number of them.
        self._counted_bytes = 0
        self._rejection: WorkerError | None = None
        self._is_complete = self.has_head = self.may_reuse = False

    def feed(self, data: bytes) -> bool:
        """Add bytes. Return whether the response is complete.

        Raises:
            TransientError: it is not HTTP, surplus bytes follow it, or its end is not marked.
            ContractError: it is encoded or too large.
        """
        self._counted_bytes += len(data)
        error: WorkerError | None = None
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade):
            # httptools replaces an error from a callback with its own.
            error = surplus_error() if self._is_complete else self._rejection or _not_http_error()
        if error is None and self._counted_bytes - len(self._body) > HEADER_BYTES_MAX:
            error = ContractError("the response's headers are too large")
        if error is not None:
            raise error
        return self._is_complete

    @property
    def received(self) -> int:
        """The bytes of the body so far."""
        return len(self._body)

    def take(self) -> HttpResponse:
        """Return and release the complete response."""
        body, self._body = self._body, bytearray()
        return HttpResponse(status=self._status, headers=self._headers, body=body)

    # --- called by httptools ---

    def on_message_begin(self) -> None:
        """An interim response, the final one, or surplus bytes."""
        if self._is_complete:
            self._reject(surplus_error())
        self._headers = {}

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header. A trailer is ignored (RFC 9110 §6.5)."""
        if not self.has_head:
            key, text = name.decode("latin-1").lower(), value.decode("latin-1").rstrip(" \t")
            self._headers.setdefault(key, []).append(text)

    def on_headers_complete(self) -> None:
        """The end of a head."""
        self._status = status = self._parser.get_status_code()
        if self._parser.get_http_version() not in _VERSIONS:
            self._reject(_not_http_error())
        # 101 would hand the connection over to another protocol, which the worker never requests.
        if status == _SWITCHING_PROTOCOLS or status < _INTERIM.start:
            self._reject(ContractError(f"status {status} is not a final response"))
        if status in _INTERIM:
            return
        self._check_body()
        self.has_head = True

    def on_chunk_header(self) -> None:
        """A chunk begins."""
        self._counted_bytes -= _CHUNK_LINES_BYTES

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        if self._is_complete:
            self._reject(surplus_error())
        self._body += body
        if len(self._body) > self._body_bytes_max:
            self._reject_too_large()

    def on_message_complete(self) -> None:
        """The end of an interim response or of the final one."""
        self._is_complete = self.has_head
        self.may_reuse = self._parser.should_keep_alive()

    def _check_body(self) -> None:
        """Reject an encoded body, and a body without a length or an end mark."""
        lengths = [int(value) for value in self._headers.get("content-length", ())]
        transfers = [value.lower() for value in self._headers.get("transfer-encoding", ())]
        codings = {value.lower() for value in self._headers.get("content-encoding", ())}
        if not codings <= _PLAIN:
            self._reject(ContractError("the response has a content coding that was not requested"))
        if transfers not in ([], ["chunked"]):
            self._reject(ContractError("the response has a transfer coding other than chunked"))
        if lengths and lengths[0] > self._body_bytes_max and self._status not in _BODILESS:
            self._reject_too_large()
        if not (lengths or transfers or self._status in _BODILESS):
            # A truncated response would look complete.
            self._reject(TransientError("nothing marks the end of the response"))

    def _reject_too_large(self) -> NoReturn:
        self._reject(ContractError(f"a response of more than {self._body_bytes_max} bytes"))

    def _reject(self, error: WorkerError) -> NoReturn:
        """Stop the parser with an error. The parser itself does not keep it."""
        self._rejection = error
        raise error


def _not_http_error() -> TransientError:
    return TransientError("not HTTP: something else answers there")


def surplus_error() -> TransientError:
    """The error for surplus bytes, which make it unclear which bytes are the response."""
    return TransientError("surplus bytes follow the response")
