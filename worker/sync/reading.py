"""Reads the areas of one person in sequence. An area that fails does not end the run."""

from dataclasses import dataclass

import structlog

from worker.core.breaker import kind_of, wait_s
from worker.core.confirmation import Unconfirmed, compared
from worker.core.identity import short_key
from worker.core.model import AreaFailure, AreaRead, CompleteArea, Person, PersonRead
from worker.core.run import RunProgress
from worker.errors import AreaError, WorkerError
from worker.ports import Runtime
from worker.sync.evidence import Evidence
from worker.sync.producer import PersonTask

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonReader:
    """Reads persons, and counts failures."""

    evidence: Evidence
    progress: RunProgress
    runtime: Runtime

    async def read(self, task: PersonTask) -> tuple[PersonRead, WorkerError | None]:
        """Read the areas of the task; also return the error that ends the run, if one does.

        Raises:
            WorkerError: the run cannot go on.
        """
        areas: list[AreaRead] = []
        due_s = 0.0
        for name in task.areas:
            read, asked_s = await self._area(task.person, name, due_s=due_s)
            due_s = self.runtime.monotonic() + asked_s if asked_s else due_s
            areas.append(read)
            if isinstance(read, AreaFailure):
                self._count(read)
            else:
                self.progress.areas_complete += 1
            if self.evidence.ending is not None:
                break
        return PersonRead(person=task.person, areas=tuple(areas)), self.evidence.ending

    async def read_again(self, unconfirmed: Unconfirmed) -> tuple[PersonRead, WorkerError | None]:
        """Read the areas to confirm a second time; also return an error as ``read`` does.

        Each area becomes the second read with both reads in its proof, or a failure if it cannot
        be read or the two reads contradict each other. Each request uses a new connection.

        Raises:
            WorkerError: the run cannot go on.
        """
        areas: list[AreaRead] = []
        for first in unconfirmed.read.areas:
            if not isinstance(first, CompleteArea) or first.area not in unconfirmed.published:
                areas.append(first)
                continue
            read, _ = await self._area(unconfirmed.read.person, first.area, is_single_use=True)
            if isinstance(read, CompleteArea):
                published = unconfirmed.published[first.area]
                read = compared(published, first, read, unconfirmed.confirm)
                if isinstance(read, AreaFailure):
                    self._log_failure(unconfirmed.read.person, read)
            if isinstance(read, AreaFailure):
                self.progress.areas_complete -= 1
                self._count(read)
            areas.append(read)
        person_read = PersonRead(person=unconfirmed.read.person, areas=tuple(areas))
        return person_read, self.evidence.ending

    async def _area(
        self, person: Person, name: str, *, due_s: float = 0.0, is_single_use: bool = False
    ) -> tuple[AreaRead, float]:
        """What was read, and how long PTS asks to wait for this person."""
        try:
            read = await self.evidence.read(person, name, due_s=due_s, is_single_use=is_single_use)
        except AreaError as error:
            failure = AreaFailure(
                area=name,
                kind=kind_of(error),
                reason=error.message,
                attempts=error.attempts,
                failed_at=self.runtime.now(),
                status=error.status,
            )
            self._log_failure(person, failure)
            return failure, wait_s(error)
        return read, 0.0

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


def is_complete(read: PersonRead) -> bool:
    """Whether every requested area was read to its last page."""
    return all(isinstance(area, CompleteArea) for area in read.areas)
