"""Reads person-areas, and finds out whose the trouble is: a person's or everybody's (promise 6).

The failures since the last complete read of an area are kept. When they are of three persons, of
twenty where nobody was read, or of one when nobody else is left, or when one cannot be about a
person, a witness is asked again: a person who was read in this run. If the witness is read, the
trouble is the others'. If not, all others are held back, and one request in ten seconds goes to the
witnesses and those who failed, in turn, until one of them is read; then who failed meanwhile is
asked as if for the first time. After ``sync.patience`` the area is given up; at once if nobody was
ever answered. When no area is left, or another would be no better, the run ends with the verdict.
"""

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import anyio
import structlog

from worker.config.settings import Sync
from worker.core.breaker import verdict
from worker.core.model import CompleteArea, Person
from worker.core.run import RunProgress
from worker.errors import (
    AreaError,
    FailureKind,
    RefusedError,
    TransientError,
    UnavailableError,
    WorkerError,
)
from worker.ports import Runtime
from worker.pts.pace import Pace
from worker.pts.reader import PtsReader

WAITING_S_MAX: Final = 10.0
"""When only persons are left whom PTS asked to wait for, they are waited for no longer."""
_BESIDE_A_WITNESS: Final = 3
"""Persons with an open failure before a person who was read is asked again: that costs little."""
_ALONE: Final = 20
"""The same while nobody was read: a roster may begin with some who fail for ever."""
_OUTAGES_MAX: Final = 3
"""Who fails in so many outages fails beside them, too: no failure makes a run endless."""
_WITNESSES_MAX: Final = 3
"""The last persons read in each area; one of them may fail by chance."""
_SPACING_S: Final = 10.0
"""Between two requests while nobody can be read."""
_SMALL_RUN: Final = 20
"""In a run of fewer persons PTS may have good reasons to reject each of them."""

log = structlog.get_logger(__name__)


class _Failure(NamedTuple):
    """A read that failed."""

    person: Person
    error: WorkerError


@dataclass(slots=True, kw_only=True)
class Area:
    """What reads have shown of an area.

    Attributes:
        failed: the failures since anybody was read, by person.
        witnesses: the last persons read, by an earlier attempt at the run as well.
        given_up: the failures for which nobody is asked any more.
    """

    name: str
    failed: dict[str, _Failure] = field(default_factory=dict)
    witnesses: deque[Person] = field(default_factory=lambda: deque(maxlen=_WITNESSES_MAX))
    given_up: Sequence[WorkerError] = ()


