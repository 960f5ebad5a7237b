"""Reads known-good person-areas again before a run concludes that PTS fails. ADR 0021."""

from dataclasses import dataclass, field
from typing import Final

import anyio
import structlog

from worker.core.evidence import KnownGood
from worker.core.model import CompleteArea, Person
from worker.errors import AreaError, WorkerError
from worker.ports import AreaReader, Availability, Runtime

log = structlog.get_logger(__name__)

_TRIES_MAX: Final = 4
"""Maximum probe rounds per doubt about PTS."""


@dataclass(slots=True, kw_only=True)
class Evidence:
    """Probes PTS with person-areas that this run has read.

    Attributes:
        reader: used as in a run; the results are discarded.
        availability: the source of the doubts that ``watch`` answers.
    """

    reader: AreaReader
    runtime: Runtime
    availability: Availability
    _known: KnownGood = field(default_factory=KnownGood)
    _asking: anyio.Lock = field(default_factory=anyio.Lock)
    _doubted: anyio.Event = field(default_factory=anyio.Event)

    def remember(self, person: Person, read: CompleteArea) -> None:
        """Remember an area that was read to its last page, for later probes."""
        self._known.remember(person, read.area, has_records=bool(read.records))

    def suggest(self, person: Person, area: str) -> None:
        """Remember an area that an earlier run attempt, or a run before a backfill, has read."""
        self._known.remember(person, area, has_records=False)

    async def refutes(self, area: str) -> bool:
        """Whether PTS answers a known-good person-area, so that only certain persons fail.

        Concurrent callers share one probe, and its result is valid for ``EVIDENCE_S``.

        Args:
            area: the area of the failures.

        Raises:
            WorkerError: the run cannot go on.
        """
        async with self._asking:
            if self._known.is_proved(area, self.runtime.monotonic()):
                return True
            for person, name in self._known.witnesses(area):
                if await self._is_read(person, name):
                    log.warning("pts.probe_answered", area=name, failing=area)
                    self._known.proved(area, self.runtime.monotonic())
                    return True
        return False

    async def watch(self) -> None:
        """Probe PTS whenever the throttle doubts that it is available; runs until cancelled."""
        self.availability.watch(self._begin)
        while True:
            await self._doubted.wait()
            self._doubted = anyio.Event()
            is_read = False
            try:
                for _ in range(_TRIES_MAX):
                    for person, name in self._known.latest():
                        is_read = is_read or await self._is_read(person, name)
            except WorkerError:
                pass  # the next request gets the same error and ends the run
            finally:
                self.availability.probed(is_read=is_read)

    def _begin(self) -> bool:
        if self._known:
            self._doubted.set()
        return bool(self._known)

    async def _is_read(self, person: Person, area: str) -> bool:
        try:
            await self.reader.read(person, area, is_probe=True)
        except AreaError as error:
            self._known.failed(person, area)
            log.warning("pts.probe_failed", area=area, reason=error.message, status=error.status)
            return False
        return True
