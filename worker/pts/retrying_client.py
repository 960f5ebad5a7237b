"""Sends requests to PTS at the pace, with authorization and retries.

Retries are above the transport, so that every attempt has a new DPoP proof, and below paging, so
that a lost page does not cost the other pages.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Final

import msgspec
import structlog

from worker.core.retry import RetryPolicy, is_denial, is_transient, parse_retry_after
from worker.errors import DeniedError, LateError, TransientError
from worker.helseid.authorizer import HelseIdAuthorizer
from worker.helseid.tokens import Token
from worker.http import with_retries
from worker.http.budget import Share
from worker.http.connection import Connection
from worker.http.response import HttpResponse
from worker.http.transport import Transport
from worker.ports import Runtime
from worker.pts.pace import Pace

_FAILED_MAX: Final = 20
"""Failed attempts in a row after which none is retried, until a read of a person succeeds."""
_WAITED_S_MAX: Final = 10.0
"""A request is retried after a ``Retry-After`` up to this. A longer one fails the read."""
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
        person_key: the person.
        share: the room of the answer.
        is_single_use: use a new connection for each attempt, and close it afterwards.
        probe_interval_s: make one attempt, as a probe. Only a new authorization is tried again,
            after this time.
        attempts: made so far.
    """

    person_key: str
    share: Share | None = None
    is_single_use: bool = False
    probe_interval_s: float | None = None
    attempts: int = 0


class RetryingClient:
    """Sends requests and retries them.

    Args:
        pace: shared by all requests.
    """

    def __init__(
        self,
        *,
        transport: Transport,
        authorizer: HelseIdAuthorizer,
        pace: Pace,
        policy: RetryPolicy,
        runtime: Runtime,
    ) -> None:
        self._transport = transport
        self._authorizer = authorizer
        self._pace = pace
        self._policy = policy
        self._runtime = runtime
        self._failed_in_a_row = 0
        self.stats = SendingStats()

    def room(self) -> AbstractAsyncContextManager[Share]:
        """Wait for the room of an answer, before it is asked for (promise 10)."""
        return self._transport.budget.share()

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
                answer in time.
            DeniedError: PTS denies the client, with a new token and DPoP proof, too.
            ContractError: the response is encoded or too large.
            WorkerError: HelseID refuses or is unavailable, the certificate is not accepted, or the
                installation is at fault.
        """
        request = _Request(question=question, url=url, headers=headers, body=body)
        return await with_retries(
            partial(self._attempt, request),
            policy=self._policy
            if question.probe_interval_s is None
            else RetryPolicy(attempts_max=1),
            runtime=self._runtime,
            before_wait=partial(self._before_wait, request),
        )

    async def _attempt(self, request: "_Request", _number: int) -> HttpResponse:
        """Send the request, again at once if a new authorization can help."""
        if request.error is not None and self._failed_in_a_row >= _FAILED_MAX:
            raise request.error  # others have failed since the wait began
        try:
            while (response := await self._send(request)) is None:
                if interval_s := request.question.probe_interval_s:
                    await self._runtime.sleep(interval_s)
        except TransientError as error:
            self._failed_in_a_row += 1
            request.error = error
            raise
        if request.question.probe_interval_s is None:  # the canary shows nothing of other persons
            self._failed_in_a_row = 0
        return response

    async def _send(self, request: "_Request") -> HttpResponse | None:
        """Send the request once; None to repeat it with a new authorization."""
        token, connection = await self._prepared(request)
        async with self._pace.turn:
            await self._pace.wait()
            while not (connection.is_open and token is self._authorizer.tokens.current):
                # Both may have expired in a long wait.
                token, connection = await self._prepared(request, connection)
                await self._pace.wait()
            sent_s = self._pace.sent()
        self._count(request)
        authorization = self._authorizer.headers("POST", request.url, token)
        response = await self._transport.post(
            request.url,
            headers={**request.headers(), **authorization},
            body=request.body,
            connection=connection,
            share=request.question.share,
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

    async def _prepared(
        self, request: "_Request", connection: Connection | None = None
    ) -> tuple[Token, Connection]:
        """A token and a connection, so that the request can be sent at once."""
        token = await self._authorizer.tokens.token()
        if connection is None or not connection.is_open:
            connection = await self._connection(request)
        return token, connection

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
        """Report a response to the pace.

        Raises:
            TransientError: it is a failed attempt.
        """
        is_failed = is_transient(response.status)
        header, date = response.header("retry-after"), response.header("date")
        asked_s = parse_retry_after(header, self._runtime.now(), date=date) if is_failed else None
        is_wait_obeyed = self._pace.answered(
            request.question.person_key,
            sent_s,
            status=response.status,
            retry_after_s=asked_s or 0.0,
            is_retry=request.error is not None,
        )
        if is_failed:
            asked = f", Retry-After {asked_s:.0f} s" if asked_s else ""
            error = TransientError(f"status {response.status}{asked}", status=response.status)
            error.retry_after_s, error.is_wait_obeyed = asked_s or 0.0, is_wait_obeyed
            raise error

    def _before_wait(
        self, request: "_Request", _number: int, error: TransientError, wait_s: float
    ) -> None:
        """Log a retry.

        Raises:
            TransientError: the request is not retried.
        """
        is_late = isinstance(error, LateError) or error.retry_after_s > _WAITED_S_MAX
        if is_late or self._failed_in_a_row >= _FAILED_MAX:
            raise error
        wait_s = round(wait_s, 3)
        _log.debug("pts.retry", reason=error.message, attempt=request.sent, wait_s=wait_s)


class _Request(msgspec.Struct, kw_only=True):
    """A request and its attempts.

    Attributes:
        sent: attempts made.
        refusals: how many of them were refused.
        error: of the last attempt.
    """

    question: Question
    url: str
    headers: Callable[[], Mapping[str, str]]
    body: bytes
    sent: int = 0
    refusals: int = 0
    error: TransientError | None = None
