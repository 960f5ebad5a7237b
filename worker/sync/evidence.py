"""Reads person-areas, and finds out whether a failure is the person's or everybody's (promise 6).

A read that fails waits until somebody else has been read, and is made once more: then it is the
person's failure. If nobody is read, the breaker asks a person who was read in this run, the
witness, then those who failed, one request in ten seconds while all others are held back, until
one of them is read or ``sync.patience`` is over. See ``worker.core.breaker``.
"""

import copy
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import anyio
import structlog

from worker.core import breaker
from worker.core.breaker import OpenFailures
from worker.core.model import CompleteArea, FailureKind, Person
from worker.core.run import RunProgress
from worker.errors import (
    AreaError,
    ConfigurationError,
    OpenFilesError,
    RefusedError,
    TransientError,
    UnavailableError,
    WorkerError,
)
from worker.ports import AreaReader, Gate, Runtime

log = structlog.get_logger(__name__)

_ASKED_MAX: Final = 2
"""How often a person is asked, each time with somebody else read in between."""
_WITNESSES_MAX: Final = 3
"""The last persons read in each area; one of them may fail by chance."""
_ALONE_S: Final = 5.0
"""A failure that waits so long for somebody else to be read is doubtful."""
_TROUBLE: Final = (AreaError, RefusedError, UnavailableError)


@dataclass(slots=True, eq=False, kw_only=True)
class _Failure:
    """An open failure.

    Attributes:
        number: of the last read that had begun when it failed.
        due_s: not to be asked before.
        is_own: it is the person's, whatever others get.
        has_been_doubtful: the breaker took it for everybody's.
        read: what the breaker read of the person.
        settled: it is no longer open.
    """

    person: Person
    area: str
    error: WorkerError
    is_single_use: bool
    number: int
    failed_s: float
    due_s: float
    is_own: bool = False
    has_been_doubtful: bool = False
    read: CompleteArea | None = None
    settled: anyio.Event = field(default_factory=anyio.Event)

    @property
    def wait_s(self) -> float:
        """How long PTS asked to wait for this person."""
        return breaker.wait_s(self.error)


