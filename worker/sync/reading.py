"""Reads the areas of one person in sequence. An area that fails does not end the run.

Who fails is set aside, and asked again when nobody else is left to be read.
"""

from dataclasses import dataclass, field
from typing import Final

import msgspec
import structlog

from worker.areas import area_named
from worker.core.breaker import kind_of, wait_s
from worker.core.diff import Confirm, compared
from worker.core.identity import short_key
from worker.core.model import AreaFailure, AreaRead, PersonRead
from worker.core.run import RunProgress
from worker.errors import AreaError, TransientError
from worker.ports import Runtime
from worker.sync.breaker import Breaker
from worker.sync.producer import PersonTask

_ASIDE_MAX: Final = 1_000
"""Persons who are kept to be asked again. If more fail, their trouble is hardly a hiccup."""
_NOT_ASKED: Final = "not asked: PTS asked to wait for this person (Retry-After)"
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonReader:
    """Reads persons, and counts failures.

    Attributes:
        confirm: what two reads must agree on.
        aside: who failed and is asked again, by their key; the first to fail comes first.
    """

    breaker: Breaker
    progress: RunProgress
    runtime: Runtime
    confirm: Confirm
    aside: dict[str, PersonTask] = field(default_factory=dict)

    async def read(self, task: PersonTask) -> tuple[PersonRead, ...]:
        """Read the areas of the task; those that fail are set aside.

        Returns:
            What was read, and the failures of somebody who is not asked again.

        Raises:
            WorkerError: the run ends.
        """
        reads: list[AreaRead] = []
        failed: dict[str, AreaFailure] = {}
        is_to_wait = False
        for name in task.areas:
            try:
                if is_to_wait:
                    raise TransientError(_NOT_ASKED)
                reads.append(await self._area(task, name))
            except AreaError as error:
                failure = self._failure(task, name, error)
                if self.breaker.areas[name].given_up:
                    reads.append(self._counted(task, failure))
                else:
                    failed[name] = failure
                    is_to_wait = is_to_wait or wait_s(error) > 0
            if self.breaker.ending is not None:
                break
        done = [PersonRead(person=task.person, areas=tuple(reads))] if reads else []
        if failed:
            self.aside[task.person.person_key] = msgspec.structs.replace(
                task, areas=tuple(failed), failed=failed
            )
        if len(self.aside) > _ASIDE_MAX:
            done.append(self.give_up(next(iter(self.aside.values()))))
        return tuple(done)

    def give_up(self, task: PersonTask) -> PersonRead:
        """The failures of somebody who was set aside, as theirs."""
        del self.aside[task.person.person_key]
        self.breaker.forget(task.person)
        failures = tuple(self._counted(task, failure) for failure in task.failed.values())
        return PersonRead(person=task.person, areas=failures)

    async def _area(self, task: PersonTask, name: str) -> AreaRead:
        """An area; if it is the second read, on a new connection, with both in its proof."""
        first = task.first.get(name)
        read = await self.breaker.read(
            task.person,
            name,
            is_single_use=first is not None,
            is_again=bool(task.failed),
        )
        if first is None:
            self.progress.areas_complete += 1
            return read
        found = compared(area_named(name), first, read, self.confirm)
        return self._counted(task, found) if isinstance(found, AreaFailure) else found

    def _failure(self, task: PersonTask, name: str, error: AreaError) -> AreaFailure:
        before = task.failed.get(name)
        return AreaFailure(
            area=name,
            kind=kind_of(error),
            reason=error.message,
            attempts=error.attempts + (before.attempts if before else 0),
            failed_at=self.runtime.now(),
            status=error.status,
        )

    def _counted(self, task: PersonTask, failure: AreaFailure) -> AreaFailure:
        """Count and log a failure that stands."""
        self.progress.failures[failure.kind] += 1
        if not self.progress.first_failure:
            self.progress.first_failure = f"{failure.area}: {failure.reason}"
        log.warning(
            "area.unread",
            person=short_key(task.person.person_key) or "(plain)",
            area=failure.area,
            kind=failure.kind.value,
            status=failure.status,
            reason=failure.reason,
            attempts=failure.attempts,
        )
        return failure
