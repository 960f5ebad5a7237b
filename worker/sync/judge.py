"""Finds out whether failures are the persons' or everybody's (promise 6).

If nobody is read, a person who was read in this run, the witness, is asked again, then those who
failed: one request in ten seconds while all others are held back, until one of them is read or
``sync.patience`` is over. When that is, ``worker.core.breaker`` decides.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog

from worker.core import breaker
from worker.core.model import CompleteArea, Person
from worker.errors import AreaError, WorkerError
from worker.ports import Runtime
from worker.pts.throttle import Throttle
from worker.sync.evidence import Evidence, Failure

log = structlog.get_logger(__name__)


@dataclass(slots=True, kw_only=True)
class Judge:
    """The breaker of one run.

    Attributes:
        evidence: what reads have shown. Verdicts are written there.
        areas: that are read.
        was_answered: an earlier publication, or an earlier attempt at this run, was.
        patience_s: how long nobody can be read before a verdict, if anybody ever was.
        waited_s: how long the run has waited for anybody to be read.
    """

    evidence: Evidence
    gate: Throttle
    runtime: Runtime
    areas: Sequence[str]
    was_answered: bool = False
    patience_s: float = 600.0
    waited_s: float = 0.0
    _verdicts: dict[str, WorkerError] = field(default_factory=dict)

    async def watch(self) -> None:
        """Find out who is at fault when nobody is read any more; runs until cancelled."""
        while True:
            change = self.evidence.change
            try:
                for area in self.areas:
                    if self.evidence.facts(area).are_doubtful:
                        await self._find_out(area)
            except WorkerError as error:
                self._end(error)
            await change.wait()

    def slowed_by(self) -> tuple[str, ...]:
        """Why the run was slower than configured, for its summary; nothing if it was not."""
        said = [text for text in (self.gate.slowed_by(),) if text]
        if self.waited_s >= 1:
            said.append(f"for {self.waited_s:,.0f} s nobody could be read")
        return (f"slower than configured: {'; '.join(said)}",) if said else ()

    async def _find_out(self, area: str) -> None:
        """Ask one after the other, until somebody is read or the verdict stands."""
        began_s, turn = self.runtime.monotonic(), 0
        try:
            if not self.evidence.witnesses[area]:
                # While nobody was read, each of those who are under way counts.
                self._hold()
                await self.gate.drained()
            while self.evidence.of(area):
                if await self._is_anybody_read(area, turn):
                    return
                turn += 1
                if self.evidence.of(area) and self._is_enough(area):
                    self._conclude(area)
                    return
                self._doubt(area)
        finally:
            if self.gate.is_held:
                self.waited_s += self.runtime.monotonic() - began_s
                if self.evidence.ending is None:
                    self.gate.release()

    def _hold(self) -> None:
        if not self.gate.is_held:
            self.gate.hold(breaker.spacing_s(self.patience_s))

    def _doubt(self, area: str) -> None:
        failures = self.evidence.of(area)
        if not all(failure.has_been_doubtful for failure in failures):
            log.warning("pts.doubtful", area=area, failing=len(failures))
        for failure in failures:
            failure.has_been_doubtful = True
        self._hold()

    async def _is_anybody_read(self, area: str, turn: int) -> bool:
        """Ask a witness or one of those who failed, in turn; nobody if that cannot help."""
        if not self.evidence.witnesses[area] and self._is_enough(area):
            return False
        asked = await self._next(area, turn)
        if asked is None:
            await self.runtime.sleep(breaker.spacing_s(self.patience_s))
            return False
        person, failure = asked
        # On a connection of its own: it may stand for a second read.
        read = await self.evidence.attempt(person, area, is_single_use=True)
        if isinstance(read, CompleteArea):
            if failure is not None:
                failure.read = read
            return True
        log.info("pts.still_failing", area=area, reason=read.error.message)
        if failure is not None:
            failure.error, failure.due_s = read.error, read.due_s
        return False

    async def _next(self, area: str, turn: int) -> tuple[Person, Failure | None] | None:
        """Who is asked: whom PTS wants to be asked later is waited for if there is nobody else."""
        now_s, longest_s = self.runtime.monotonic(), self.evidence.wait_s_max
        failed = [one for one in self.evidence.of(area) if breaker.wait_s(one.error) <= longest_s]
        asked: list[tuple[Person, Failure | None]] = [
            *((person, None) for person in reversed(self.evidence.witnesses[area])),
            *((one.person, one) for one in failed if one.due_s <= now_s),
        ]
        if asked:
            return asked[turn % len(asked)]
        if not failed:
            return None
        first = min(failed, key=lambda one: one.due_s)
        await self.runtime.sleep(first.due_s - now_s)
        return first.person, first

    def _is_enough(self, area: str) -> bool:
        """Whether the verdict about an area stands if nobody can be read now."""
        facts = self.evidence.facts(area)
        if facts.are_told_to_wait:
            return True
        if not (self.was_answered or self.evidence.has_read or facts.are_asked_later):
            return True
        since_s = self.evidence.failing_since_s
        return since_s is not None and self.runtime.monotonic() - since_s >= self.patience_s

    def _conclude(self, area: str) -> None:
        """Give the area up; end the run if no other is left, or if this is about all of them."""
        facts = self.evidence.facts(area)
        found, last = facts.verdict(self.runtime.now()), facts.errors[-1]
        self._verdicts[area] = found
        if facts.are_about_all_areas or not isinstance(last, AreaError):
            self._end(found)
        elif self._verdicts.keys() >= set(self.areas):
            self._end(breaker.together([*self._verdicts.values()]))
        else:
            self.evidence.given_up[area] = last
            log.warning("pts.area_given_up", area=area, reason=found.message, hint=found.hint)
            self.evidence.close(*self.evidence.of(area), is_own=True)

    def _end(self, error: WorkerError) -> None:
        self.evidence.ending = error
        self.evidence.close(*self.evidence.open, is_own=True)
