"""The one place that sends to PTS, waits and sends again.

Retries stand above the transport so that every attempt has a fresh proof, and below the reading of
pages so that one lost page does not cost the others.
"""

import math
from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec
import structlog

from worker.core.pacing import PushBack
from worker.core.retry import (
    GiveUp,
    RetryBudget,
    RetryPolicy,
    StatusClass,
    classify,
    decide_retry,
    instant_after,
    parse_http_date,
    parse_retry_after,
)
from worker.errors import AreaError, DeniedError, StaleConnectionError, TransientError
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

_RENEWALS_MAX: Final = 12
"""Attempts repeated for one request with another authorization.

If one replica of three refuses every proof, fewer than one request in a million meets it so often
in a row. A client that is denied for good does not come that far: the authorizer knows sooner.
"""

_RECONNECTS_MAX: Final = 3
"""Closed connections met in a row before it counts as a failure."""

_TOKENS_MAX: Final = 3
"""Access tokens tried for one request: the first, one that was renewed meanwhile, a replacement."""

_log = structlog.get_logger(__name__)


class SendingStats(msgspec.Struct):
    """What was sent since the start; shown in the run's ledger and in metrics.

    Attributes:
        requests: every attempt that was sent.
        retries: attempts after the first of their request, for whatever reason.
        bytes_received: of all bodies, decoded.
        wait_s: what attempts waited before they were repeated.
        unretried: requests that failed with attempts left, because the retry budget was spent.
    """

    requests: int = 0
    retries: int = 0
    bytes_received: int = 0
    wait_s: float = 0.0
    unretried: int = 0


class Sent(NamedTuple):
    """An answer that no further attempt would better, and the attempts it took."""

    answer: HttpResponse
    attempts: int


class _Failure(NamedTuple):
    """An attempt that failed in a way that may pass, and the wait that was asked for."""

    error: TransientError | DeniedError
    retry_after_s: float | None = None


