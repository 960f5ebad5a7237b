"""Reads person-areas, and keeps what reads have shown: who failed and who could be read.

A read that fails is an open failure until somebody else has been read after it. Then it is made
once more, and a second failure is the person's own. While nobody is read, the judge finds out
whether it is everybody's (``worker.sync.judge``, promise 6).
"""

import copy
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import anyio

from worker.core import breaker
from worker.core.breaker import OpenFailures
from worker.core.model import CompleteArea, Person
from worker.core.run import RunProgress
from worker.errors import (
    AreaError,
    ConfigurationError,
    OpenFilesError,
    RefusedError,
    UnavailableError,
    WorkerError,
)
from worker.ports import Runtime
from worker.pts.reader import PtsReader

_WITNESSES_MAX: Final = 3
"""The last persons read in each area; one of them may fail by chance."""
_ROUNDS_MAX: Final = 20
"""Failures of a person, each followed by a read of somebody else, after which it is theirs."""
_TROUBLE: Final = (AreaError, RefusedError, UnavailableError)


@dataclass(slots=True, eq=False, kw_only=True)
class Failure:
    """A read that failed.

    Attributes:
        number: of the last read that had begun when it failed.
        due_s: not to be asked before, because PTS asked to wait for this person.
        is_open: nobody has been read since.
        is_own: it is the person's, whatever others get.
        has_been_doubtful: the judge took it for everybody's.
        read: what the judge then read of the person.
    """

    person: Person
    area: str
    error: WorkerError
    number: int
    due_s: float
    is_open: bool = True
    is_own: bool = False
    has_been_doubtful: bool = False
    read: CompleteArea | None = None


