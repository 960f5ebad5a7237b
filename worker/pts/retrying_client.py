"""Sends requests to PTS with throttling, authorization and retries.

Retries are above the transport, so that every attempt has a new DPoP proof, and below paging, so
that a lost page does not cost the other pages.
"""

import math
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import msgspec
import structlog

from worker.core.push_backs import PushBack
from worker.core.retry import (
    RetryBudget,
    RetryPolicy,
    StatusClass,
    classify,
    instant_after,
    parse_retry_after,
)
from worker.errors import (
    AreaError,
    ConfigurationError,
    DeniedError,
    OpenFilesError,
    StaleConnectionError,
    TransientError,
    UnavailableError,
)
from worker.ports import (
    Authorization,
    Authorizer,
    ChallengeResult,
    HttpResponse,
    HttpTransport,
    Runtime,
)
from worker.pts.pace_log import log_pause
from worker.pts.throttle import Throttle
from worker.retries import FailedAttempt, with_retries

_RENEWALS_MAX: Final = 12
"""Maximum attempts per request with a renewed authorization.

If one replica of three refuses every DPoP proof, fewer than one request in a million hits it this
often in a row. For a client that is denied permanently the authorizer gives up sooner.
"""

_RECONNECTS_MAX: Final = 3
"""Stale connections in a row before the attempt counts as a failure."""

_TOKENS_MAX: Final = 3
"""Access tokens tried per request: the first, one renewed in the meantime, and a replacement."""

_log = structlog.get_logger(__name__)


class SendingStats(msgspec.Struct):
    """Counters since the start, for the run ledger and the metrics.

    Attributes:
        requests: attempts sent.
        retries: attempts after the first of each request, for any reason.
        bytes_received: decoded size of all bodies.
        wait_s: total wait before retries.
        unretried: requests that failed with attempts left, because the retry budget was spent.
    """

    requests: int = 0
    retries: int = 0
    bytes_received: int = 0
    wait_s: float = 0.0
    unretried: int = 0


class Sent(NamedTuple):
    """The final response to a request, and the number of attempts."""

    response: HttpResponse
    attempts: int


