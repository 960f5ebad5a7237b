"""What a run asks of the world outside, as small protocols; and the runtime handed to all."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from worker.core.confirmation import Removed
from worker.core.guard import GuardFacts
from worker.core.model import CompleteArea, Person, PersonRead, RosterEntry, RosterLineError
from worker.core.run import BatchResult, Publication, RunHandle, RunProgress, ShardFinished
from worker.core.value import Value
from worker.errors import ExitCode


class Runtime(Value, frozen=True, kw_only=True):
    """Clock, sleep, randomness and ids: handed in, so that a test can hand in its own.

    Attributes:
        now: the wall clock, an aware UTC datetime.
        monotonic: seconds that never go back.
        sleep: waits that many seconds; a checkpoint even for 0.
        uniform: a random float in [0, 1).
        new_id: a fresh unique id, e.g. for ``jti``.
    """

    now: Callable[[], datetime]
    monotonic: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]
    uniform: Callable[[], float]
    new_id: Callable[[], str]


class Roster(Protocol):
    """Where persons come from. Streamed: no roster is ever held whole in memory."""

    def entries(self) -> AsyncGenerator[RosterEntry | RosterLineError, None]:
        """Each line once, in order; a line that cannot be read as a fault.

        Raises:
            RosterError: the roster as a whole cannot be read.
        """
        ...


class HttpResponse(Value, frozen=True, kw_only=True):
    """An HTTP answer, read whole.

    Attributes:
        headers: values by lower-case name; a name that came more than once holds all its values.
        body: as received after content decoding. Not a copy: it is not to be changed.
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
    """The engine that carries PTS's calls: no retry, no redirect, no wait for a connection."""

    async def post(
        self, url: str, *, headers: Mapping[str, str], body: bytes, is_single_use: bool = False
    ) -> HttpResponse:
        """Send one request and read its answer to the end.

        Args:
            url: where to.
            headers: all but those of the engine itself (``Host``, ``Content-Length`` and the like).
            body: sent as it is.
            is_single_use: send it on a new connection that carries nothing else before or after.

        Raises:
            TransientError: no whole answer came: refused, reset, timed out, cut short.
            ContractError: the answer is larger than the limit, or is not HTTP.
            UnavailableError: the server's certificate is not trusted, expired or another's.
            ConfigurationError: the URL cannot be used.
        """
        ...


class Authorization(Value, frozen=True, kw_only=True):
    """What authorizes one attempt.

    Attributes:
        headers: ``Authorization`` and, with DPoP, ``DPoP``. Never logged.
        token_id: tells one access token from the next, without telling the token.
        serial: counts the authorizations; one that was made later has a greater one.
    """

    hidden = frozenset({"headers"})

    headers: Mapping[str, str]
    token_id: str
    serial: int = 0


class ChallengeResult(Protocol):
    """What an answer means for the authorization; see ``Authorizer.handle_challenge``."""

    @property
    def retry(self) -> bool:
        """Try again at once, with a fresh authorization."""
        ...

    @property
    def token_replaced(self) -> bool:
        """Whether that attempt will carry another token than the refused one."""
        ...

    @property
    def refused(self) -> str:
        """Why this client is denied for now; empty if it is not."""
        ...


class Authorizer(Protocol):
    """Makes the authorization of each attempt and learns from each answer."""

    async def authorize(self, method: str, url: str) -> Authorization:
        """A valid token and a fresh proof for this very attempt.

        Raises:
            RefusedError: HelseID denies the client.
            UnavailableError: HelseID cannot be reached after all retries.
        """
        ...

    def handle_challenge(
        self, url: str, used: Authorization, answer: HttpResponse
    ) -> ChallengeResult:
        """Learn nonces; on 401 decide whether another attempt can help."""
        ...


class Availability(Protocol):
    """Whether PTS can be asked at all, and what speaks for it when that is in doubt."""

    def watch(self, begin_probe: Callable[[], bool]) -> None:
        """Have something to say before the conclusion that PTS is unavailable.

        Args:
            begin_probe: called when PTS is in doubt; says whether a probe will come. If so, all
                other requests wait until ``probed``.
        """
        ...

    def probed(self, *, is_read: bool) -> None:
        """The probe is over: a known-good person-area was read again, or could not be."""
        ...


