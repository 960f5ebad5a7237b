"""HTTP client for HelseID, with retries and error messages.

Each attempt sends a newly built request, because HelseID may refuse a repeated assertion or proof.
"""

import copy
import ssl
from collections.abc import Callable
from typing import Any, Final, TypeVar

import httpx
import orjson
import structlog

from worker.core.hosts import place_of
from worker.core.retry import RetryPolicy, StatusClass, classify, parse_retry_after
from worker.errors import (
    AreaError,
    ConfigurationError,
    OpenFilesError,
    TransientError,
    UnavailableError,
)
from worker.http.connection import TransportOptions
from worker.http.proxy import Proxy
from worker.http.transport import USER_AGENT, Transport
from worker.ports import Runtime
from worker.retries import FailedAttempt, with_retries

_BODY_BYTES_MAX: Final = 1_048_576
_RETRY_AFTER_S_MAX: Final = 300.0
"""A longer ``Retry-After`` fails the call at once."""
_HEADERS: Final = {
    "Accept": "application/json",
    "Accept-Encoding": "identity",
    "User-Agent": USER_AGENT,
}
_log = structlog.get_logger(__name__)
T = TypeVar("T")


def helseid_client(
    tls: ssl.SSLContext | None = None, *, attempt_s_max: float = 30.0, proxy: Proxy | None = None
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
    return httpx.AsyncClient(transport=Transport(options), trust_env=False, headers=_HEADERS)


class HelseIdClient:
    """Sends requests to HelseID and retries transient failures.

    Args:
        retry: how often, and after which waits.

    Attributes:
        http: makes the requests.
    """

    def __init__(self, http: httpx.AsyncClient, retry: RetryPolicy, runtime: Runtime) -> None:
        self.http = http
        self._retry = retry
        self._runtime = runtime
        self._failure: UnavailableError | None = None
        self._quiet_until_s = 0.0

    async def call(
        self, make_request: Callable[[], httpx.Request], read: Callable[[httpx.Response], T]
    ) -> T:
        """Send a request, and retry transient failures after a delay.

        Retries lost connections, timeouts, 5xx, 408, 425, 429 and what ``read`` does not take for
        an answer. Obeys ``Retry-After``, also by failing without a request. After a call that
        failed there is one attempt only, until a call succeeds: the caller knows when to ask again.

        Args:
            make_request: builds a new request for each attempt.
            read: what a complete response says; raises ``TransientError`` if it is no answer. What
                else it raises ends the retries.

        Raises:
            UnavailableError: all attempts failed, ``Retry-After`` is too long, or a certificate is
                not accepted.
            ConfigurationError: the proxy refuses, or this process may not open another file.
        """
        before = self._failure
        if before is not None and self._runtime.monotonic() < self._quiet_until_s:
            raise copy.copy(before)
        self._failure = None
        try:
            return await with_retries(
                lambda number: self._attempt(number, make_request(), read),
                policy=self._retry if before is None else RetryPolicy(attempts_max=1),
                runtime=self._runtime,
                before_wait=_log_failed,
            )
        except UnavailableError as error:
            self._failure = error
            raise

    async def _attempt(
        self, number: int, request: httpx.Request, read: Callable[[httpx.Response], T]
    ) -> T | FailedAttempt:
        wait_s = None
        try:
            response = await self._send(request)
            headers = response.headers
            wait_s = parse_retry_after(
                headers.get("retry-after"), self._runtime.now(), date=headers.get("date")
            )
            if classify(response.status_code) is StatusClass.TRANSIENT:
                raise TransientError(f"answered {response.status_code}")
            return read(response)
        except AreaError as error:
            problem, hint, is_ours = error.message, error.hint, isinstance(error, OpenFilesError)
        self._quiet_until_s = self._runtime.monotonic() + (wait_s or 0.0)
        if wait_s is not None and wait_s > _RETRY_AFTER_S_MAX:
            asked = f"HelseID: {problem}, Retry-After {wait_s:.0f} s"
            raise UnavailableError(asked, hint="try again later")
        kind = ConfigurationError if is_ours else UnavailableError
        failure = kind(f"HelseID: {problem} ({number} attempts)", hint=hint)
        return FailedAttempt(failure, wait_s)

    async def _send(self, request: httpx.Request) -> httpx.Response:
        """The complete response; it is never logged, as it may hold a token."""
        try:
            return await self.http.send(request)
        except AreaError as error:
            error.message = f"{place_of(str(request.url))}: {error.message}"
            error.hint = error.hint or "check DNS, the firewall and helseid.issuer"
            raise


def _log_failed(number: int, failed: FailedAttempt, wait_s: float) -> None:
    problem = failed.error.message
    _log.info("helseid.attempt_failed", attempt=number, problem=problem, wait_s=wait_s)


def json_object(response: httpx.Response) -> dict[str, Any] | None:
    """The JSON object in a response; None if it holds something else."""
    try:
        document = orjson.loads(response.content)
    except orjson.JSONDecodeError:
        return None
    return document if isinstance(document, dict) else None
