"""HTTP client for HelseID, with retries and error messages.

Each attempt sends a newly built request, because HelseID may refuse a repeated assertion or proof.
"""

import ssl
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import anyio
import httpx
import orjson
import structlog

from worker.core.content_coding import decoded
from worker.core.hosts import is_loopback, place_of
from worker.core.retry import (
    StatusClass,
    classify,
    instant_after,
    parse_http_date,
    parse_retry_after,
)
from worker.errors import ConfigurationError, ContractError, TransientError, UnavailableError
from worker.helseid.options import HelseIdOptions
from worker.ports import HttpResponse, Runtime
from worker.proxy import PROXY_HINT, Proxy, is_refusal, proxy_for, proxy_refusal, status_of_refusal
from worker.retries import FailedAttempt, with_retries
from worker.tls import client_context

_BODY_BYTES_MAX: Final = 1_048_576
_ATTEMPT_S_MAX: Final = 30.0
_CONNECT_S_MAX: Final = 10.0
_RETRY_AFTER_S_MAX: Final = 300.0
"""A longer ``Retry-After`` fails the call at once."""
_LIMITS: Final = httpx.Limits(max_connections=4)
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


class NoAnswerError(Exception):
    """The attempt gave no answer, or one that cannot be HelseID's. It is repeated."""

    def __init__(self, problem: str, *, hint: str = "", is_transient: bool = True) -> None:
        super().__init__(problem)
        self.problem = problem
        self.hint = hint
        self.is_transient = is_transient


def helseid_client(
    tls: ssl.SSLContext | None = None,
    *,
    attempt_s_max: float = _ATTEMPT_S_MAX,
    proxy: Proxy | None = None,
) -> httpx.AsyncClient:
    """An HTTP client for HelseID: verified TLS 1.2 or newer, no redirects, no proxy variables.

    Args:
        tls: trusted authorities; None: the system's.
        attempt_s_max: timeout of each connect, read and write. ``HelseIdOptions.attempt_s_max``
            limits the attempt.
    """
    return httpx.AsyncClient(
        transport=_Routes(tls or client_context(), proxy),
        trust_env=False,
        follow_redirects=False,
        timeout=httpx.Timeout(attempt_s_max, connect=min(attempt_s_max, _CONNECT_S_MAX)),
        headers={
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": "pts-sync-worker",
        },
    )


class _Routes(httpx.AsyncBaseTransport):
    """Sends requests to loopback directly and all others through the proxy."""

    def __init__(self, context: ssl.SSLContext, proxy: Proxy | None) -> None:
        self._proxy = proxy
        self._direct = httpx.AsyncHTTPTransport(verify=context, limits=_LIMITS)
        self._proxied = None
        if proxy is not None:
            self._proxied = httpx.AsyncHTTPTransport(
                verify=context, limits=_LIMITS, proxy=proxy.for_httpx(context)
            )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """See ``httpx.AsyncBaseTransport``.

        Raises:
            ConfigurationError: the proxy refuses permanently.
        """
        proxy = proxy_for(self._proxy, request.url.host)
        if proxy is None or self._proxied is None:
            return await self._direct.handle_async_request(request)
        try:
            return await self._proxied.handle_async_request(request)
        except httpx.ProxyError as error:
            status = status_of_refusal(error)
            if is_refusal(status):
                raise proxy_refusal(proxy, status) from None
            raise httpx.ProxyError(
                f"the proxy {proxy.shown} cannot reach {request.url.host} (status {status})"
            ) from None
        except httpx.ConnectError as error:
            if _tls_error(error) is not None:
                raise
            raise httpx.ProxyError(f"cannot connect to the proxy {proxy.shown}") from None
        except httpx.ConnectTimeout:
            raise httpx.ProxyError(
                f"timeout connecting to {request.url.host} through the proxy {proxy.shown}"
            ) from None

    async def aclose(self) -> None:
        """Close all connections."""
        await self._direct.aclose()
        if self._proxied is not None:
            await self._proxied.aclose()