class AreaReader(Protocol):
    """Reads one area of one person to its last page."""

    async def read(
        self,
        person: Person,
        area: str,
        *,
        key_path: str | None,
        is_single_use: bool = False,
        is_probe: bool = False,
    ) -> CompleteArea:
        """The whole area, with its proof.

        Args:
            person: whom to ask for.
            area: the area's name.
            key_path: the record key path that the area has used before, if any.
            is_single_use: each request goes on a new connection that carries nothing else.
            is_probe: it is read to learn whether PTS answers, and goes before all others.

        Raises:
            AreaError: it could not be read; carries ``attempts``.
            WorkerError: the run cannot go on.
        """
        ...


class RunStore(Protocol):
    """The store, as one run sees it: under the lease, and behind the fencing token."""

    @property
    def handle(self) -> RunHandle:
        """The run that is being worked on."""
        ...

    async def settled(self, person_keys: Sequence[str]) -> Mapping[str, frozenset[str]]:
        """The areas that need no reading any more in this turn, by person.

        Read whole in this run, or failed in this very turn. Persons of an earlier turn are marked
        as met on the roster, so that they do not count as departed.
        """
        ...

    async def not_sent(self, person_keys: Sequence[str]) -> None:
        """Note that these persons are on the roster, although PTS is not asked about them.

        What is known of them stands, stale; they do not count as departed. Who is not known yet is
        not made known.

        Raises:
            LeaseLostError: another holder took over.
        """
        ...

    async def chosen(self, person_keys: Sequence[str]) -> Mapping[str, frozenset[str]] | None:
        """For a backfill of stale or failed areas: which of them to read. ``None``: all areas."""
        ...

    async def apply(self, batch: Sequence[PersonRead]) -> BatchResult:
        """Write finished persons in one transaction, with their proofs.

        A person with an area that lacks a published restriction, and whose read no second one has
        confirmed, is not written at all: ``BatchResult.unconfirmed`` holds them, with the keys of
        what readers see. With ``sync.confirm = changes`` any difference to the published state is
        treated so. What counts is the published state, whatever this run has written before.
        """
        ...

    async def renew(self) -> None:
        """Hold on to the lease while nothing is written.

        Raises:
            LeaseLostError: another holder took over.
        """
        ...

    async def removed_so_far(self, claimed: Mapping[str, Removed]) -> tuple[int, int]:
        """Restrictions closed for good so far, and the persons who lose them.

        Args:
            claimed: by person key, restrictions that would close by reads not yet written; they
                count unless another person holds them by now.
        """
        ...

    async def publish(
        self,
        reasons_of: Callable[[GuardFacts], tuple[str, ...]],
        exit_decision: Callable[[Mapping[str, int]], ExitCode],
        *,
        may_depart: bool,
        progress: RunProgress,
    ) -> Publication | ShardFinished:
        """Make the whole run what readers see, in one transaction.

        Of a run in shards the last one to come here does that, for all; the others note that their
        part is done.

        Raises:
            WithheldError: ``reasons_of`` named reasons; nothing was changed.
        """
        ...

    async def withhold(self, reason: str) -> None:
        """Take back everything that the run wrote and end it."""
        ...

    async def interrupt(self, exit_code: ExitCode, reason: str, progress: RunProgress) -> None:
        """Leave the run open, for the next one to continue."""
        ...


class RateBudget(Protocol):
    """The ceiling on requests that shards divide among them, and this one's share of it."""

    @property
    def total_per_hour(self) -> int:
        """The ceiling over all shards, in requests an hour."""
        ...

    def use(self, per_hour: int, *, until_s: float) -> None:
        """Ask PTS no more often than that from now on.

        Args:
            per_hour: requests an hour; 0: none.
            until_s: on the monotonic clock; from then on none, unless it is said again.
        """
        ...


class CostMeter(Protocol):
    """What PTS was asked in this turn."""

    @property
    def requests(self) -> int:
        """HTTP requests sent."""
        ...

    @property
    def retries(self) -> int:
        """Those that repeated another."""
        ...
