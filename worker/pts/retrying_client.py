"""Sends requests to PTS at the rate of ``Pace``, with authorization and retries.

Retries are above the transport, so that every attempt has a new DPoP proof, and below paging, so
that a lost page does not cost the other pages.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Final

import msgspec
import structlog

from worker.core.retry import (
    RetryPolicy,
    is_denial,
    is_transient,
    parse_retry_after,
    wait_before_retry,
)
from worker.core.run import RequestCounts
from worker.errors import LateError, TransientError
from worker.helseid.authorizer import HelseIdAuthorizer
from worker.helseid.tokens import Token
from worker.http.budget import Share
from worker.http.connection import Connection
from worker.http.response import HttpResponse
from worker.http.transport import Transport
from worker.ports import Runtime
from worker.pts.pace import Pace

_FAILURES_MAX: Final = 20
"""After 20 failed attempts in a row, retries stop until an attempt succeeds."""
_RETRY_AFTER_S_MAX: Final = 10.0
"""The longest ``Retry-After`` before a retry. A longer one fails the read."""
_log = structlog.get_logger(__name__)


class Request(msgspec.Struct, kw_only=True):
    """The request for a page of one person's area. The next page changes its URL and body.

    Attributes:
        new_headers: makes the headers of one attempt, without the authorization.
        share: the memory budget of the response.
        is_single_use: use a new connection for each attempt, and close it afterwards.
        probe_interval_s: above 0 for a probe, which makes one attempt, and repeats it with a new
            authorization only after this time.
        attempts: number of attempts so far, for all pages.
    """

    person_key: str
    new_headers: Callable[[], Mapping[str, str]]
    url: str
    body: bytes
    share: Share | None = None
    is_single_use: bool = False
    probe_interval_s: float = 0.0
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
        self.counts = RequestCounts()

    def reserve_memory(self) -> AbstractAsyncContextManager[Share]:
        """Reserve memory for the response to a request (promise 10)."""
        return self._transport.budget.share()

    async def send(self, request: Request) -> HttpResponse:
        """Send a POST request, with retries.

        Returns:
            The first response that is neither a transient status nor a refusal.

        Raises:
            TransientError: every attempt failed, PTS asks to wait (``Retry-After``), or it did not
                answer in time.
            DeniedError: PTS denies the client even with a new token and DPoP proof.
            ContractError: the response is encoded or too large.
            WorkerError: HelseID refuses or is unavailable, the certificate is not accepted, or the
                installation has an error.
        """
        attempt = 1
        while True:
            try:
                response = await self._attempt(request, is_retry=attempt > 1)
            except TransientError as error:
                self._failed_in_a_row += 1
                wait_s = self._retry_wait_s(request, attempt, error)
                if wait_s is None:
                    raise
                _log.debug("pts.retry", reason=error.message, attempt=attempt, wait_s=wait_s)
                await self._runtime.sleep(wait_s)
                if self._failed_in_a_row >= _FAILURES_MAX:
                    raise  # other requests failed during the wait: PTS may be down
            else:
                if not request.probe_interval_s:  # one canary is no evidence about other persons
                    self._failed_in_a_row = 0
                return response
            attempt += 1

    def _retry_wait_s(self, request: Request, attempt: int, error: TransientError) -> float | None:
        """Seconds before the next attempt. None if there is no retry."""
        # Waiting would block this reader. A later pass reads the person again.
        is_too_long = isinstance(error, LateError) or error.retry_after_s > _RETRY_AFTER_S_MAX
        if is_too_long or request.probe_interval_s or self._failed_in_a_row >= _FAILURES_MAX:
            return None
        jitter = self._runtime.uniform()
        return wait_before_retry(self._policy, attempt, error.retry_after_s, jitter)

    async def _attempt(self, request: Request, *, is_retry: bool) -> HttpResponse:
        """Make one attempt, and report its response to the pace.

        Raises:
            TransientError: a retry may help.
        """
        response = await self._send_authorized(request, is_retry=is_retry)
        status, wait_s = response.status, self._requested_wait_s(response)
        self._pace.answered(
            request.person_key, status=status, retry_after_s=wait_s, is_retry=is_retry
        )
        if is_transient(status):
            suffix = f", Retry-After {wait_s:.0f} s" if wait_s else ""
            error = TransientError(f"status {status}{suffix}", status=status)
            error.retry_after_s = wait_s
            raise error
        return response

    async def _send_authorized(self, request: Request, *, is_retry: bool) -> HttpResponse:
        """Send the request. Repeat it at once while a new authorization can help."""
        refusals = 0
        while True:
            token, connection = await self._wait_for_turn(request)
            self.counts.requests += 1
            self.counts.retries += is_retry or refusals > 0
            request.attempts += 1
            response = await self._post(request, token, connection)
            if not is_denial(response.status):
                return response
            refusals += 1
            if refusal := self._authorizer.refusal(token, response, refusals):
                raise refusal
            connection.close()  # another replica may accept the request
            # During an outage, a probe with a new token must not exceed one request per interval.
            if request.probe_interval_s:
                await self._runtime.sleep(request.probe_interval_s)

    async def _wait_for_turn(self, request: Request) -> tuple[Token, Connection]:
        """Wait for the rate limit. Returns a token and a connection that are valid now."""
        # Both come before the lock, so that a slow HelseID does not block the other requests.
        token, connection = await self._token_and_connection(request)
        async with self._pace.turn:
            await self._pace.wait()
            while not (connection.is_open and token is self._authorizer.tokens.current):
                # Both may have expired in a long wait.
                token, connection = await self._token_and_connection(request, connection)
                await self._pace.wait()
            self._pace.sent()
            return token, connection

    async def _token_and_connection(
        self, request: Request, connection: Connection | None = None
    ) -> tuple[Token, Connection]:
        token, url = await self._authorizer.tokens.token(), request.url
        if connection is None or not connection.is_open:
            is_single_use = request.is_single_use
            # A confirming read must not reach the same replica or proxy as the first read.
            idle = None if is_single_use else self._transport.idle(url)
            connection = idle or await self._transport.connect(url, is_single_use=is_single_use)
        return token, connection

    async def _post(self, request: Request, token: Token, connection: Connection) -> HttpResponse:
        authorization = self._authorizer.headers("POST", request.url, token)
        response = await self._transport.post(
            request.url,
            headers={**request.new_headers(), **authorization},
            body=request.body,
            connection=connection,
            share=request.share,
        )
        self._authorizer.keep_nonce(request.url, response)
        return response

    def _requested_wait_s(self, response: HttpResponse) -> float:
        """Seconds that PTS asks to wait (``Retry-After``). 0 if it does not."""
        # Retry-After of a success or a rejection is no reason to wait.
        if not is_transient(response.status):
            return 0.0
        header, date = response.header("retry-after"), response.header("date")
        return parse_retry_after(header, self._runtime.now(), date=date) or 0.0
