"""HTTP to HelseID: the client, the calls that are retried, and what went wrong when none came back.

Each attempt is a request of its own making: what HelseID saw once, it may refuse to see again.
"""

import ssl
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final
from urllib.parse import urlsplit

import anyio
import httpx
import structlog

from worker.core.hosts import is_loopback
from worker.core.retry import (
    GiveUp,
    StatusClass,
    classify,
    decide_retry,
    parse_http_date,
    parse_retry_after,
)
from worker.core.value import Value
from worker.errors import ConfigurationError, UnavailableError
from worker.helseid.options import HelseIdOptions
from worker.ports import Runtime
from worker.proxy import PROXY_HINT, Proxy, is_refusal, proxy_for, proxy_refusal, status_of_refusal
from worker.tls import client_context

_BODY_BYTES_MAX: Final = 1_048_576
_ATTEMPT_S_MAX: Final = 30.0
_CONNECT_S_MAX: Final = 10.0
_LIMITS: Final = httpx.Limits(max_connections=4)
_log = structlog.get_logger(__name__)


class HelseIdResponse(Value, frozen=True, kw_only=True):
    """An answer of HelseID, read whole.

    Attributes:
        body: never shown: it may hold a token.
        clock_ahead_s: how far this machine's clock is ahead of HelseID's ``Date`` header, in whole
            seconds; None without such a header. Good to a second or two.
    """

    hidden = frozenset({"headers", "body"})

    status: int
    headers: httpx.Headers
    body: bytes
    clock_ahead_s: float | None


class _NoReplyError(Exception):
    """No whole answer came."""

    def __init__(self, problem: str, *, hint: str, passing: bool = True) -> None:
        super().__init__(problem)
        self.problem = problem
        self.hint = hint
        self.passing = passing


def helseid_client(
    tls: ssl.SSLContext | None = None,
    *,
    attempt_s_max: float = _ATTEMPT_S_MAX,
    proxy: Proxy | None = None,
) -> httpx.AsyncClient:
    """A client for HelseID alone: TLS 1.2 or newer, verified; no redirects; no proxy by chance.

    Args:
        tls: whom to trust; None: the authorities that the system trusts.
        proxy: for calls to other machines.
        attempt_s_max: the longest silence within one call. The call as a whole is bounded by
            ``HelseIdOptions.attempt_s_max``.
    """
    return httpx.AsyncClient(
        transport=_Routes(tls or client_context(), proxy),
        trust_env=False,
        follow_redirects=False,
        timeout=httpx.Timeout(attempt_s_max, connect=min(attempt_s_max, _CONNECT_S_MAX)),
        headers={"Accept": "application/json", "User-Agent": "pts-sync-worker"},
    )


class _Routes(httpx.AsyncBaseTransport):
    """Carries calls to this very machine directly, and all others through the proxy."""

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
            ConfigurationError: the proxy refuses for good.
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
                f"the proxy {proxy.shown} has no way to {request.url.host} (status {status})"
            ) from None
        except httpx.ConnectError as error:
            if _tls_error(error) is not None:
                raise
            raise httpx.ProxyError(f"cannot connect to the proxy {proxy.shown}") from None
        except httpx.ConnectTimeout:
            raise httpx.ProxyError(
                f"no connection to {request.url.host} in time through the proxy {proxy.shown}"
            ) from None

    async def aclose(self) -> None:
        """Close all connections."""
        await self._direct.aclose()
        if self._proxied is not None:
            await self._proxied.aclose()


