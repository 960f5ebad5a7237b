"""Ports: the protocols through which a run uses the outside world, and the runtime."""

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from random import SystemRandom
from secrets import token_hex
from typing import Protocol

import anyio

from worker.core.confirmation import Unconfirmed
from worker.core.guard import GuardLimits
from worker.core.model import CompleteArea, Person, PersonRead, RosterEntry, RosterLineError
from worker.core.run import Publication, RunHandle, RunProgress
from worker.core.value import Value
from worker.errors import ExitCode, WithheldError


class Runtime(Value, frozen=True, kw_only=True):
    """Clock, sleep, randomness and ids, passed in so that tests can replace them.

    Attributes:
        now: the wall clock, an aware UTC datetime.
        monotonic: a monotonic clock, in seconds.
        sleep: waits a number of seconds; a checkpoint even for 0.
        uniform: a random float in [0, 1).
        new_id: a new unique id, e.g. for ``jti``.
    """

    now: Callable[[], datetime]
    monotonic: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]
    uniform: Callable[[], float]
    new_id: Callable[[], str]


def real_runtime() -> Runtime:
    """The production runtime: UTC wall clock, system randomness, 128-bit ids.

    No other module uses these directly.
    """
    return Runtime(
        now=lambda: datetime.now(UTC),
        monotonic=time.monotonic,
        sleep=anyio.sleep,
        uniform=SystemRandom().random,
        new_id=lambda: token_hex(16),
    )


class Roster(Protocol):
    """The persons to read. Streamed, never held completely in memory."""

    def entries(self) -> AsyncGenerator[RosterEntry | RosterLineError, None]:
        """Each line once, in order; a line that cannot be read is a roster error.

        Raises:
            RosterError: the roster cannot be read at all.
        """
        ...


class HttpResponse(Value, frozen=True, kw_only=True):
    """A complete HTTP response.

    Attributes:
        headers: values by lower-case name, one per occurrence of the header.
        body: after content decoding. Not a copy; do not modify.
    """

    hidden = frozenset({"headers", "body"})

    status: int
    headers: Mapping[str, tuple[str, ...]]
    body: bytes | bytearray

    def header(self, name: str) -> str | None:
        """The first value of a header by its lower-case name."""
        values = self.headers.get(name)
        return values[0] if values else None


class HttpTransport(Protocol):
    """Sends requests to PTS: no retries, no redirects, no waiting for a connection."""

    async def post(
        self, url: str, *, headers: Mapping[str, str], body: bytes, is_single_use: bool = False
    ) -> HttpResponse:
        """Send one request and read the complete response.

        Args:
            headers: all headers except the engine's own (``Host``, ``Content-Length``, …).
            is_single_use: use a new connection for this request only.

        Raises:
            TransientError: no complete response: refused, reset, timed out, truncated, or followed
                by surplus bytes.
            ContractError: the response exceeds the size limit or is not HTTP.
            UnavailableError: the server's certificate is not trusted, expired or for another host.
            ConfigurationError: the URL or a header is invalid, the URL is not HTTPS, or the proxy
                refuses.
        """
        ...


class Authorization(Value, frozen=True, kw_only=True):
    """The authorization of one attempt.

    Attributes:
        headers: ``Authorization`` and, with DPoP, ``DPoP``. Never logged.
        token_id: identifies the access token; safe to log.
        serial: increases with each authorization.
    """

    hidden = frozenset({"headers"})

    headers: Mapping[str, str]
    token_id: str
    serial: int = 0


class ChallengeResult(Value, frozen=True, kw_only=True):
    """What a response means for the authorization; see ``Authorizer.handle_challenge``.

    Attributes:
        retry: an immediate retry with a new authorization may succeed.
        token_replaced: the retry will use another token.
        refused: why this client is denied for now; empty if it is not.
    """

    retry: bool = False
    token_replaced: bool = False
    refused: str = ""


class Authorizer(Protocol):
    """Authorizes each attempt and handles challenges in responses."""

    async def authorize(self, method: str, url: str) -> Authorization:
        """A valid token and a new DPoP proof for one attempt.

        Raises:
            RefusedError: HelseID denies the client.
            UnavailableError: HelseID cannot be reached after all retries.
            ConfigurationError: the issuer or the subject token file cannot be used.
        """
        ...

    def handle_challenge(
        self, url: str, used: Authorization, response: HttpResponse
    ) -> ChallengeResult:
        """Store the DPoP nonce; on 401 decide whether a retry can help."""
        ...


