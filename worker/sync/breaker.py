"""Reads person-areas, and finds out whose the trouble is: a person's or everybody's (promise 6).

The failures since the last complete read of an area are kept. When they are of three persons, of
twenty where nobody was read, of one when all others have been asked, or when one cannot be about a
person, a witness is asked again: a person who was read in this run. If the witness is read, the
trouble is the others'. If not, all others are held back, and one request in ten seconds goes to the
witnesses and those who failed, for each area in turn, until one of them is read. After
``sync.patience`` the area is given up; at once if nobody was ever answered. When no area is left,
or another would be no better, the run ends with the verdict.
"""

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

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
from worker.sync.producer import PersonTask

_WAITING_S_MAX: Final = 10.0
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


@dataclass(slots=True, kw_only=True)
class Area:
    """What reads have shown of an area.

    Attributes:
        failed: the failures since anybody was read.
        failing_since_s: when the first of them came.
        witnesses: the last persons read, by an earlier attempt at the run as well.
        given_up: the failures for which nobody is asked any more.
    """

    name: str
    failed: dict[Person, WorkerError] = field(default_factory=dict)
    failing_since_s: float = 0.0
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
    _outages: int = 0
    _looking: anyio.Lock = field(default_factory=anyio.Lock)

    async def read(self, task: PersonTask, name: str) -> CompleteArea:
        """Read an area of a person.

        Who failed before has one attempt, and one failure counts: all others have been asked.

        Raises:
            AreaError: it failed, or the area has been given up.
            WorkerError: the run ends.
        """
        area, is_last = self.areas[name], bool(task.failed)
        if area.given_up:
            raise _not_asked(area.given_up[-1])
        due_s, is_single_use = task.due_s, name in task.first
        tries = _OUTAGES_MAX if is_last else 1
        while True:
            outages = self._outages
            read = await self._ask(
                task.person, area, due_s, is_single_use=is_single_use, is_probe=is_last
            )
            if isinstance(read, CompleteArea):
                return read
            await self._look_into(area, is_last=is_last)
            due_s, tries = read.due_s, tries - 1
            if not tries or area.given_up or self._outages == outages:
                # What is everybody's fails nobody: it has passed, or ends the run.
                is_own = isinstance(read, AreaError)
                raise read if is_own else self.ending or TransientError(read.message)

    async def _ask(
        self, person: Person, area: Area, due_s: float, *, is_single_use: bool, is_probe: bool
    ) -> CompleteArea | WorkerError:
        """Read once, unless PTS asked to wait; who is read shows that PTS answers.

        Raises:
            WorkerError: the run cannot go on.
        """
        try:
            await self._wait_until(due_s, _WAITING_S_MAX if is_probe else 0.0)
            read = await self.reader.read(
                person, area.name, is_single_use=is_single_use, is_probe=is_probe
            )
        except (AreaError, RefusedError, UnavailableError) as error:
            self._record(person, error, area)
            return error
        area.failed.clear()
        for other in self.areas.values():  # HelseID is everybody's, and has answered
            other.failed = {
                who: error for who, error in other.failed.items() if isinstance(error, AreaError)
            }
        area.witnesses.append(person)
        return read

    async def _wait_until(self, due_s: float, wait_s_max: float) -> None:
        """Wait until PTS wants to be asked for a person.

        Raises:
            TransientError: that is too long.
        """
        left_s = due_s - self.runtime.monotonic()
        if left_s > wait_s_max:
            error = TransientError("not asked: PTS asked to wait for this person (Retry-After)")
            error.retry_after_s = left_s
            raise error
        if left_s > 0:
            await self.runtime.sleep(left_s)

    def _record(self, person: Person, error: WorkerError, area: Area) -> None:
        now_s = self.runtime.monotonic()
        error.due_s = now_s + error.retry_after_s
        # Its frames hold an answer of up to 16 MB.
        error.__context__ = error.__traceback__ = None
        if error.kind == FailureKind.REJECTED and self.progress.persons_seen < _SMALL_RUN:
            return
        if not area.failed:
            area.failing_since_s = now_s
        area.failed[person] = error

    async def _look_into(self, area: Area, *, is_last: bool) -> None:
        """Find out about an area, if it is time; who fails meanwhile waits for the outcome."""
        async with self._looking:
            turn, is_failing = 0, False
            while self._is_doubtful(area, is_last=is_last):
                if (is_failing or len(area.failed) >= _ALONE) and self._is_enough(area):
                    self._give_up(area)
                    # While others are held back, the other area is asked, too.
                    area = next((one for one in self.areas.values() if not one.given_up), area)
                    continue
                if is_failing:
                    self._hold(area)
                is_failing = not await self._is_anybody_read(area, turn)
                turn += self.pace.is_held
            if self.ending is None:
                self.pace.release()

    def _is_doubtful(self, area: Area, *, is_last: bool) -> bool:
        """Whether the open failures are enough to find out whose they are."""
        if self.ending is not None or area.given_up or not area.failed:
            return False
        least = _BESIDE_A_WITNESS if area.witnesses else _ALONE
        is_enough = len(area.failed) >= least or _is_of_everybody(area)
        return is_enough or is_last or self.pace.is_held

    def _hold(self, area: Area) -> None:
        if not self.pace.is_held:
            self._outages += 1
            error, patience_s = [*area.failed.values()][-1], self.settings.patience.total_seconds()
            log.warning(
                "pts.doubtful",
                area=area.name,
                failing=len(area.failed),
                reason=error.message,
                hint=error.hint,
                patience_s=patience_s,
            )
            # With little patience there are several requests, too.
            self.pace.hold(min(_SPACING_S, patience_s / 6), f"{area.name}: {error.message}")

    async def _is_anybody_read(self, area: Area, turn: int) -> bool:
        """Ask one of the witnesses and of those who failed; nobody while all are to wait.

        All areas are asked in turn, so that each is given up, or not, by what it has shown itself.
        """
        open_areas = [one for one in self.areas.values() if not one.given_up]
        told = {who: error.due_s for one in open_areas for who, error in one.failed.items()}
        known, now_s = (*reversed(area.witnesses), *area.failed), self.runtime.monotonic()
        asked = [person for person in known if told.get(person, now_s) <= now_s]
        if not asked:
            await self.runtime.sleep(_SPACING_S)
            return False
        areas_turn, number = divmod(turn + open_areas.index(area), len(open_areas))
        area, person = open_areas[number], asked[areas_turn % len(asked)]
        read = await self._ask(person, area, -math.inf, is_single_use=True, is_probe=True)
        if isinstance(read, WorkerError):
            log.info("pts.still_failing", area=area.name, reason=read.message)
        return isinstance(read, CompleteArea)

    def _is_enough(self, area: Area) -> bool:
        """Whether the verdict about an area stands if nobody can be read now."""
        if not (self.was_answered or any(one.witnesses for one in self.areas.values())):
            return True
        failing_s = self.runtime.monotonic() - area.failing_since_s
        return failing_s >= self.settings.patience.total_seconds()

    def _give_up(self, area: Area) -> None:
        """Ask nobody for the area any more; end the run if no other is left, or is better."""
        errors = area.given_up = [*area.failed.values()]
        is_no_other_better = _is_of_everybody(area)
        if not is_no_other_better:
            errors = [error for one in self.areas.values() for error in one.given_up]
        wait_s_max = self.settings.retry_after_max.total_seconds()
        found = verdict(errors, wait_s_max=wait_s_max, now=self.runtime.now())
        if is_no_other_better or all(one.given_up for one in self.areas.values()):
            self.ending = found
        else:
            log.warning("pts.area_given_up", area=area.name, reason=found.message, hint=found.hint)


def _is_of_everybody(area: Area) -> bool:
    """Whether a failure cannot be about a person or an area, as HelseID's and a certificate's."""
    return not all(isinstance(error, AreaError) for error in area.failed.values())


def _not_asked(error: WorkerError) -> WorkerError:
    if isinstance(error, AreaError):
        error.attempts = 0
    return error.with_traceback(None)