def require_safe_url(url: str, *, key: str) -> None:
    """See that a URL is ``https``, or ``http`` to this very machine.

    Args:
        url: the URL.
        key: what names it, for the message.

    Raises:
        ConfigurationError: it is neither.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        sound = bool(host) and parts.port != 0 and parts.username is None
    except ValueError:
        raise ConfigurationError(f"{key}: is not a URL") from None
    if not sound or parts.scheme not in {"https", "http"}:
        raise ConfigurationError(f"{key}: is not an https URL")
    if parts.scheme == "http" and not is_loopback(host):
        raise ConfigurationError(
            f"{key}: http:// is for loopback addresses only", hint="use https://"
        )


class HelseIdClient:
    """Calls HelseID until an answer comes that another attempt would not change."""

    def __init__(self, http: httpx.AsyncClient, options: HelseIdOptions, runtime: Runtime) -> None:
        self._http = http
        self._options = options
        self._runtime = runtime

    async def call(
        self,
        make_request: Callable[[], Awaitable[httpx.Request]],
        *,
        flaw: Callable[[HelseIdResponse], str] = lambda _reply: "",
    ) -> HelseIdResponse:
        """Send, and send again after a wait while the failure is one that passes.

        Lost connections, time-outs, 5xx, 408, 425, 429 and flawed answers pass; ``Retry-After`` is
        obeyed.

        Args:
            make_request: makes a new request for each attempt.
            flaw: says what is wrong with an answer that is not to be believed; empty if nothing.

        Raises:
            UnavailableError: all attempts failed, HelseID asks for too long a wait, or its
                certificate is not trusted.
            ConfigurationError: the proxy refuses.
        """
        attempt = 1
        while True:
            asked_s: float | None = None
            try:
                reply = await self._attempt(await make_request())
                problem = _passing_problem(reply) or flaw(reply)
                hint = ""
                if not problem:
                    return reply
                answered_at = parse_http_date(reply.headers.get("date")) or self._runtime.now()
                asked_s = parse_retry_after(reply.headers.get("retry-after"), answered_at)
            except _NoReplyError as exc:
                problem, hint = exc.problem, exc.hint
                if not exc.passing:
                    raise UnavailableError(f"HelseID: {problem}", hint=hint) from None
            wait_s = self._wait_s(attempt, asked_s, problem, hint)
            _log.info("helseid.attempt_failed", attempt=attempt, problem=problem, wait_s=wait_s)
            await self._runtime.sleep(wait_s)
            attempt += 1

    def new_request(
        self, method: str, url: str, *, headers: dict[str, str] | None = None, **content: object
    ) -> httpx.Request:
        """A request with the client's own headers; ``content`` as ``httpx`` takes it."""
        return self._http.build_request(method, url, headers=headers, **content)  # type: ignore[arg-type]

    def _wait_s(self, attempt: int, asked_s: float | None, problem: str, hint: str) -> float:
        """How long to wait before the next attempt.

        Raises:
            UnavailableError: there is to be none.
        """
        limit_s = self._options.retry_after_s_max
        if asked_s is not None and asked_s > limit_s:
            raise UnavailableError(
                f"HelseID: {problem}, and asks to wait {asked_s:.0f} s", hint="run again later"
            )
        decision = decide_retry(self._options.retry, attempt, asked_s, self._runtime.uniform())
        if isinstance(decision, GiveUp):
            raise UnavailableError(f"HelseID: {problem} ({attempt} attempts)", hint=hint)
        return decision.wait_s

    async def _attempt(self, request: httpx.Request) -> HelseIdResponse:
        try:
            with anyio.fail_after(self._options.attempt_s_max):
                response = await self._http.send(request, stream=True)
                try:
                    body = await _read(response)
                finally:
                    await response.aclose()
        except TimeoutError:
            raise _NoReplyError(
                f"no answer within {self._options.attempt_s_max:.0f} s",
                hint="is the network or HelseID slow?",
            ) from None
        except httpx.HTTPError as exc:
            # Not "from exc": httpx's errors carry the request, and that the assertion.
            raise _explain(exc, request.url) from None
        return HelseIdResponse(
            status=response.status_code,
            headers=response.headers,
            body=body,
            clock_ahead_s=clock_ahead_s(response.headers.get("date"), self._runtime.now()),
        )


async def _read(response: httpx.Response) -> bytes:
    body = bytearray()
    async for part in response.aiter_bytes():
        body += part
        if len(body) > _BODY_BYTES_MAX:
            raise _NoReplyError(
                f"the answer is larger than {_BODY_BYTES_MAX} bytes", hint="is this HelseID?"
            )
    return bytes(body)


def _passing_problem(reply: HelseIdResponse) -> str:
    passing = classify(reply.status) is StatusClass.TRANSIENT
    return f"answered {reply.status}" if passing else ""


def clock_ahead_s(date_header: str | None, now: datetime) -> float | None:
    """How far ``now`` is ahead of a ``Date`` header, in seconds; None if that cannot be told."""
    at = parse_http_date(date_header)
    return None if at is None else (now - at).total_seconds()


def _explain(exc: httpx.HTTPError, url: httpx.URL) -> _NoReplyError:
    """What a failed call means for whoever runs the worker."""
    certificate = _tls_error(exc)
    where = f"{url.host}:{url.port}" if url.port else url.host
    if isinstance(certificate, ssl.SSLCertVerificationError):
        return _NoReplyError(
            f"the TLS certificate of {where} is not trusted: {certificate.verify_message}",
            hint="check this machine's clock and CA store; a private CA goes into tls.ca_file",
            passing=False,
        )
    if isinstance(exc, httpx.ProxyError):
        return _NoReplyError(str(exc), hint=PROXY_HINT)
    if isinstance(exc, httpx.ConnectError | httpx.ConnectTimeout):
        return _NoReplyError(
            f"cannot connect to {where}",
            hint="check DNS, the firewall and helseid.issuer; try: pts-worker doctor",
        )
    if isinstance(exc, httpx.TimeoutException):
        return _NoReplyError(f"{where} did not answer in time", hint="run again later")
    return _NoReplyError(
        f"the connection to {where} broke ({type(exc).__name__})", hint="run again later"
    )


def _tls_error(exc: BaseException | None) -> ssl.SSLError | None:
    while exc is not None:
        if isinstance(exc, ssl.SSLError):
            return exc
        exc = exc.__cause__ or exc.__context__
    return None
