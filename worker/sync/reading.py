"""Reads the areas of one person in sequence. An area that fails does not end the run."""

from dataclasses import dataclass
from typing import Final

import structlog

from worker.areas import area_named
from worker.core.breaker import kind_of, wait_s
from worker.core.confirmation import Confirm, Unconfirmed, compared
from worker.core.identity import short_key
from worker.core.model import AreaFailure, AreaRead, CompleteArea, Person, PersonRead
from worker.core.run import RunProgress
from worker.errors import AreaError, TransientError, WorkerError
from worker.ports import Runtime
from worker.sync.evidence import Evidence
from worker.sync.producer import PersonTask

_NOT_ASKED: Final = "not asked: PTS asked to wait for this person (Retry-After)"
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonReader:
    """Reads persons, and counts failures.

    Attributes:
        confirm: what two reads must agree on.
    """

    evidence: Evidence
    progress: RunProgress
    runtime: Runtime
    confirm: Confirm

    async def read(self, task: PersonTask) -> tuple[PersonRead, WorkerError | None]:
        """Read the areas of the task; also return the error that ends the run, if one does.

        Raises:
            WorkerError: the run cannot go on.
        """
        areas: list[AreaRead] = []
        is_to_wait = False
        for name in task.areas:
            if is_to_wait:
                read: AreaRead = self._failed(task.person, name, TransientError(_NOT_ASKED))
            elif name in task.first:
                read, is_to_wait = await self._again(task.person, name, task.first[name])
            else:
                read, is_to_wait = await self._area(task.person, name)
                self.progress.areas_complete += isinstance(read, CompleteArea)
            areas.append(read)
            if isinstance(read, AreaFailure):
                self._count(read)
            if self.evidence.ending is not None:
                break
        return PersonRead(person=task.person, areas=tuple(areas)), self.evidence.ending

    async def _again(self, person: Person, name: str, first: Unconfirmed) -> tuple[AreaRead, bool]:
        """The second read of an area, on a new connection, with both in its proof."""
        read, is_to_wait = await self._area(person, name, is_single_use=True)
        if isinstance(read, CompleteArea):
            read = compared(area_named(name), first, read, self.confirm)
            if isinstance(read, AreaFailure):
                self._log_failure(person, read)
        return read, is_to_wait

    async def _area(
        self, person: Person, name: str, *, is_single_use: bool = False
    ) -> tuple[AreaRead, bool]:
        """What was read, and whether PTS asks to wait before this person is asked again."""
        try:
            read = await self.evidence.read(person, name, is_single_use=is_single_use)
        except AreaError as error:
            is_to_wait = wait_s(error) > 0 and name not in self.evidence.given_up
            return self._failed(person, name, error), is_to_wait
        return read, False

    def _failed(self, person: Person, name: str, error: AreaError) -> AreaFailure:
        failure = AreaFailure(
            area=name,
            kind=kind_of(error),
            reason=error.message,
            attempts=error.attempts,
            failed_at=self.runtime.now(),
            status=error.status,
        )
        self._log_failure(person, failure)
        return failure

    def _count(self, failure: AreaFailure) -> None:
        self.progress.failures[failure.kind] += 1
        if not self.progress.first_failure:
            self.progress.first_failure = f"{failure.area}: {failure.reason}"

    def _log_failure(self, person: Person, failure: AreaFailure) -> None:
        log.warning(
            "area.unread",
            person=short_key(person.person_key) or "(plain)",
            area=failure.area,
            kind=failure.kind.value,
            status=failure.status,
            reason=failure.reason,
            attempts=failure.attempts,
        )