class Gate(Protocol):
    """What lets the requests to PTS go, one by one."""

    @property
    def is_held(self) -> bool:
        """Whether only probes are sent."""
        ...

    def hold(self, spacing_s: float) -> None:
        """Send only probes from now on, one in so many seconds."""
        ...

    def release(self) -> None:
        """Send everything again."""
        ...

    async def drained(self) -> None:
        """Wait until no request is under way."""
        ...

    def slowed_by(self) -> str:
        """Why this run was slower than configured; empty if it was not."""
        ...


class AreaReader(Protocol):
    """Reads one area of one person to its last page."""

    async def read(
        self,
        person: Person,
        area: str,
        *,
        is_single_use: bool = False,
        is_probe: bool = False,
    ) -> CompleteArea:
        """The complete area, with its completeness proof.

        Args:
            is_single_use: use a new connection for each request.
            is_probe: make one attempt, before all other requests and also while these are held.

        Raises:
            AreaError: the area could not be read; ``attempts`` is set.
            UnavailableError, RefusedError: HelseID cannot be reached or refuses, or PTS's
                certificate is not trusted; that may pass.
            WorkerError: the run cannot continue.
        """
        ...


class RunStore(Protocol):
    """The store during one run, protected by the lease and the fencing token.

    Whatever writes raises ``LeaseLostError`` if another holder took over.
    """

    @property
    def handle(self) -> RunHandle:
        """The current run."""
        ...

    async def settled(self, person_keys: Sequence[str]) -> Mapping[str, frozenset[str]]:
        """The areas that need no first read by this run attempt, by person.

        These are areas read completely in this run, or failed in this run attempt. Persons whom an
        earlier run attempt has read are marked as seen on the roster.
        """
        ...

    async def waiting(self) -> int:
        """The number of persons with an area whose first read waits for its second."""
        ...

    async def unconfirmed(
        self, person_keys: Sequence[str]
    ) -> Mapping[str, Mapping[str, Unconfirmed]]:
        """These first reads, by person and area."""
        ...

    async def not_sent(self, person_keys: Sequence[str]) -> None:
        """Mark persons as on the roster although they are not read from PTS.

        Known persons become stale and count as named. Unknown persons are not added.
        """
        ...

    async def chosen(self, person_keys: Sequence[str]) -> Mapping[str, frozenset[str]] | None:
        """The areas that a backfill of stale or failed areas reads. ``None``: all areas."""
        ...

    async def apply(self, batch: Sequence[PersonRead]) -> frozenset[str]:
        """Write drafts of a batch of persons in one transaction, with their completeness proofs.

        Each is compared with the published state. A first read that would take a restriction out
        of effect, or open what another person has, changes nothing until a second one has confirmed
        it; with ``sync.confirm = changes`` so does any difference.

        Returns:
            The keys of persons with an area whose first read waits for its second.
        """
        ...

    async def renew(self) -> None:
        """Renew the lease while nothing is written."""
        ...

    async def publish(
        self, limits: GuardLimits, *, may_depart: bool, progress: RunProgress
    ) -> Publication:
        """Publish the run in one transaction.

        Raises:
            WithheldError: the run is beyond the limits; nothing was changed.
        """
        ...

    async def unknown_failures(self) -> int:
        """Open failures in this run's areas of persons who are in no publication.

        No backfill reads them, as nothing says that they are on the roster. 0 unless this run reads
        failures.
        """
        ...

    async def abandon(
        self, exit_code: ExitCode, reason: str, progress: RunProgress
    ) -> Mapping[str, int]:
        """End the run without publishing it, as nothing was read; its totals."""
        ...

    async def withhold(self, error: WithheldError) -> None:
        """Forget what the run has read, but for its failures, and end it."""
        ...

    async def interrupt(self, exit_code: ExitCode, reason: str, progress: RunProgress) -> None:
        """Stop this run attempt and leave the run open, for the next one to continue."""
        ...


class CostMeter(Protocol):
    """Counts the requests of this run attempt."""

    @property
    def requests(self) -> int:
        """HTTP requests sent."""
        ...

    @property
    def retries(self) -> int:
        """Requests that were retries."""
        ...
