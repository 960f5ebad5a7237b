"""Reads the areas of one person in sequence. An area that fails does not end the run."""

from dataclasses import dataclass
from typing import Final

import structlog

from worker.core.breaker import Breaker
from worker.core.confirmation import Unconfirmed, compared
from worker.core.identity import short_key
from worker.core.model import AreaFailure, AreaRead, CompleteArea, FailureKind, Person, PersonRead
from worker.core.run import RunProgress
from worker.errors import (
    AreaError,
    ContractError,
    DeniedError,
    PagingError,
    RejectedError,
    TransientError,
    WorkerError,
)
from worker.ports import AreaReader, Runtime
from worker.sync.evidence import Evidence
from worker.sync.producer import PersonTask

log = structlog.get_logger(__name__)

_KINDS: Final[tuple[tuple[type[AreaError], FailureKind], ...]] = (
    (TransientError, FailureKind.TRANSIENT),
    (DeniedError, FailureKind.REFUSED),
    (RejectedError, FailureKind.REJECTED),
    (PagingError, FailureKind.PAGING),
    (ContractError, FailureKind.CONTRACT),
)


def kind_of(error: AreaError) -> FailureKind:
    """The failure kind that the ledger records for an error."""
    for error_type, kind in _KINDS:
        if isinstance(error, error_type):
            return kind
    return FailureKind.CONTRACT


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonReader:
    """Reads persons, counts failures, and asks for evidence before it ends the run."""

    reader: AreaReader
    breaker: Breaker
    evidence: Evidence
    progress: RunProgress
    runtime: Runtime

    async def read(self, task: PersonTask) -> tuple[PersonRead, WorkerError | None]:
        """Read all areas of the task; also return an error if the run should end.

        Raises:
            WorkerError: the run cannot go on.
        """
        areas: list[AreaRead] = []
        ending: WorkerError | None = None
        for name in task.areas:
            read = await self._area(task.person, name)
            areas.append(read)
            if isinstance(read, AreaFailure):
                self.progress.failures[read.kind] += 1
                ending = await self._verdict(read) or ending
            else:
                self.progress.areas_complete += 1
                self.breaker.succeeded()
                self.evidence.remember(task.person, read)
        return PersonRead(person=task.person, areas=tuple(areas)), ending

    async def _verdict(self, failure: AreaFailure) -> WorkerError | None:
        """The error that ends the run, if enough areas failed in a row and evidence agrees."""
        error = self.breaker.failed(failure.kind, failure.reason)
        if error is None or not await self.evidence.refutes(failure.area):
            return error
        self.breaker.refuted()
        return None

    async def read_again(self, unconfirmed: Unconfirmed) -> tuple[PersonRead, WorkerError | None]:
        """Read the areas to confirm a second time; also return an error as ``read`` does.

        Each area becomes the second read with both reads in its proof, or a failure if it cannot
        be read or the two reads contradict each other. Each request uses a new connection.

        Raises:
            WorkerError: the run cannot go on.
        """
        areas: list[AreaRead] = []
        ending: WorkerError | None = None
        for first in unconfirmed.read.areas:
            if not isinstance(first, CompleteArea) or first.area not in unconfirmed.published:
                areas.append(first)
                continue
            read = await self._area(unconfirmed.read.person, first.area, is_single_use=True)
            if isinstance(read, CompleteArea):
                self.breaker.succeeded()
                self.evidence.remember(unconfirmed.read.person, read)
                published = unconfirmed.published[first.area]
                read = compared(published, first, read, unconfirmed.confirm)
                if isinstance(read, AreaFailure):
                    self._log_failure(unconfirmed.read.person, read)
            else:
                ending = await self._verdict(read) or ending
            if isinstance(read, AreaFailure):
                self.progress.areas_complete -= 1
                self.progress.failures[read.kind] += 1
            areas.append(read)
        return PersonRead(person=unconfirmed.read.person, areas=tuple(areas)), ending

    async def _area(self, person: Person, name: str, *, is_single_use: bool = False) -> AreaRead:
        try:
            return await self.reader.read(person, name, is_single_use=is_single_use)
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
            return failure

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
