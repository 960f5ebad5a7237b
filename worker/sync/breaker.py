"""Reads person-areas, and finds out whose the trouble is: a person's or everybody's (promise 6).

Who fails is set aside (``worker.sync.reading``) and asked again when nobody else is left. Meanwhile
the failures since the last complete read of an area are kept. When they are of three persons, of
twenty where nobody was read, or of one when nobody else is left, or when one cannot be about a
person, a witness is asked again: a person who was read in this run. If the witness is read, the
trouble is the others'. If not, all others are held back, and one request in ten seconds goes to the
witnesses and those who failed, in turn, until one of them is read. After ``sync.patience`` the area
is given up; at once if nobody was ever answered. When no area is left, or another would be no
better, the run ends with the verdict.
"""

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import anyio
import msgspec
import structlog

from worker.core.breaker import OpenFailures, kind_of, wait_s
from worker.core.model import CompleteArea, FailureKind, Person
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
from worker.pts.throttle import Throttle

WAITING_S_MAX: Final = 10.0
"""When only persons are left whom PTS asked to wait for, they are waited for no longer."""
_WITNESSES_MAX: Final = 3
"""The last persons read in each area; one of them may fail by chance."""
_SPACING_S: Final = 10.0
"""Between two requests while nobody can be read."""
_SPACINGS_MIN: Final = 6
"""So many requests are made with less patience than a minute, too."""
_SMALL_RUN: Final = 20
"""In a run of fewer persons PTS may have good reasons to reject each of them."""
_TROUBLE: Final = (AreaError, RefusedError, UnavailableError)

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
        found: what those showed who had failed and were asked while all others were held back.
        given_up: the failures for which nobody is asked any more.
    """

    name: str
    failed: dict[str, _Failure] = field(default_factory=dict)
    witnesses: deque[Person] = field(default_factory=lambda: deque(maxlen=_WITNESSES_MAX))
    found: dict[str, CompleteArea] = field(default_factory=dict)
    given_up: Sequence[WorkerError] = ()


@dataclass(slots=True, kw_only=True)
class Breaker:
    """The breaker of one run.

    Attributes:
        areas: that are read, by name.
        was_answered: an earlier publication, or an earlier attempt at this run, was.
        patience_s: how long nobody can be read before a verdict, if anybody ever was.
        wait_s_max: the longest ``Retry-After`` that the run waits for.
        ending: the verdict that ends the run, once there is one.
        outages: how often all were held back.
    """

    reader: PtsReader
    gate: Throttle
    runtime: Runtime
    progress: RunProgress
    areas: Mapping[str, Area]
    was_answered: bool = False
    patience_s: float = 600.0
    wait_s_max: float = 900.0
    ending: WorkerError | None = None
    outages: int = 0
    _due_s: dict[str, float] = field(default_factory=dict)
    _failing_since_s: float | None = None
    _held_s: float = 0.0
    _is_last: bool = False
    _looking: anyio.Lock = field(default_factory=anyio.Lock)

    async def read(
        self, person: Person, name: str, *, is_single_use: bool = False, is_again: bool = False
    ) -> CompleteArea:
        """Read an area of a person.

        Args:
            is_single_use: use a new connection for each request.
            is_again: make one attempt only, before all others.

        Raises:
            AreaError: it failed, or the area has been given up.
            WorkerError: the run ends.
        """
        area = self.areas[name]
        while not area.given_up:
            if (found := area.found.pop(person.person_key, None)) is not None:
                return found
            read = await self._ask(person, area, is_single_use=is_single_use, is_probe=is_again)
            if isinstance(read, CompleteArea):
                return read
            area.failed[person.person_key] = _Failure(person, read)
            await self._look_into(area)
            if isinstance(read, AreaError):
                raise read
            # What is everybody's fails nobody: it passes, or ends the run.
            if self.ending is not None:
                raise self.ending
        raise _repeated(area.given_up[-1])

    async def settle(self) -> None:
        """Find out about failures since which nobody was read: nobody is left to be read.

        Raises:
            WorkerError: the run ends.
        """
        self._is_last = True
        for area in self.areas.values():
            await self._look_into(area)
        self._is_last = False
        if self.ending is not None:
            raise self.ending

    def left_s(self, person: Person) -> float:
        """Seconds until PTS wants to be asked again for a person; not positive: at once."""
        return self._due_s.get(person.person_key, -math.inf) - self.runtime.monotonic()

    def forget(self, person: Person) -> None:
        """Keep no time at which somebody may be asked again."""
        self._due_s.pop(person.person_key, None)

    def suggest(self, person: Person, name: str) -> None:
        """Take somebody for a witness whom an earlier attempt has read, or a run before."""
        self.areas[name].witnesses.append(person)

    def slowed_by(self) -> tuple[str, ...]:
        """Why the run was slower than configured, for its summary; nothing if it was not."""
        said = [text for text in (self.gate.slowed_by(),) if text]
        if self._held_s >= 1:
            said.append(f"for {self._held_s:,.0f} s nobody could be read")
        return (f"slower than configured: {'; '.join(said)}",) if said else ()

    async def _ask(
        self, person: Person, area: Area, *, is_single_use: bool, is_probe: bool
    ) -> CompleteArea | WorkerError:
        """Read once; who is read shows that PTS answers.

        Raises:
            WorkerError: the run cannot go on.
        """
        # A failure that comes after this read has begun may be the beginning of an outage.
        before = tuple(area.failed.items())
        try:
            read = await self.reader.read(
                person, area.name, is_single_use=is_single_use, is_probe=is_probe
            )
        except OpenFilesError as error:
            raise ConfigurationError(error.message, hint=error.hint) from None
        except _TROUBLE as error:
            return self._troubled(person, error)
        self._failing_since_s = None
        self.forget(person)
        area.witnesses.append(person)
        for key, failure in before:
            if area.failed.get(key) is failure:
                del area.failed[key]
        return read

    def _troubled(self, person: Person, error: WorkerError) -> WorkerError:
        now_s = self.runtime.monotonic()
        if self._failing_since_s is None:
            self._failing_since_s = now_s
        if (asked_s := wait_s(error)) > 0:
            self._due_s[person.person_key] = now_s + asked_s
        # Its frames hold an answer of up to 16 MB.
        error.__context__ = None
        return error.with_traceback(None)

    async def _look_into(self, area: Area) -> None:
        """Find out about an area, if it is time; who fails meanwhile waits for the outcome."""
        async with self._looking:
            is_over = self.ending is not None or area.given_up
            if is_over or not self._facts(area).are_doubtful:
                return
            began_s = self.runtime.monotonic()
            try:
                await self._find_out(area)
            finally:
                if self.gate.is_held:
                    self._held_s += self.runtime.monotonic() - began_s
                    if self.ending is None:
                        self.gate.release()

    async def _find_out(self, area: Area) -> None:
        """Ask one after the other, until somebody is read or the verdict stands."""
        turn = 0
        if not area.witnesses:
            # While nobody was read, each of those who are under way counts.
            self._hold(area)
            await self.gate.drained()
        while (facts := self._facts(area)).errors:
            if (turn or not area.witnesses) and self._is_enough(facts):
                self._give_up(area, facts)
                return
            if await self._is_anybody_read(area, turn):
                return
            turn += 1
            self._hold(area)

    def _open(self, area: Area) -> list[_Failure]:
        """The failures that may be everybody's."""
        return [one for one in area.failed.values() if not (self._is_last and self._is_own(one))]

    def _is_own(self, failure: _Failure) -> bool:
        """Whether the failure of somebody who is left at the end is theirs in any case."""
        is_rejected = kind_of(failure.error) == FailureKind.REJECTED
        is_told_to_wait = self._has_read and self.left_s(failure.person) > WAITING_S_MAX
        return is_told_to_wait or (is_rejected and self.progress.persons_seen < _SMALL_RUN)

    @property
    def _has_read(self) -> bool:
        return any(area.witnesses for area in self.areas.values())

    def _facts(self, area: Area) -> OpenFailures:
        return OpenFailures(
            errors=[failure.error for failure in self._open(area)],
            wait_s_max=self.wait_s_max,
            has_witness=bool(area.witnesses),
            is_last=self._is_last,
        )

    def _hold(self, area: Area) -> None:
        if not self.gate.is_held:
            self.outages += 1
            log.warning("pts.doubtful", area=area.name, failing=len(area.failed))
            self.gate.hold(self._spacing_s)

    @property
    def _spacing_s(self) -> float:
        return min(_SPACING_S, self.patience_s / _SPACINGS_MIN)

    async def _is_anybody_read(self, area: Area, turn: int) -> bool:
        """Ask one of the witnesses and of those who failed; nobody while all are to wait."""
        failed = [one.person for one in self._open(area) if self.left_s(one.person) <= 0]
        asked = [one for one in reversed(area.witnesses) if self.left_s(one) <= 0] + failed
        if not asked:
            await self.runtime.sleep(self._spacing_s)
            return False
        place = turn % len(asked)
        person, has_failed = asked[place], place >= len(asked) - len(failed)
        # On a connection of its own: it may stand for a second read.
        read = await self._ask(person, area, is_single_use=True, is_probe=True)
        if isinstance(read, CompleteArea):
            if has_failed:
                area.found[person.person_key] = read
            return True
        log.info("pts.still_failing", area=area.name, reason=read.message)
        if has_failed:
            area.failed[person.person_key] = _Failure(person, read)
        return False

    def _is_enough(self, facts: OpenFailures) -> bool:
        """Whether the verdict about an area stands if nobody can be read now."""
        is_asked_later = any(0 < wait_s(error) <= self.wait_s_max for error in facts.errors)
        if not (self.was_answered or self._has_read or is_asked_later):
            return True
        since_s = self._failing_since_s
        return since_s is not None and self.runtime.monotonic() - since_s >= self.patience_s

    def _give_up(self, area: Area, facts: OpenFailures) -> None:
        """Ask nobody for the area any more; end the run if no other is left, or is better."""
        area.given_up = facts.errors
        if not facts.are_about_all_areas:
            every = [error for one in self.areas.values() for error in one.given_up]
            facts = msgspec.structs.replace(facts, errors=every)
        found = facts.verdict(self.runtime.now())
        if facts.are_about_all_areas or all(one.given_up for one in self.areas.values()):
            self.ending = found
        else:
            log.warning("pts.area_given_up", area=area.name, reason=found.message, hint=found.hint)


def _repeated(error: WorkerError) -> WorkerError:
    """The error for somebody who is not asked any more."""
    if isinstance(error, AreaError):
        error.attempts = 0
    return error.with_traceback(None)