class RetryingClient:
    """Sends requests and retries them.

    Args:
        throttle: shared by all requests; its circuit breaker gives up after as many probes as a
            request has retries.
        retry_after_s_max: maximum ``Retry-After``, and maximum sum of those that concern only one
            request; longer ones end the request.
    """

    def __init__(
        self,
        *,
        transport: HttpTransport,
        authorizer: Authorizer,
        throttle: Throttle,
        policy: RetryPolicy,
        runtime: Runtime,
        retry_after_s_max: float = math.inf,
    ) -> None:
        self._transport = transport
        self._authorizer = authorizer
        self._throttle = throttle
        self._policy = policy
        self._runtime = runtime
        self._budget = RetryBudget()
        self._retry_after_s_max = retry_after_s_max
        self._was_authorized = False
        throttle.set_probes(policy.attempts_max - 1)
        self.stats = SendingStats()

    async def send(
        self,
        url: str,
        *,
        headers: Callable[[], Mapping[str, str]],
        body: bytes,
        is_single_use: bool = False,
        is_probe: bool = False,
    ) -> Sent:
        """Send a POST request, with retries.

        Args:
            headers: makes all headers but the authorization; both are new for each attempt.
            is_single_use: use a new connection for each attempt, and close it afterwards.
            is_probe: send it before all other requests and outside the retry budget. It is not
                retried while the circuit is open.

        Returns:
            The first response that is neither a transient status nor a challenge.

        Raises:
            TransientError: every attempt failed.
            DeniedError: PTS denies the client with a new token and DPoP proof. If earlier requests
                succeeded, all retries were denied, too.
            ContractError: the response is too large or is not HTTP.
            WorkerError: the run cannot go on: HelseID refuses or is unavailable, the certificate
                is not accepted, PTS is unavailable, or its ``Retry-After`` exceeds the maximum.
        """
        self._budget.request(self._runtime.monotonic())
        request = _Request(
            url=url, headers=headers, body=body, is_single_use=is_single_use, is_probe=is_probe
        )
        try:
            response = await with_retries(
                lambda _number: self._attempt(request),
                policy=self._policy,
                runtime=self._runtime,
                before_wait=lambda _number, failed, wait_s: self._before_wait(
                    request, failed, wait_s
                ),
            )
        except AreaError as error:
            error.attempts = request.sent
            raise
        return Sent(response, request.sent)

    async def _attempt(self, request: "_Request") -> HttpResponse | FailedAttempt:
        """Send the request, again at once if a new connection or authorization can help.

        Raises:
            TransientError, DeniedError: the request must not be retried.
            UnavailableError, ConfigurationError: the circuit breaker has given up.
        """
        ended = None
        while ended is None:
            number = await self._throttle.enter(is_probe=request.is_probe)
            try:
                ended = await self._exchange(request, number)
            finally:
                self._throttle.leave()
        if isinstance(ended, FailedAttempt):
            self._check(ended)
            if request.is_probe and self._throttle.is_open:
                raise ended.error  # the next probe uses another person-area
            if request.pushed_back and request.pushed_back.alone_s > self._retry_after_s_max:
                raise ended.error
        return ended

    def _check(self, failed: FailedAttempt) -> None:
        """Ask the circuit breaker.

        Raises:
            UnavailableError: it has given up.
            ConfigurationError: it has, and this machine is at fault.
        """
        try:
            self._throttle.check()
        except UnavailableError:
            if isinstance(failed.error, OpenFilesError):
                raise ConfigurationError(failed.error.message, hint=failed.error.hint) from None
            raise

    async def _exchange(
        self, request: "_Request", number: int
    ) -> HttpResponse | FailedAttempt | None:
        """Send and classify; None to retry at once with a new connection or authorization."""
        used = await self._authorizer.authorize("POST", request.url)
        request.sent += 1
        self.stats.requests += 1
        self.stats.retries += request.sent > 1
        sent_s = self._runtime.monotonic()
        try:
            response = await self._transport.post(
                request.url,
                headers={**request.headers(), **used.headers},
                body=request.body,
                # A replica with a wrong clock refuses every DPoP proof on its connections.
                is_single_use=request.is_single_use or request.renewals > 1,
            )
        except StaleConnectionError as error:
            if request.may_reconnect():
                return None
            return _failed(error)
        except TransientError as error:
            self._push_back(request, number, None)
            return _failed(error)
        self.stats.bytes_received += len(response.body)
        challenge = self._authorizer.handle_challenge(request.url, used, response)
        kind = classify(response.status)
        if challenge.retry and request.may_renew(used):
            return None
        if challenge.retry or challenge.refused or kind is StatusClass.DENIED:
            denied = _denied(response.status, challenge)
            if not self._was_authorized:
                raise denied
            return _failed(denied)
        is_read = kind is StatusClass.OK or kind is StatusClass.NOT_FOUND
        if kind is not StatusClass.TRANSIENT:
            self._was_authorized |= is_read
            self._throttle.succeeded(number, sent_s, before=request.pushed_back)
            return response
        return self._transient(request, number, response)

    def _transient(self, request: "_Request", number: int, response: HttpResponse) -> FailedAttempt:
        retry_after_s = parse_retry_after(
            response.header("retry-after"), self._runtime.now(), date=response.header("date")
        )
        error = TransientError(f"status {response.status}", status=response.status)
        if retry_after_s is None or retry_after_s <= self._retry_after_s_max:
            self._push_back(request, number, retry_after_s, status=response.status)
            return _failed(error, retry_after_s)
        self._throttle.asked_for_quiet(instant_after(self._runtime.now(), retry_after_s), number)
        self._throttle.check()
        error.message += ", with a Retry-After beyond sync.retry_after_max"
        raise error

    def _push_back(
        self,
        request: "_Request",
        number: int,
        retry_after_s: float | None,
        status: int | None = None,
    ) -> None:
        request.pushed_back = self._throttle.pushed_back(
            retry_after_s, number, status=status, before=request.pushed_back
        )

    def _before_wait(self, request: "_Request", failed: FailedAttempt, wait_s: float) -> None:
        """Count and log a retry.

        Raises:
            TransientError, DeniedError: the retry budget is spent.
        """
        # An open circuit sends single requests anyway, so this one need not use the budget.
        is_free = request.is_probe or self._throttle.is_open
        if not is_free and not self._budget.take(self._runtime.monotonic()):
            self.stats.unretried += 1
            raise failed.error
        self.stats.wait_s += wait_s
        _log.debug(
            "pts.retry", reason=failed.problem, attempt=request.sent, wait_s=round(wait_s, 3)
        )
        if not failed.retry_after_s:
            log_pause(self._runtime, wait_s, failed.problem, concerns="request")


class _Request(msgspec.Struct, kw_only=True):
    """A request and the state of its attempts."""

    url: str
    headers: Callable[[], Mapping[str, str]]
    body: bytes
    is_single_use: bool
    is_probe: bool = False
    pushed_back: PushBack | None = None
    sent: int = 0
    renewals: int = 0
    reconnects: int = 0
    tokens: frozenset[str] = frozenset()

    def may_reconnect(self) -> bool:
        """Count a stale connection; return whether to retry at once."""
        self.reconnects += 1
        return self.reconnects <= _RECONNECTS_MAX

    def may_renew(self, used: Authorization) -> bool:
        """Count a renewed authorization; return whether to retry at once."""
        self.renewals += 1
        self.tokens |= {used.token_id}
        return self.renewals <= _RENEWALS_MAX and len(self.tokens) <= _TOKENS_MAX


def _failed(error: AreaError, retry_after_s: float | None = None) -> FailedAttempt:
    return FailedAttempt(error, error.message, retry_after_s)


def _denied(status: int, challenge: ChallengeResult) -> DeniedError:
    reason = challenge.refused or f"status {status}, also with a new token and DPoP proof"
    return DeniedError(reason, status=status)
