"""Sends requests to PTS with throttling, authorization and retries.

Retries are above the transport, so that every attempt has a new DPoP proof, and below paging, so
that a lost page does not cost the other pages.
"""

import math
from collections.abc import Callable, Mapping
from typing import Final

import msgspec
import structlog

from worker.core.retry import RetryPolicy, StatusClass, classify, parse_retry_after
from worker.errors import DeniedError, TransientError
from worker.helseid.authorizer import Authorization, ChallengeResult, HelseIdAuthorizer
from worker.http.response import HttpResponse
from worker.http.transport import Transport
from worker.ports import Runtime
from worker.pts.throttle import Throttle
from worker.retries import FailedAttempt, with_retries

_RENEWALS_MAX: Final = 12
"""Maximum attempts per request with a renewed authorization.

If one replica of three refuses every DPoP proof, fewer than one request in a million hits it this
often in a row. For a client that is denied permanently the authorizer gives up sooner.
"""

RETRIES_SHARE: Final = 0.1
RETRIES_SPARE: Final = 50.0
"""Retries for each request, and those that may be saved up: a run may begin badly."""
_FORBIDDEN: Final = 403
_TOKEN_S: Final = 0.02
"""An authorization that takes longer has waited for a token."""

_log = structlog.get_logger(__name__)


class SendingStats(msgspec.Struct):
    """Counters since the start, for the run ledger and the metrics.

    Attributes:
        requests: attempts sent.
        retries: attempts after the first of each request, for any reason.
    """

    requests: int = 0
    retries: int = 0


class Question(msgspec.Struct, kw_only=True):
    """An area of a person that PTS is asked for, page by page.

    Attributes:
        who: the person, by a key.
        is_single_use: use a new connection for each attempt, and close it afterwards.
        is_probe: make one attempt, before all other requests and also while these are held.
        attempts: requests sent so far.
    """

    who: str
    is_single_use: bool = False
    is_probe: bool = False
    attempts: int = 0


class RetryBudget(msgspec.Struct):
    """Limits the retries of all requests together to a share of the requests, plus a constant.

    It prevents retries from multiplying the load on a failing service (Google, *Site Reliability
    Engineering*, ch. 21, "Handling Overload"). The next run reads what failed.

    Attributes:
        left: retries that may be made at present.
    """

    left: float = RETRIES_SPARE

    def request(self) -> None:
        """Count a first attempt."""
        self.left = min(RETRIES_SPARE, self.left + RETRIES_SHARE)

    def take(self) -> bool:
        """Count a retry if the budget allows it; return whether it does."""
        if self.left < 1:
            return False
        self.left -= 1
        return True


class RetryingClient:
    """Sends requests and retries them.

    Args:
        throttle: shared by all requests.
        retry_after_s_max: the longest ``Retry-After`` that everybody waits for.
    """

    def __init__(
        self,
        *,
        transport: Transport,
        authorizer: HelseIdAuthorizer,
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
        self._is_refused = False
        self.stats = SendingStats()

    async def send(
        self, question: Question, url: str, headers: Callable[[], Mapping[str, str]], body: bytes
    ) -> HttpResponse:
        """Send a POST request, with retries.

        Args:
            headers: makes all headers but the authorization; both are new for each attempt.

        Returns:
            The first response that is neither a transient status nor a challenge.

        Raises:
            TransientError: every attempt failed, or PTS asks to wait (``Retry-After``).
            DeniedError: PTS denies the client with a new token and DPoP proof.
            ContractError: the response is too large or is not HTTP.
            WorkerError: HelseID refuses or is unavailable, the certificate is not accepted, or the
                installation is at fault.
        """
        self._budget.request()
        request = _Request(question=question, url=url, headers=headers, body=body)
        return await with_retries(
            lambda _number: self._attempt(request),
            policy=RetryPolicy(attempts_max=1) if question.is_probe else self._policy,
            runtime=self._runtime,
            before_wait=lambda _number, failed, wait_s: self._before_wait(request, failed, wait_s),
        )

    async def _attempt(self, request: "_Request") -> HttpResponse | FailedAttempt:
        """Send the request, again at once if a new authorization can help.

        Raises:
            TransientError, DeniedError: the request must not be retried.
        """
        ended, has_waited = None, False
        while ended is None:
            number = await self._throttle.enter(is_probe=request.question.is_probe)
            try:
                began_s = self._runtime.monotonic()
                used = await self._authorizer.authorize("POST", request.url)
                if self._runtime.monotonic() - began_s > _TOKEN_S and not has_waited:
                    has_waited = True  # all who waited for the token would go at once
                    continue
                ended = await self._exchange(request, number, used)
            finally:
                self._throttle.leave()
        return ended

    async def _exchange(
        self, request: "_Request", number: int, used: Authorization
    ) -> HttpResponse | FailedAttempt | None:
        """Send and classify; None to retry at once with a new authorization."""
        self.stats.requests += 1
        self.stats.retries += request.sent > 0
        request.sent += 1
        request.question.attempts += 1
        try:
            response = await self._transport.post(
                request.url,
                headers={**request.headers(), **used.headers},
                body=request.body,
                # A replica with a wrong clock refuses every DPoP proof on its connections.
                is_single_use=request.question.is_single_use
                or request.renewals > 1
                or self._is_refused,
            )
        except TransientError as error:
            return FailedAttempt(error)
        challenge = self._authorizer.handle_challenge(request.url, used, response)
        if challenge.retry and request.renewals < _RENEWALS_MAX:
            request.renewals += 1
            return None
        kind = classify(response.status)
        is_denied = challenge.retry or challenge.refused or kind is StatusClass.DENIED
        self._is_refused = bool(is_denied) and response.status != _FORBIDDEN
        if is_denied:
            raise _denied(response.status, challenge)
        if kind is StatusClass.TRANSIENT:
            return self._transient(request, response, number)
        self._throttle.answered(number, request.question.who, status=response.status)
        return response

    def _transient(self, request: "_Request", response: HttpResponse, number: int) -> FailedAttempt:
        """A failed attempt to repeat.

        Raises:
            TransientError: PTS asks to wait.
        """
        asked_s = parse_retry_after(
            response.header("retry-after"), self._runtime.now(), date=response.header("date")
        )
        is_bearable = asked_s is not None and asked_s <= self._retry_after_s_max
        self._throttle.answered(
            number,
            request.question.who,
            status=response.status,
            retry_after_s=(asked_s or 0.0) if is_bearable else 0.0,
        )
        if not asked_s:
            return FailedAttempt(
                TransientError(f"status {response.status}", status=response.status)
            )
        asked = f"status {response.status}, Retry-After {asked_s:.0f} s"
        error = TransientError(asked, status=response.status)
        error.retry_after_s = asked_s
        raise error

    def _before_wait(self, request: "_Request", failed: FailedAttempt, wait_s: float) -> None:
        """Log a retry.

        Raises:
            TransientError: nobody can be read at present, or the retry budget is spent.
        """
        if self._throttle.is_held or not self._budget.take():
            raise failed.error
        reason, wait_s = failed.error.message, round(wait_s, 3)
        _log.debug("pts.retry", reason=reason, attempt=request.sent, wait_s=wait_s)


class _Request(msgspec.Struct, kw_only=True):
    """A request, how often it was sent, and how often with a renewed authorization."""

    question: Question
    url: str
    headers: Callable[[], Mapping[str, str]]
    body: bytes
    sent: int = 0
    renewals: int = 0


def _denied(status: int, challenge: ChallengeResult) -> DeniedError:
    reason = challenge.refused or f"status {status}, also with a new token and DPoP proof"
    return DeniedError(reason, status=status)