def require_safe_url(url: str, *, key: str) -> None:
    """Require an ``https`` URL, or ``http`` to loopback.

    Raises:
        ConfigurationError: it is neither.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        is_valid = bool(host) and parts.port != 0 and parts.username is None
    except ValueError:
        raise ConfigurationError(f"{key}: is not a URL") from None
    if not is_valid or parts.scheme not in {"https", "http"}:
        raise ConfigurationError(f"{key}: is not an https URL")
    if parts.scheme == "http" and not is_loopback(host):
        raise ConfigurationError(
            f"{key}: http:// is allowed for loopback addresses only", hint="use https://"
        )


class HelseIdClient:
    """Sends requests to HelseID and retries transient failures."""

    def __init__(self, http: httpx.AsyncClient, options: HelseIdOptions, runtime: Runtime) -> None:
        self._http = http
        self._options = options
        self._runtime = runtime

    async def call(
        self,
        make_request: Callable[[], Awaitable[httpx.Request]],
        read: Callable[[HelseIdResponse], T],
    ) -> T:
        """Send a request, and retry transient failures after a delay.

        Retries lost connections, timeouts, 5xx, 408, 425, 429 and what ``read`` does not take for
        an answer. Obeys ``Retry-After``.

        Args:
            make_request: builds a new request for each attempt.
            read: what a response says; raises ``NoAnswerError`` if it is no answer. What else it
                raises ends the retries.

        Raises:
            UnavailableError: all attempts failed, ``Retry-After`` is too long, or HelseID's
                certificate is not trusted.
            ConfigurationError: the proxy refuses.
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
            except NoAnswerError as error:
                return self._failed(error, number, wait_s)

        return await with_retries(
            attempt,
            policy=self._options.retry,
            runtime=self._runtime,
            before_wait=lambda number, failed, wait_s: _log.info(
                "helseid.attempt_failed", attempt=number, problem=failed.problem, wait_s=wait_s
            ),
        )

    def _failed(self, error: NoAnswerError, number: int, wait_s: float | None) -> FailedAttempt:
        """The attempt, for a retry.

        Raises:
            UnavailableError: it must not be repeated.
        """
        if not error.is_transient:
            raise UnavailableError(f"HelseID: {error.problem}", hint=error.hint) from None
        if wait_s is not None and wait_s > _RETRY_AFTER_S_MAX:
            raise UnavailableError(
                f"HelseID: {error.problem}, Retry-After {wait_s:.0f} s",
                hint="try again later",
                not_before=instant_after(self._runtime.now(), wait_s),
            ) from None
        failed = UnavailableError(f"HelseID: {error.problem} ({number} attempts)", hint=error.hint)
        return FailedAttempt(failed, error.problem, wait_s)

    def new_request(
        self, method: str, url: str, *, headers: dict[str, str] | None = None, **content: object
    ) -> httpx.Request:
        """A request with the client's default headers; ``content`` is passed to httpx."""
        return self._http.build_request(method, url, headers=headers, **content)  # type: ignore[arg-type]

    async def _attempt(self, request: httpx.Request) -> HelseIdResponse:
        try:
            with anyio.fail_after(self._options.attempt_s_max):
                response = await self._http.send(request, stream=True)
                try:
                    body = await _read(response)
                finally:
                    await response.aclose()
        except TimeoutError:
            raise NoAnswerError(
                f"no response within {self._options.attempt_s_max:.0f} s",
                hint="check whether the network or HelseID is slow",
            ) from None
        except httpx.HTTPError as error:
            # Not "from error": httpx's errors hold the request, which holds the assertion.
            raise _explain(error, request.url) from None
        return HelseIdResponse(
            status=response.status_code,
            headers={name: tuple(response.headers.get_list(name)) for name in response.headers},
            body=body,
            clock_ahead_s=clock_ahead_s(response.headers.get("date"), self._runtime.now()),
        )


async def _read(response: httpx.Response) -> bytes:
    """The body, limited before and after decoding: httpx itself decodes without a limit."""
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > _BODY_BYTES_MAX:
            raise _unusable(f"a response of more than {_BODY_BYTES_MAX} bytes")
    try:
        codings = response.headers.get_list("content-encoding")
        return bytes(decoded(body, codings, bytes_max=_BODY_BYTES_MAX))
    except (ContractError, TransientError) as error:
        raise _unusable(error.message) from None


def _unusable(problem: str) -> NoAnswerError:
    return NoAnswerError(problem, hint="check that helseid.issuer is HelseID's")


def _lasting(response: HelseIdResponse) -> HelseIdResponse:
    if classify(response.status) is StatusClass.TRANSIENT:
        raise NoAnswerError(f"answered {response.status}")
    return response


def clock_ahead_s(date_header: str | None, now: datetime) -> float | None:
    """Seconds that ``now`` is ahead of a ``Date`` header; None without a valid header."""
    at = parse_http_date(date_header)
    return None if at is None else (now - at).total_seconds()


def _explain(error: httpx.HTTPError, url: httpx.URL) -> NoAnswerError:
    """Translate an httpx error into a message and a hint."""
    tls_error = _tls_error(error)
    where = place_of(str(url))
    if isinstance(tls_error, ssl.SSLCertVerificationError):
        return NoAnswerError(
            f"the TLS certificate of {where} is not trusted: {tls_error.verify_message}",
            hint="check this machine's clock and CA store; set tls.ca_file for a private CA",
            is_transient=False,
        )
    if isinstance(error, httpx.ProxyError):
        return NoAnswerError(str(error), hint=PROXY_HINT)
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return NoAnswerError(
            f"cannot connect to {where}",
            hint="check DNS, the firewall and helseid.issuer",
        )
    if isinstance(error, httpx.TimeoutException):
        return NoAnswerError(f"{where} did not respond in time", hint="try again later")
    return NoAnswerError(
        f"the connection to {where} was lost ({type(error).__name__})", hint="try again later"
    )


def _tls_error(error: BaseException | None) -> ssl.SSLError | None:
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return error
        error = error.__cause__ or error.__context__
    return None
