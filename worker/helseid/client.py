"""HTTP client for HelseID with retries and error messages, and HelseID's metadata.

Each attempt sends a newly built request, because HelseID may refuse a repeated assertion or proof.
"""

import copy
import ssl
from collections.abc import Callable
from typing import Any, Final, TypeVar

import httpx
import msgspec
import structlog

from worker.core.display import counted
from worker.core.retry import RetryPolicy, is_transient, parse_retry_after
from worker.core.value import Value
from worker.errors import (
    AreaError,
    ConfigurationError,
    TransientError,
    UnavailableError,
)
from worker.helseid.dpop import origin
from worker.http import with_retries
from worker.http.connecting import Proxy
from worker.http.connection import TransportOptions
from worker.http.transport import USER_AGENT, Transport
from worker.ports import Runtime

_RETRY: Final = RetryPolicy(attempts_max=5)
_BODY_BYTES_MAX: Final = 1_048_576
_RETRY_AFTER_S_MAX: Final = 300.0
"""A longer ``Retry-After`` fails the call at once."""
_HEADERS: Final = {
    "Accept": "application/json",
    "Accept-Encoding": "identity",
    "User-Agent": USER_AGENT,
}
_METADATA_S: Final = 24 * 3600.0
"""How long the metadata is cached (HelseID requirement FK2)."""
_RENEWAL_PAUSE_S: Final = 600.0
"""Time between attempts to renew the metadata while HelseID is unavailable."""
_ISSUER: Final = "helseid.issuer"
_log = structlog.get_logger(__name__)
T = TypeVar("T")


def helseid_client(
    tls: ssl.SSLContext | None = None, *, attempt_s_max: float = 10.0, proxy: Proxy | None = None
) -> httpx.AsyncClient:
    """An HTTP client for HelseID: verified TLS 1.2 or newer, no redirects, no proxy variables.

    Args:
        tls: trusted authorities. None: the system's.
        attempt_s_max: maximum time of an attempt.
    """
    options = TransportOptions(
        server="HelseID",
        attempt_s_max=attempt_s_max,
        response_bytes_max=_BODY_BYTES_MAX,
        tls=tls,
    )
    return httpx.AsyncClient(transport=Transport(options, proxy), trust_env=False, headers=_HEADERS)


class HelseIdClient:
    """Sends requests to HelseID and retries transient failures.

    Args:
        retry: number of attempts, and the waits between them.

    Attributes:
        http: builds and sends the requests.
    """

    def __init__(
        self, http: httpx.AsyncClient, runtime: Runtime, retry: RetryPolicy = _RETRY
    ) -> None:
        self.http = http
        self._retry = retry
        self._runtime = runtime
        self._last_error: UnavailableError | None = None
        self._quiet_until_s = 0.0

    async def call(
        self, make_request: Callable[[], httpx.Request], read: Callable[[httpx.Response], T]
    ) -> T:
        """Send a request, and retry transient failures after a delay.

        Retries lost connections, time-outs, 5xx, 408, 425, 429 and responses for which ``read``
        raises ``TransientError``. Obeys ``Retry-After``: until then, every call fails without a
        request. After a failed call, each call makes only one attempt until one succeeds, because
        the caller decides when to try again.

        Args:
            make_request: builds a new request for each attempt.
            read: converts a complete response. ``TransientError`` leads to a retry, any other
                error ends the call.

        Raises:
            UnavailableError: all attempts failed, ``Retry-After`` is too long, or a certificate is
                not accepted.
            ConfigurationError: the proxy refuses, or this process has too many open files.
        """
        last_error = self._last_error
        # A copy, because each raise appends to the traceback of the error.
        if last_error is not None and self._runtime.monotonic() < self._quiet_until_s:
            raise copy.copy(last_error)
        self._last_error = None
        try:
            return await with_retries(
                lambda number: self._attempt(number, make_request(), read),
                policy=self._retry if last_error is None else RetryPolicy(attempts_max=1),
                runtime=self._runtime,
                before_wait=_log_failed,
            )
        except TransientError as error:
            self._last_error = UnavailableError(error.message, hint=error.hint)
        except UnavailableError as error:
            self._last_error = error
        raise self._last_error

    async def _attempt(
        self, number: int, request: httpx.Request, read: Callable[[httpx.Response], T]
    ) -> T:
        """Send a request once.

        Raises:
            TransientError: a retry may help.
            UnavailableError: ``Retry-After`` is too long.
        """
        wait_s = 0.0
        try:
            response = await self.http.send(request)
            header, date = response.headers.get("retry-after"), response.headers.get("date")
            wait_s = parse_retry_after(header, self._runtime.now(), date=date) or 0.0
            if is_transient(response.status_code):
                raise TransientError(f"answered {response.status_code}")
            return read(response)
        except AreaError as error:
            self._quiet_until_s = self._runtime.monotonic() + wait_s
            raise _attempt_error(error, request.url, number, wait_s) from None