@dataclass(slots=True, kw_only=True)
class Breaker:
    """The breaker of one run.

    Attributes:
        areas: that are read, by name.
        was_answered: an earlier publication, or an earlier attempt at this run, was.
        ending: the verdict that ends the run, once there is one.
    """

    reader: PtsReader
    pace: Pace
    runtime: Runtime
    progress: RunProgress
    areas: Mapping[str, Area]
    was_answered: bool
    settings: Sync
    ending: WorkerError | None = None
    _due_s: dict[str, float] = field(default_factory=dict)
    _failing_since_s: float = math.inf
    _outages: int = 0
    _looking: anyio.Lock = field(default_factory=anyio.Lock)

    async def read(
        self, person: Person, name: str, *, is_single_use: bool = False, is_last: bool = False
    ) -> CompleteArea:
        """Read an area of a person.

        Args:
            is_single_use: use a new connection for each request.
            is_last: all others have been asked: one attempt must do, and one failure counts.

        Raises:
            AreaError: it failed, or the area has been given up.
            WorkerError: the run ends.
        """
        area, failures = self.areas[name], 0
        while not area.given_up:
            outages = self._outages
            read = await self._ask(person, area, is_single_use=is_single_use, is_probe=is_last)
            if isinstance(read, CompleteArea):
                return read
            await self._look_into(area, is_last=is_last)
            if isinstance(read, AreaError):
                failures += 1
                if area.given_up or self._outages == outages or failures == _OUTAGES_MAX:
                    raise read
            elif self.ending is not None:
                # What is everybody's fails nobody: it passes, or ends the run.
                raise self.ending
        raise _not_asked(area.given_up[-1])

    def left_s(self, person: Person) -> float:
        """Seconds until PTS wants to be asked again for a person; not positive: at once."""
        return self._due_s.get(person.person_key, -math.inf) - self.runtime.monotonic()

    def forget(self, person: Person) -> None:
        """Keep no time at which somebody may be asked again."""
        self._due_s.pop(person.person_key, None)

    def suggest(self, person: Person, name: str) -> None:
        """Take somebody for a witness whom an earlier attempt at this run has read."""
        self.areas[name].witnesses.append(person)

    async def _ask(
        self, person: Person, area: Area, *, is_single_use: bool = False, is_probe: bool
    ) -> CompleteArea | WorkerError:
        """Read once, unless PTS asked to wait; who is read shows that PTS answers.

        Raises:
            WorkerError: the run cannot go on.
        """
        # A failure that comes after this read has begun may be the beginning of an outage.
        before = tuple(area.failed.items())
        try:
            if (left_s := self.left_s(person)) > 0:
                raise _to_wait(left_s)
            read = await self.reader.read(
                person, area.name, is_single_use=is_single_use, is_probe=is_probe
            )
        except (AreaError, RefusedError, UnavailableError) as error:
            self._record(_Failure(person, error), area)
            return error
        self._failing_since_s = math.inf
        self.forget(person)
        area.witnesses.append(person)
        for key, failure in before:
            if area.failed.get(key) is failure:
                del area.failed[key]
        return read

    def _record(self, failure: _Failure, area: Area) -> None:
        now_s, key, error = self.runtime.monotonic(), failure.person.person_key, failure.error
        area.failed[key] = failure
        self._failing_since_s = min(self._failing_since_s, now_s)
        if error.retry_after_s:
            self._due_s[key] = now_s + error.retry_after_s
        # Its frames hold an answer of up to 16 MB.
        error.__context__ = error.__traceback__ = None

    async def _look_into(self, area: Area, *, is_last: bool) -> None:
        """Find out about an area, if it is time; who fails meanwhile waits for the outcome."""
        async with self._looking:
            turn = 0
            while failures := self._doubtful(area, is_last=is_last):
                if not (turn or area.witnesses):
                    # While nobody was read, each of those who are under way counts.
                    self._hold(area)
                    await self.pace.drained()
                elif turn and self._is_enough():
                    self._give_up(area, failures)
                elif await self._is_anybody_read(area, failures, turn):
                    break
                else:
                    self._hold(area)
                turn += 1
            if self.ending is None:
                self.pace.release()

    def _doubtful(self, area: Area, *, is_last: bool) -> Sequence[_Failure]:
        """The open failures, if they are enough to find out whose they are."""
        if self.ending is not None or area.given_up:
            return ()
        failures = [one for one in area.failed.values() if not (is_last and self._is_own(one))]
        least = _BESIDE_A_WITNESS if area.witnesses else _ALONE
        is_enough = is_last or len(failures) >= least or _are_of_everybody(failures)
        return failures if is_enough else ()

    def _is_own(self, failure: _Failure) -> bool:
        """Whether it is the person's in any case, as all others have been asked."""
        is_rejected = failure.error.kind == FailureKind.REJECTED
        is_told_to_wait = self._has_read and self.left_s(failure.person) > WAITING_S_MAX
        return is_told_to_wait or (is_rejected and self.progress.persons_seen < _SMALL_RUN)

    @property
    def _has_read(self) -> bool:
        return any(area.witnesses for area in self.areas.values())

    def _hold(self, area: Area) -> None:
        if not self.pace.is_held:
            self._outages += 1
            *_, last = area.failed.values()
            reason = last.error.message
            log.warning("pts.doubtful", area=area.name, failing=len(area.failed), reason=reason)
            # With little patience there are several requests, too.
            self.pace.hold(min(_SPACING_S, self.settings.patience.total_seconds() / 6))

    async def _is_anybody_read(self, area: Area, failed: Sequence[_Failure], turn: int) -> bool:
        """Ask one of the witnesses and of those who failed; nobody while all are to wait."""
        known = (*reversed(area.witnesses), *(failure.person for failure in failed))
        asked = [person for person in known if self.left_s(person) <= 0]
        if not asked:
            await self.runtime.sleep(_SPACING_S)
            return False
        read = await self._ask(asked[turn % len(asked)], area, is_single_use=True, is_probe=True)
        if isinstance(read, WorkerError):
            log.info("pts.still_failing", area=area.name, reason=read.message)
        return isinstance(read, CompleteArea)

    def _is_enough(self) -> bool:
        """Whether the verdict about an area stands if nobody can be read now."""
        if not (self.was_answered or self._has_read):
            return True
        failing_s = self.runtime.monotonic() - self._failing_since_s
        return failing_s >= self.settings.patience.total_seconds()

    def _give_up(self, area: Area, failures: Sequence[_Failure]) -> None:
        """Ask nobody for the area any more; end the run if no other is left, or is better."""
        errors = area.given_up = [failure.error for failure in failures]
        is_no_other_better = _are_of_everybody(failures)
        if not is_no_other_better:
            errors = [error for one in self.areas.values() for error in one.given_up]
        wait_s_max = self.settings.retry_after_max.total_seconds()
        found = verdict(errors, wait_s_max=wait_s_max, now=self.runtime.now())
        if is_no_other_better or all(one.given_up for one in self.areas.values()):
            self.ending = found
        else:
            log.warning("pts.area_given_up", area=area.name, reason=found.message, hint=found.hint)


def _are_of_everybody(failures: Sequence[_Failure]) -> bool:
    """Whether one cannot be about a person or an area, as HelseID's and a certificate's."""
    return not all(isinstance(failure.error, AreaError) for failure in failures)


def _to_wait(left_s: float) -> TransientError:
    error = TransientError("not asked: PTS asked to wait for this person (Retry-After)")
    error.retry_after_s = left_s
    return error


def _not_asked(error: WorkerError) -> WorkerError:
    if isinstance(error, AreaError):
        error.attempts = 0
    return error.with_traceback(None)
