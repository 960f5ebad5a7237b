"""HTTP client for HelseID, with retries and error messages.

Each attempt sends a newly built request, because HelseID may refuse a repeated assertion or proof.
"""

import copy
import ssl
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, Final, TypeVar

import httpx
import orjson
import structlog

from worker.core.hosts import place_of
from worker.core.retry import (
    RetryPolicy,
    StatusClass,
    classify,
    parse_http_date,
    parse_retry_after,
)
from worker.errors import (
    AreaError,
    ConfigurationError,
    OpenFilesError,
    TransientError,
    UnavailableError,
)
from worker.helseid.options import HelseIdOptions
from worker.http.options import TransportOptions
from worker.http.transport import USER_AGENT, Transport, headers_of
from worker.ports import HttpResponse, Runtime
from worker.proxy import Proxy
from worker.retries import FailedAttempt, with_retries

_BODY_BYTES_MAX: Final = 1_048_576
_RETRY_AFTER_S_MAX: Final = 300.0
"""A longer ``Retry-After`` fails the call at once."""
_ONCE: Final = RetryPolicy(attempts_max=1)
_log = structlog.get_logger(__name__)
T = TypeVar("T")


class HelseIdResponse(HttpResponse, frozen=True, kw_only=True):
    """A complete response from HelseID. Its body is never logged: it may hold a token.

    Attributes:
        clock_ahead_s: how far this machine's clock is ahead of the ``Date`` header, accurate to
            1 to 2 s; None without the header.
    """

    clock_ahead_s: float | None

    def json(self) -> Any:
        """The JSON in the body; None if it is not JSON."""
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return None


def helseid_client(
    tls: ssl.SSLContext | None = None,
    *,
    attempt_s_max: float = 30.0,
    proxy: Proxy | None = None,
) -> httpx.AsyncClient:
    """An HTTP client for HelseID: verified TLS 1.2 or newer, no redirects, no proxy variables.

    Args:
        tls: trusted authorities; None: the system's.
        attempt_s_max: maximum time of an attempt.
    """
    options = TransportOptions(
        server="HelseID",
        attempt_s_max=attempt_s_max,
        response_bytes_max=_BODY_BYTES_MAX,
        tls=tls,
        proxy=proxy,
    )
    return httpx.AsyncClient(
        transport=Transport(options),
        trust_env=False,
        headers={
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": USER_AGENT,
        },
    )


class HelseIdClient:
    """Sends requests to HelseID and retries transient failures."""

    def __init__(self, http: httpx.AsyncClient, options: HelseIdOptions, runtime: Runtime) -> None:
        self._http = http
        self._options = options
        self._runtime = runtime
        self._failure: UnavailableError | None = None
        self._quiet_until_s = 0.0

    async def call(
        self,
        make_request: Callable[[], Awaitable[httpx.Request]],
        read: Callable[[HelseIdResponse], T],
    ) -> T:
        """Send a request, and retry transient failures after a delay.

        Retries lost connections, timeouts, 5xx, 408, 425, 429 and what ``read`` does not take for
        an answer. Obeys ``Retry-After``, also by failing without a request. After a call that
        failed there is one attempt only, until a call succeeds: the caller knows when to ask again.

        Args:
            make_request: builds a new request for each attempt.
            read: what a response says; raises ``TransientError`` if it is no answer. What else it
                raises ends the retries.

        Raises:
            UnavailableError: all attempts failed, ``Retry-After`` is too long, or a certificate is
                not accepted.
            ConfigurationError: the proxy refuses, or this process may not open another file.
        """

        async def attempt(number: int) -> T | FailedAttempt:
            wait_s = None
            try:
                response = await self._attempt(await make_request())
                wait_s = parse_retry_after(
                    response.header("retry-after"),
                    self._runtime.now(),
                    date=response.header("date"),
                )
                return read(_lasting(response))
            except AreaError as error:
                return self._failed(error, number, wait_s)

        failure = self._failure
        if failure is not None and self._runtime.monotonic() < self._quiet_until_s:
            raise copy.copy(failure)
        self._failure = None
        try:
            return await with_retries(
                attempt,
                policy=self._options.retry if failure is None else _ONCE,
                runtime=self._runtime,
                before_wait=lambda number, failed, wait_s: _log.info(
                    "helseid.attempt_failed", attempt=number, problem=failed.problem, wait_s=wait_s
                ),
            )
        except UnavailableError as error:
            self._failure = error
            raise

    def _failed(self, error: AreaError, number: int, wait_s: float | None) -> FailedAttempt:
        """The attempt, for a retry.

        Raises:
            UnavailableError: it must not be repeated.
        """
        self._quiet_until_s = self._runtime.monotonic() + (wait_s or 0.0)
        if wait_s is not None and wait_s > _RETRY_AFTER_S_MAX:
            raise UnavailableError(
                f"HelseID: {error.message}, Retry-After {wait_s:.0f} s",
                hint="try again later",
            ) from None
        kind = ConfigurationError if isinstance(error, OpenFilesError) else UnavailableError
        failed = kind(f"HelseID: {error.message} ({number} attempts)", hint=error.hint)
        return FailedAttempt(failed, error.message, wait_s)

    def new_request(
        self, method: str, url: str, *, headers: dict[str, str] | None = None, **content: object
    ) -> httpx.Request:
        """A request with the client's default headers; ``content`` is passed to httpx."""
        return self._http.build_request(method, url, headers=headers, **content)  # type: ignore[arg-type]

    async def _attempt(self, request: httpx.Request) -> HelseIdResponse:
        try:
            response = await self._http.send(request)
        except AreaError as error:
            error.message = f"{place_of(str(request.url))}: {error.message}"
            error.hint = error.hint or "check DNS, the firewall and helseid.issuer"
            raise
        return HelseIdResponse(
            status=response.status_code,
            headers=headers_of(response),
            body=response.content,
            clock_ahead_s=clock_ahead_s(response.headers.get("date"), self._runtime.now()),
        )


def _lasting(response: HelseIdResponse) -> HelseIdResponse:
    if classify(response.status) is StatusClass.TRANSIENT:
        raise TransientError(f"answered {response.status}")
    return response


def clock_ahead_s(date_header: str | None, now: datetime) -> float | None:
    """Seconds that ``now`` is ahead of a ``Date`` header; None without a valid header."""
    at = parse_http_date(date_header)
    return None if at is None else (now - at).total_seconds()