class RetryingClient:
    """Sends requests until there is an answer worth reading.

    Args:
        transport: carries them.
        authorizer: authorizes each attempt.
        throttle: the pace, shared by all requests; told to give up after as many single probes
            as a request has retries.
        policy: of one request's retries.
        budget: of all requests' retries together.
        runtime: clock, sleep and randomness.
        retry_after_s_max: a ``Retry-After`` beyond it is not waited for, nor are several that
            concern one request alone and are longer together.
    """

    def __init__(
        self,
        *,
        transport: HttpTransport,
        authorizer: Authorizer,
        throttle: Throttle,
        policy: RetryPolicy,
        runtime: Runtime,
        budget: RetryBudget | None = None,
        retry_after_s_max: float = math.inf,
    ) -> None:
        self._transport = transport
        self._authorizer = authorizer
        self._throttle = throttle
        self._policy = policy
        self._runtime = runtime
        self._budget = RetryBudget() if budget is None else budget
        self._retry_after_s_max = retry_after_s_max
        self._was_authorized = False
        throttle.set_probes(policy.attempts_max - 1)
        self.stats = SendingStats()

    async def send(
        self,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes,
        is_single_use: bool = False,
        is_probe: bool = False,
    ) -> Sent:
        """Post, and post again as long as that can help.

        Args:
            url: where to.
            headers: all but the authorization, which each attempt gets afresh.
            body: sent as it is.
            is_single_use: each attempt goes on a new connection that carries nothing else.
            is_probe: it goes before all others, and no budget limits its retries; while PTS fails
                for all it has none.

        Returns:
            The first answer that is neither a transient status nor about the authorization.

        Raises:
            TransientError: every attempt failed.
            DeniedError: PTS denies the client, with a fresh token and proof; after successes, also
                when asked again later.
            ContractError: the answer is too large, or is not HTTP.
            WorkerError: the run cannot go on: HelseID refuses or is away, the certificate is bad,
                PTS has failed for too long, or asks for a longer pause than a run makes.
        """
        self._budget.request(self._runtime.monotonic())
        request = _Request(
            url=url, headers=headers, body=body, is_single_use=is_single_use, is_probe=is_probe
        )
        try:
            while True:
                answer = await self._attempt(request)
                if answer is not None:
                    return Sent(answer, request.sent)
        except AreaError as error:
            error.attempts = request.sent
            raise

    async def _attempt(self, request: "_Request") -> HttpResponse | None:
        """One attempt; None if another one is due, after any wait."""
        number = await self._throttle.enter(is_probe=request.is_probe)
        try:
            ended = await self._exchange(request, number)
        finally:
            self._throttle.leave()
        if isinstance(ended, _Failure):
            await self._wait(request, ended)
            return None
        return ended

    async def _exchange(self, request: "_Request", number: int) -> HttpResponse | _Failure | None:
        """Send and judge; None if the same is due again at once, with another authorization."""
        used = await self._authorizer.authorize("POST", request.url)
        request.sent += 1
        self.stats.requests += 1
        self.stats.retries += request.sent > 1
        sent_s = self._runtime.monotonic()
        try:
            answer = await self._transport.post(
                request.url,
                headers={**request.headers, **used.headers},
                body=request.body,
                # A replica with a wrong clock refuses every proof on the connections that it keeps.
                is_single_use=request.is_single_use or request.renewals > 1,
            )
        except StaleConnectionError as error:
            if request.may_reconnect():
                return None
            return _Failure(error)
        except TransientError as error:
            self._push_back(request, number, None)
            return _Failure(error)
        self.stats.bytes_received += len(answer.body)
        verdict = self._authorizer.handle_challenge(request.url, used, answer)
        kind = classify(answer.status)
        if verdict.retry and request.may_renew(used):
            return None
        if verdict.retry or verdict.refused or kind is StatusClass.DENIED:
            denied = _denied(answer.status, verdict)
            if not self._was_authorized:
                raise denied
            return _Failure(denied)
        if kind is not StatusClass.TRANSIENT:
            self._was_authorized |= kind is StatusClass.OK or kind is StatusClass.NOT_FOUND
            self._throttle.succeeded(number, sent_s, before=request.pushed_back)
            return answer
        return self._transient(request, number, answer)

    def _transient(self, request: "_Request", number: int, answer: HttpResponse) -> _Failure:
        retry_after_s = self._retry_after_s(answer)
        error = TransientError(f"status {answer.status}", status=answer.status)
        if retry_after_s is None or retry_after_s <= self._retry_after_s_max:
            self._push_back(request, number, retry_after_s, status=answer.status)
            return _Failure(error, retry_after_s)
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

    async def _wait(self, request: "_Request", failure: _Failure) -> None:
        """Wait before the next attempt.

        Raises:
            TransientError, DeniedError: there is to be none.
            UnavailableError: nor is there for anybody else.
        """
        self._throttle.check()
        if request.is_probe and self._throttle.is_open:
            raise failure.error  # the next single request asks for somebody else
        request.failures += 1
        if request.pushed_back and request.pushed_back.alone_s > self._retry_after_s_max:
            raise failure.error
        decision = decide_retry(
            self._policy, request.failures, failure.retry_after_s, self._runtime.uniform()
        )
        if isinstance(decision, GiveUp):
            raise failure.error
        # An open circuit lets single requests through anyway: nothing is saved by losing this one.
        is_free = request.is_probe or self._throttle.is_open
        if not is_free and not self._budget.take(self._runtime.monotonic()):
            self.stats.unretried += 1
            raise failure.error
        self.stats.wait_s += decision.wait_s
        _log.debug(
            "pts.retry",
            reason=failure.error.message,
            attempt=request.sent,
            wait_s=round(decision.wait_s, 3),
        )
        if not failure.retry_after_s:
            log_pause(self._runtime, decision.wait_s, failure.error.message, concerns="request")
        await self._runtime.sleep(decision.wait_s)

    def _retry_after_s(self, answer: HttpResponse) -> float | None:
        value = answer.header("retry-after")
        if value is None:
            return None
        sent_at = parse_http_date(answer.header("date"))
        return parse_retry_after(value, sent_at or self._runtime.now())


class _Request(msgspec.Struct, kw_only=True):
    """A request and what became of it so far."""

    url: str
    headers: Mapping[str, str]
    body: bytes
    is_single_use: bool
    is_probe: bool = False
    pushed_back: PushBack | None = None
    sent: int = 0
    failures: int = 0
    renewals: int = 0
    reconnects: int = 0
    tokens: frozenset[str] = frozenset()

    def may_reconnect(self) -> bool:
        """Whether to repeat at once after a kept connection had been closed; counts it."""
        self.reconnects += 1
        return self.reconnects <= _RECONNECTS_MAX

    def may_renew(self, used: Authorization) -> bool:
        """Whether to repeat at once with a fresh authorization; counts it."""
        self.renewals += 1
        self.tokens |= {used.token_id}
        return self.renewals <= _RENEWALS_MAX and len(self.tokens) <= _TOKENS_MAX


def _denied(status: int, verdict: ChallengeResult) -> DeniedError:
    reason = verdict.refused or f"status {status}, also with a fresh authorization"
    return DeniedError(reason, status=status)