def _attempt_error(
    error: AreaError, url: httpx.URL, number: int, wait_s: float
) -> TransientError | UnavailableError:
    """The error of an attempt, with the address and the remedy."""
    # The response is never logged, because it may contain a token.
    problem = f"{url.copy_with(query=None, userinfo=b'')}: {error.message}"
    if wait_s > _RETRY_AFTER_S_MAX:
        message = f"HelseID: {problem}, Retry-After {wait_s:.0f} s"
        return UnavailableError(message, hint="try again later")
    hint = error.hint or "check DNS, the firewall and helseid.issuer"
    failed = TransientError(f"HelseID: {problem} ({counted(number, 'attempt')})", hint=hint)
    failed.retry_after_s = wait_s
    return failed


def _log_failed(number: int, error: TransientError, wait_s: float) -> None:
    _log.info("helseid.attempt_failed", attempt=number, problem=error.message, wait_s=wait_s)


def json_object(response: httpx.Response) -> dict[str, Any] | None:
    """The JSON object in a response. None if it is anything else."""
    try:
        document = msgspec.json.decode(response.content)
    except (msgspec.DecodeError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


class Metadata(Value, frozen=True, kw_only=True):
    """The metadata that the worker uses.

    Attributes:
        issuer: as HelseID writes it. The audience of assertions.
    """

    issuer: str
    token_endpoint: str


class Discovery:
    """Reads ``{issuer}/.well-known/openid-configuration`` and caches it for 24 h."""

    def __init__(self, issuer: str, client: HelseIdClient, runtime: Runtime) -> None:
        self._issuer = issuer.rstrip("/")
        self._url = f"{self._issuer}/.well-known/openid-configuration"
        self._client = client
        self._runtime = runtime
        self._metadata: Metadata | None = None
        self._renew_at_s = 0.0

    async def metadata(self) -> Metadata:
        """The metadata, at most 24 h old. It is older only while HelseID sends no valid metadata.

        Raises:
            ConfigurationError: the metadata was never read, and it names another issuer.
            UnavailableError: the metadata was never read, and HelseID is unavailable, or has none.
        """
        if self._metadata is not None and self._runtime.monotonic() < self._renew_at_s:
            return self._metadata
        try:
            self._metadata = await self._client.call(self.request, self._parse)
            self._renew_at_s = self._runtime.monotonic() + _METADATA_S
        except (ConfigurationError, UnavailableError) as error:
            # HelseID's endpoints rarely change, so old metadata is better than a failed night.
            if self._metadata is None:
                raise
            self._renew_at_s = self._runtime.monotonic() + _RENEWAL_PAUSE_S
            _log.warning("helseid.discovery_stale", problem=error.message)
        else:
            _log.info("helseid.discovery_read", issuer=self._metadata.issuer)
        return self._metadata

    def request(self) -> httpx.Request:
        """The request for the metadata."""
        return self._client.http.build_request("GET", self._url)

    def _parse(self, response: httpx.Response) -> Metadata:
        if response.status_code != httpx.codes.OK:
            # A gateway in maintenance sends such answers, so this counts as an outage.
            raise UnavailableError(
                f"{_ISSUER}: found no OpenID configuration at {self._url} "
                f"(HTTP {response.status_code})",
                hint="check the issuer, and whether a proxy or firewall sent this response",
            )
        document = json_object(response)
        if document is None:  # a page of a proxy, or a truncated response: both can be transient
            raise TransientError("the OpenID configuration is not a JSON object")
        issuer, endpoint = document.get("issuer"), document.get("token_endpoint")
        # The issuer must match (OpenID Connect Discovery §4.3), or a proxy could replace it.
        if not isinstance(issuer, str) or issuer.rstrip("/") != self._issuer:
            raise ConfigurationError(
                f"{_ISSUER}: is {self._issuer}, but the OpenID configuration names another",
                hint=f"set the issuer exactly as HelseID writes it in {self._url}",
            )
        # Assertions authenticate the client: another host must never receive one.
        if not isinstance(endpoint, str) or not self._is_at_the_issuer(endpoint):
            raise ConfigurationError(
                f"{_ISSUER}: token_endpoint is not at the issuer's scheme, host and port",
                hint="assertions are sent nowhere else; if HelseID has moved its token "
                "endpoint, this program must be changed",
            )
        return Metadata(issuer=issuer, token_endpoint=endpoint)

    def _is_at_the_issuer(self, endpoint: str) -> bool:
        try:
            return origin(endpoint) == origin(self._issuer)
        except httpx.InvalidURL:
            return False