@dataclass(slots=True, kw_only=True)
class Evidence:
    """What the reads of one run have shown.

    Attributes:
        wait_s_max: the longest ``Retry-After`` that the run waits for.
        stands_in: called when a reader begins to wait, to begin another instead.
        open: the failures since which nobody was read.
        witnesses: the last persons read in each area, by an earlier attempt at the run as well.
        given_up: the failure of everybody in an area of which nobody is asked any more.
        ending: the verdict that ends the run, once there is one.
        waiting: readers that wait.
        failing_since_s: when the first read failed since anybody was read; None: none did.
        change: set and renewed when one of these changes.
    """

    reader: PtsReader
    runtime: Runtime
    progress: RunProgress
    wait_s_max: float = 900.0
    stands_in: Callable[[], None] = lambda: None
    open: list[Failure] = field(default_factory=list)
    witnesses: dict[str, deque[Person]] = field(
        default_factory=lambda: defaultdict(lambda: deque(maxlen=_WITNESSES_MAX))
    )
    given_up: dict[str, AreaError] = field(default_factory=dict)
    ending: WorkerError | None = None
    waiting: int = 0
    failing_since_s: float | None = None
    change: anyio.Event = field(default_factory=anyio.Event)
    _begun: int = 0
    _under_way: int = 0
    _is_roster_read: bool = False

    async def read(self, person: Person, area: str, *, is_single_use: bool = False) -> CompleteArea:
        """Read an area of a person.

        Args:
            is_single_use: use a new connection for each request.

        Raises:
            AreaError: it is the person's failure, or the area has been given up.
            WorkerError: the run ends.
        """
        attempts = rounds = 0
        is_probe = is_second = False
        while True:
            rounds += 1
            self._check(area)
            read = await self.attempt(person, area, is_single_use=is_single_use, is_probe=is_probe)
            if isinstance(read, CompleteArea):
                return read
            may_ask_again = await self._may_ask_again(read)
            if read.read is not None:
                return read.read
            if isinstance(read.error, AreaError):
                attempts = read.error.attempts = attempts + read.error.attempts
                # Beside witnesses that fail now and then, each failure is taken for doubtful.
                is_over = is_second and not read.has_been_doubtful
                if is_over or rounds >= _ROUNDS_MAX or not may_ask_again:
                    raise read.error
            # After an outage, everybody is asked as if for the first time.
            is_probe, is_second = True, not read.has_been_doubtful

    async def attempt(
        self, person: Person, area: str, *, is_single_use: bool = False, is_probe: bool = True
    ) -> CompleteArea | Failure:
        """Read once; a success closes the failures since which nobody was read.

        Raises:
            WorkerError: the run cannot go on.
        """
        self._begun += 1
        number = self._begun
        self._under_way += 1
        try:
            read = await self.reader.read(
                person, area, is_single_use=is_single_use, is_probe=is_probe
            )
        except OpenFilesError as error:
            raise ConfigurationError(error.message, hint=error.hint) from None
        except _TROUBLE as error:
            return self._failure(person, area, error)
        finally:
            self._under_way -= 1
            if self.is_last:
                self.notify()
        self.failing_since_s = None
        self.witnesses[area].append(person)
        # A failure that came after this read had begun may be the beginning of an outage.
        self.close(*(one for one in self.of(area) if one.number < number))
        return read

    def of(self, area: str) -> list[Failure]:
        """The open failures of an area about which something is to be found out."""
        return [one for one in self.open if one.area == area and not self._is_its_own(one)]

    def facts(self, area: str) -> OpenFailures:
        """The same, as they are judged."""
        found = {failure.person.person_key: failure.error for failure in self.of(area)}
        return OpenFailures(
            errors=[*found.values()],
            wait_s_max=self.wait_s_max,
            has_witness=bool(self.witnesses[area]),
            is_last=self.is_last and bool(found),
        )

    @property
    def has_read(self) -> bool:
        """Whether anybody was read in this run."""
        return any(self.witnesses.values())

    @property
    def is_last(self) -> bool:
        """Whether nobody is being read, and nobody is left on the roster."""
        return self._is_roster_read and not self._under_way

    def suggest(self, person: Person, area: str) -> None:
        """Take somebody for a witness whom an earlier attempt has read, or a run before."""
        self.witnesses[area].append(person)

    def roster_ended(self) -> None:
        """Record that nobody is left on the roster."""
        self._is_roster_read = True
        self.notify()

    def close(self, *failures: Failure, is_own: bool = False) -> None:
        """Let those who wait with these failures go on."""
        for failure in failures:
            failure.is_open, failure.is_own = False, is_own
            self.open.remove(failure)
        if failures:
            self.notify()

    def notify(self) -> None:
        """Wake all who wait for a change."""
        self.change.set()
        self.change = anyio.Event()

    def _check(self, area: str) -> None:
        if self.ending is not None:
            raise self.ending
        if area in self.given_up:
            error = copy.copy(self.given_up[area])
            error.attempts = 0
            raise error

    def _failure(self, person: Person, area: str, error: WorkerError) -> Failure:
        now_s = self.runtime.monotonic()
        if self.failing_since_s is None:
            self.failing_since_s = now_s
        # Its frames hold an answer of up to 16 MB.
        error.__context__ = None
        return Failure(
            person=person,
            area=area,
            error=error.with_traceback(None),
            number=self._begun,
            due_s=now_s + breaker.wait_s(error),
        )

    async def _may_ask_again(self, failure: Failure) -> bool:
        """Wait until somebody else was read, and for the time that PTS asked for.

        Returns:
            False if the failure is the person's own before that.
        """
        self.open.append(failure)
        self.notify()
        with self._waits():
            try:
                while failure.is_open or self._left_s(failure) > 0:
                    if failure.is_own or self._is_its_own(failure):
                        return False
                    with anyio.move_on_after(max(0.0, self._left_s(failure)) or None):
                        await self.change.wait()
            finally:
                if failure.is_open:
                    self.close(failure)
        return not failure.is_own

    def _left_s(self, failure: Failure) -> float:
        return failure.due_s - self.runtime.monotonic()

    def _is_its_own(self, failure: Failure) -> bool:
        """Whether nothing is to be found out about a failure."""
        if not failure.is_open and breaker.wait_s(failure.error) > self.wait_s_max:
            return True
        return self.is_last and breaker.is_own_at_the_end(
            failure.error,
            left_s=self._left_s(failure),
            persons=self.progress.persons_seen,
            has_read=self.has_read,
        )

    @contextmanager
    def _waits(self) -> Iterator[None]:
        self.waiting += 1
        self.stands_in()
        try:
            yield
        finally:
            self.waiting -= 1