@dataclass(slots=True, kw_only=True)
class Evidence:
    """The breaker of one run.

    Attributes:
        was_answered: an earlier publication, or an earlier attempt at this run, was.
        wait_s_max: the longest ``Retry-After`` that the run waits for.
        stands_in: called when a reader begins to wait, to begin another instead.
        ending: the verdict that ends the run, once there is one.
        waiting: readers that wait.
        waited_s: how long the run has waited for anybody to be read.
    """

    reader: AreaReader
    gate: Gate
    runtime: Runtime
    progress: RunProgress
    areas: Sequence[str]
    was_answered: bool = False
    patience_s: float = 600.0
    wait_s_max: float = 900.0
    stands_in: Callable[[], None] = lambda: None
    ending: WorkerError | None = None
    waiting: int = 0
    waited_s: float = 0.0
    _open: list[_Failure] = field(default_factory=list)
    _witnesses: dict[str, deque[Person]] = field(
        default_factory=lambda: defaultdict(lambda: deque(maxlen=_WITNESSES_MAX))
    )
    _verdicts: dict[str, WorkerError] = field(default_factory=dict)
    _given_up: dict[str, AreaError] = field(default_factory=dict)
    _begun: int = 0
    _under_way: int = 0
    _failing_since_s: float | None = None
    _is_roster_read: bool = False
    _change: anyio.Event = field(default_factory=anyio.Event)

    async def read(
        self, person: Person, area: str, *, due_s: float = 0.0, is_single_use: bool = False
    ) -> CompleteArea:
        """Read an area of a person.

        Args:
            due_s: not before, because PTS asked to wait for this person.
            is_single_use: use a new connection for each request.

        Raises:
            AreaError: it is the person's failure, or the area has been given up.
            WorkerError: the run ends.
        """
        asked, attempts, is_again = 0, 0, False
        if not await self._is_due(due_s):
            raise TransientError("not asked: PTS asked to wait for this person (Retry-After)")
        while True:
            self._check(area)
            cuts = self.gate.cuts
            read = await self._try(person, area, is_single_use=is_single_use, is_again=is_again)
            if isinstance(read, CompleteArea):
                return read
            if isinstance(read.error, AreaError):
                attempts = read.error.attempts = attempts + read.error.attempts
            # If the pace was too high for PTS, the person had no part in it.
            asked += self.gate.cuts == cuts
            is_again = True
            await self._settled(read)
            if read.read is not None:
                return read.read
            if read.has_been_doubtful:
                asked = 0
            is_own = read.is_own or asked >= _ASKED_MAX
            if isinstance(read.error, AreaError) and (is_own or not await self._is_due(read.due_s)):
                raise read.error

    def slowed_by(self) -> tuple[str, ...]:
        """Why the run was slower than configured, for its summary; nothing if it was not."""
        said = [text for text in (self.gate.slowed_by(),) if text]
        if self.waited_s >= 1:
            said.append(f"for {self.waited_s:,.0f} s nobody could be read")
        return (f"slower than configured: {'; '.join(said)}",) if said else ()

    def suggest(self, person: Person, area: str) -> None:
        """Take somebody for a witness whom an earlier attempt has read, or a run before."""
        self._witnesses[area].append(person)

    def roster_ended(self) -> None:
        """Record that nobody is left on the roster."""
        self._is_roster_read = True
        self._notify()

    async def watch(self) -> None:
        """Find out who is at fault when nobody is read any more; runs until cancelled."""
        while True:
            change = self._change
            try:
                for area in self.areas:
                    if self._facts(area).are_doubtful or self._has_waited(area):
                        await self._find_out(area)
            except WorkerError as error:
                self.ending = error
                self._settle(*self._open, is_own=True)
            with anyio.move_on_after(_ALONE_S):
                await change.wait()

    # One read

    def _check(self, area: str) -> None:
        if self.ending is not None:
            raise self.ending
        if area in self._given_up:
            error = copy.copy(self._given_up[area])
            error.attempts = 0
            raise error

    async def _try(
        self, person: Person, area: str, *, is_single_use: bool, is_again: bool
    ) -> CompleteArea | _Failure:
        self._begun += 1
        number = self._begun
        self._under_way += 1
        try:
            read = await self.reader.read(
                person, area, is_single_use=is_single_use, is_probe=is_again
            )
        except OpenFilesError as error:
            raise ConfigurationError(error.message, hint=error.hint) from None
        except _TROUBLE as error:
            return self._failure(person, area, error, is_single_use=is_single_use)
        finally:
            self._under_way -= 1
        self._was_read(person, read, number)
        return read

    def _failure(
        self, person: Person, area: str, error: WorkerError, *, is_single_use: bool
    ) -> _Failure:
        now_s = self.runtime.monotonic()
        if self._failing_since_s is None:
            self._failing_since_s = now_s
        return _Failure(
            person=person,
            area=area,
            error=_without_frames(error),
            is_single_use=is_single_use,
            number=self._begun,
            failed_s=now_s,
            due_s=now_s + breaker.wait_s(error),
        )

    def _was_read(self, person: Person, read: CompleteArea, number: int) -> None:
        """Everybody who had failed before this read began was no outage."""
        self._failing_since_s = None
        self._witnesses[read.area].append(person)
        for failure in self._of(read.area) if self._open else ():
            if failure.number < number:
                self._settle(failure)
        if self.waiting and not self._under_way:
            self._notify()

    async def _settled(self, failure: _Failure) -> None:
        self._open.append(failure)
        self._notify()
        with self._waits():
            try:
                await failure.settled.wait()
            finally:
                self._settle(failure)

    async def _is_due(self, due_s: float) -> bool:
        """Wait until then; false if that is too long, or too long for the last persons of a run."""
        now_s = self.runtime.monotonic()
        if due_s <= now_s or due_s - now_s > self.wait_s_max:
            return due_s <= now_s
        with self._waits():
            while (left_s := due_s - self.runtime.monotonic()) > 0:
                if left_s > breaker.WAITING_S_MAX and self._is_last and self._has_read:
                    return False
                with anyio.move_on_after(left_s):
                    await self._change.wait()
        return True

    @contextmanager
    def _waits(self) -> Iterator[None]:
        self.waiting += 1
        self.stands_in()
        try:
            yield
        finally:
            self.waiting -= 1

    # All reads

    @property
    def _is_last(self) -> bool:
        return self._is_roster_read and not self._under_way

    @property
    def _has_read(self) -> bool:
        return any(self._witnesses.values())

    def _of(self, area: str) -> list[_Failure]:
        return [failure for failure in self._open if failure.area == area]

    def _facts(self, area: str) -> OpenFailures:
        found = {failure.person.person_key: failure.error for failure in self._of(area)}
        return OpenFailures(
            errors=[*found.values()],
            wait_s_max=self.wait_s_max,
            has_witness=bool(self._witnesses[area]),
            is_last=self._is_last and bool(found),
        )

    def _has_waited(self, area: str) -> bool:
        now_s = self.runtime.monotonic()
        waits = any(now_s - failure.failed_s >= _ALONE_S for failure in self._of(area))
        return waits and bool(self._witnesses[area])

    async def _find_out(self, area: str) -> None:
        """Ask one after the other, until somebody is read or the verdict stands."""
        began_s, turn = self.runtime.monotonic(), 0
        try:
            self._dismiss(area)
            if not self._witnesses[area]:
                await self._drain()
            while self._of(area) and not await self._is_anybody_read(area, turn):
                turn += 1
                if self._of(area) and self._is_enough(area):
                    self._conclude(area)
                    return
                self._doubt(area)
                self._dismiss(area)
        finally:
            if self.gate.is_held:
                self.waited_s += self.runtime.monotonic() - began_s
                if self.ending is None:
                    self.gate.release()

    async def _drain(self) -> None:
        """Wait for those who are under way: while nobody was read, each of them counts."""
        self.gate.hold(breaker.spacing_s(self.patience_s))
        await self.gate.drained()

    def _doubt(self, area: str) -> None:
        failures = self._of(area)
        if failures and not all(failure.has_been_doubtful for failure in failures):
            log.warning("pts.doubtful", area=area, failing=len(failures))
        for failure in failures:
            failure.has_been_doubtful = True
        if not self.gate.is_held:
            self.gate.hold(breaker.spacing_s(self.patience_s))

    async def _is_anybody_read(self, area: str, turn: int) -> bool:
        """Ask a witness or one of those who failed, in turn; nobody if that cannot help."""
        witnesses = [*reversed(self._witnesses[area])]
        failures = [one for one in self._of(area) if one.wait_s <= self.wait_s_max]
        is_asked_later = any(one.wait_s for one in failures)
        if not witnesses and self._is_enough(area) and not is_asked_later:
            return False
        if not witnesses and not failures:
            await self.runtime.sleep(breaker.spacing_s(self.patience_s))
            return False
        chosen = turn % (len(witnesses) + len(failures))
        if chosen < len(witnesses):
            return await self._ask(witnesses[chosen], area)
        failures.sort(key=lambda one: one.due_s)
        now_s = self.runtime.monotonic()
        due = [one for one in failures if one.due_s <= now_s] or failures[:1]
        failure = due[turn % len(due)]
        await self.runtime.sleep(max(0.0, failure.due_s - now_s))
        return failure.settled.is_set() or await self._ask(failure.person, area, failure)

    async def _ask(self, person: Person, area: str, failure: _Failure | None = None) -> bool:
        is_single_use = failure is not None and failure.is_single_use
        read = await self._try(person, area, is_single_use=is_single_use, is_again=True)
        if isinstance(read, CompleteArea):
            if failure is not None:
                failure.read = read
                self._settle(failure)
            return True
        log.info("pts.still_failing", area=area, reason=read.error.message)
        if failure is not None:
            failure.error, failure.due_s = read.error, read.due_s
        return False

    def _dismiss(self, area: str) -> None:
        """Of the last persons of a run, some failures are their own without more evidence."""
        if not self._is_last:
            return
        failures = self._of(area)
        now_s = self.runtime.monotonic()
        late = [one for one in failures if one.due_s - now_s > breaker.WAITING_S_MAX]
        if self._has_read:
            self._settle(*late, is_own=True)
        if self.progress.persons_seen < breaker.SMALL_RUN:
            kinds = ((one, breaker.kind_of(one.error)) for one in failures)
            rejected = [one for one, kind in kinds if kind == FailureKind.REJECTED]
            self._settle(*rejected, is_own=True)

    def _is_enough(self, area: str) -> bool:
        """Whether the verdict about an area stands if nobody can be read now."""
        if self._facts(area).are_told_to_wait:
            return True
        if not (self.was_answered or self._has_read):
            return True
        now_s = self.runtime.monotonic()
        since_s = now_s if self._failing_since_s is None else self._failing_since_s
        return now_s - since_s >= self.patience_s

    def _conclude(self, area: str) -> None:
        """Give the area up; end the run if no other is left, or if this is about all of them."""
        facts = self._facts(area)
        found, last = facts.verdict(self.runtime.now()), facts.errors[-1]
        self._verdicts[area] = found
        if facts.are_about_all_areas or not isinstance(last, AreaError):
            self.ending = found
        elif self._verdicts.keys() >= set(self.areas):
            self.ending = breaker.together([*self._verdicts.values()])
        else:
            self._given_up[area] = last
            log.warning("pts.area_given_up", area=area, reason=found.message, hint=found.hint)
        self._settle(*self._of(area), is_own=True)

    def _settle(self, *failures: _Failure, is_own: bool = False) -> None:
        for failure in failures:
            failure.is_own = failure.is_own or is_own
            failure.settled.set()
            if failure in self._open:
                self._open.remove(failure)

    def _notify(self) -> None:
        self._change.set()
        self._change = anyio.Event()


def _without_frames(error: WorkerError) -> WorkerError:
    """The error without the frames that it went through, which hold an answer of up to 16 MB."""
    error.__context__ = None
    return error.with_traceback(None)
