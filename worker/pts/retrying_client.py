"""Sends requests to PTS at the pace, with authorization and retries.

Retries are above the transport, so that every attempt has a new DPoP proof, and below paging, so
that a lost page does not cost the other pages.
"""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

import msgspec
import structlog

from worker.core.retry import RetryPolicy, is_denial, is_transient, parse_retry_after
from worker.errors import DeniedError, LateError, TransientError
from worker.helseid.authorizer import HelseIdAuthorizer
from worker.http import FailedAttempt, with_retries
from worker.http.connection import Connection
from worker.http.response import HttpResponse
from worker.http.transport import Transport
from worker.ports import Runtime
from worker.pts.pace import Pace

_LOST_MAX: Final = 20
"""After so many attempts in a row that failed none is retried: nobody can be read, it seems."""
_log = structlog.get_logger(__name__)


class SendingStats(msgspec.Struct):
    """Counters since the start, for the run ledger and the metrics.

    Attributes:
        requests: attempts made.
        retries: attempts after the first of each request, for any reason.
    """

    requests: int = 0
    retries: int = 0


class Question(msgspec.Struct, kw_only=True):
    """An area of a person that PTS is asked for, page by page.

    Attributes:
        who: the person, by a key.
        is_single_use: use a new connection for each attempt, and close it afterwards.
        is_probe: make one attempt, also while others are held back.
        attempts: made so far.
    """

    who: str
    is_single_use: bool = False
    is_probe: bool = False
    attempts: int = 0


class RetryingClient:
    """Sends requests and retries them.

    Args:
        pace: shared by all requests.
        retry_after_s_max: the longest ``Retry-After`` that everybody waits for.
    """

    def __init__(
        self,
        *,
        transport: Transport,
        authorizer: HelseIdAuthorizer,
        pace: Pace,
        policy: RetryPolicy,
        runtime: Runtime,
        retry_after_s_max: float = math.inf,
    ) -> None:
        self._transport = transport
        self._authorizer = authorizer
        self._pace = pace
        self._policy = policy
        self._runtime = runtime
        self._retry_after_s_max = retry_after_s_max
        self._lost = 0
        self.stats = SendingStats()

    async def send(
        self, question: Question, url: str, headers: Callable[[], Mapping[str, str]], body: bytes
    ) -> HttpResponse:
        """Send a POST request, with retries.

        Args:
            headers: makes all headers but the authorization; both are new for each attempt.

        Returns:
            The first response that is neither a transient status nor a refusal.

        Raises:
            TransientError: every attempt failed, PTS asks to wait (``Retry-After``), or it did not
                answer in time; then who is asked is better asked again later.
            DeniedError: PTS denies the client, with a new token and DPoP proof, too.
            ContractError: the response is encoded or too large.
            WorkerError: HelseID refuses or is unavailable, the certificate is not accepted, or the
                installation is at fault.
        """
        request = _Request(question=question, url=url, headers=headers, body=body)
        return await with_retries(
            lambda _number: self._attempt(request),
            policy=RetryPolicy(attempts_max=1) if question.is_probe else self._policy,
            runtime=self._runtime,
            before_wait=partial(self._before_wait, request),
        )

    async def _attempt(self, request: "_Request") -> HttpResponse | FailedAttempt:
        """Send the request, again at once if a new authorization can help."""
        response = None
        while response is None:
            try:
                response = await self._send(request)
            except TransientError as error:
                self._lost += 1
                if error.retry_after_s or isinstance(error, LateError):
                    raise
                return FailedAttempt(error)
        self._lost = 0
        return response

    async def _send(self, request: "_Request") -> HttpResponse | None:
        """Send the request once; None to repeat it with a new authorization."""
        await self._pace.turn(is_probe=request.question.is_probe)
        token = await self._authorizer.tokens.token()
        self._count(request)
        connection = await self._connection(request)
        sent_s = await self._pace.send()
        authorization = self._authorizer.headers("POST", request.url, token)
        response = await self._transport.post(
            request.url,
            headers={**request.headers(), **authorization},
            body=request.body,
            connection=connection,
        )
        self._authorizer.learn(request.url, response)
        if is_denial(response.status):
            request.refusals += 1
            if refusal := self._authorizer.refusal(token, response, request.refusals):
                raise DeniedError(refusal, status=response.status)
            connection.close()  # another replica may accept what this one refuses
            return None
        self._judge(request, response, sent_s)
        return response

    def _count(self, request: "_Request") -> None:
        self.stats.requests += 1
        self.stats.retries += request.sent > 0
        request.sent += 1
        request.question.attempts += 1

    async def _connection(self, request: "_Request") -> Connection:
        is_single_use, url = request.question.is_single_use, request.url
        idle = None if is_single_use else self._transport.idle(url)
        return idle or await self._transport.connect(url, is_single_use=is_single_use)

    def _judge(self, request: "_Request", response: HttpResponse, sent_s: float) -> None:
        """Let the pace know of a response.

        Raises:
            TransientError: it is a failed attempt; or PTS asks to wait.
        """
        is_failed = is_transient(response.status)
        header, date = response.header("retry-after"), response.header("date")
        asked_s = parse_retry_after(header, self._runtime.now(), date=date) if is_failed else None
        # What is tried again says nothing new: it may be refused for ever.
        if request.sent == 1 + request.refusals and not request.question.is_probe:
            self._pace.answered(
                request.question.who,
                sent_s,
                status=response.status,
                retry_after_s=asked_s if asked_s and asked_s <= self._retry_after_s_max else 0.0,
            )
        if is_failed:
            asked = f", Retry-After {asked_s:.0f} s" if asked_s else ""
            error = TransientError(f"status {response.status}{asked}", status=response.status)
            error.retry_after_s = asked_s or 0.0
            raise error

    def _before_wait(
        self, request: "_Request", _number: int, failed: FailedAttempt, wait_s: float
    ) -> None:
        """Log a retry.

        Raises:
            TransientError: nobody can be read at present, so far as is known.
        """
        if self._lost >= _LOST_MAX:
            raise failed.error
        reason, wait_s = failed.error.message, round(wait_s, 3)
        _log.debug("pts.retry", reason=reason, attempt=request.sent, wait_s=wait_s)


class _Request(msgspec.Struct, kw_only=True):
    """A request and what came of it so far.

    Attributes:
        sent: attempts made.
        refusals: how many of them were refused.
    """

    question: Question
    url: str
    headers: Callable[[], Mapping[str, str]]
    body: bytes
    sent: int = 0
    refusals: int = 0
