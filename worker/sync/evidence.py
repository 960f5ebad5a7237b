"""Reads known-good person-areas again before a run concludes that PTS fails. ADR 0021."""

from collections import deque
from dataclasses import dataclass, field
from typing import Final

import anyio
import structlog

from worker.core.answer_forms import AnswerForms
from worker.core.evidence import WITNESSES_MAX, KnownGood
from worker.core.model import CompleteArea, Person
from worker.errors import AreaError, WorkerError
from worker.ports import AreaReader, Availability, Runtime
from worker.sync.record_keys import KeyBook

log = structlog.get_logger(__name__)

_TRIES_MAX: Final = 4
"""Maximum probe rounds per doubt about PTS."""


@dataclass(slots=True, kw_only=True)
class Evidence:
    """Probes PTS with person-areas that this run has read.

    Attributes:
        reader, keys: used as in a run; the results are discarded.
        availability: the source of the doubts that ``watch`` answers.
        forms: the forms of answers that closed nothing.
    """

    reader: AreaReader
    keys: KeyBook
    runtime: Runtime
    availability: Availability
    forms: AnswerForms = field(default_factory=AnswerForms)
    _known: KnownGood = field(default_factory=KnownGood)
    _settled: dict[str, deque[Person]] = field(default_factory=dict)
    _asking: anyio.Lock = field(default_factory=anyio.Lock)
    _doubted: anyio.Event = field(default_factory=anyio.Event)

    def remember(self, person: Person, read: CompleteArea) -> None:
        """Remember an area that was read to its last page, for later probes."""
        self._known.remember(person, read.area, has_records=bool(read.records))

    def suggest(self, person: Person, area: str) -> None:
        """Remember an area that an earlier run attempt, or a run before a backfill, has read."""
        self._known.remember(person, area, has_records=False)
        self._settled.setdefault(area, deque(maxlen=WITNESSES_MAX)).append(person)

    async def compare(self, area: str) -> None:
        """Read persons whom this start need not read, if it knows no form of answer in this area.

        Raises:
            WorkerError: the run cannot go on.
        """
        async with self._asking:
            if not self.forms.knows(area):
                for person in self._settled.get(area, ()):
                    await self._is_read(person, area)

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
            read = await self.reader.read(
                person, area, key_path=self.keys.path(area), is_probe=True
            )
        except AreaError as error:
            self._known.failed(person, area)
            log.warning("pts.probe_failed", area=area, reason=error.message, status=error.status)
            return False
        admitted = self.keys.admit(read)
        if isinstance(admitted, CompleteArea):
            self.forms.remember(admitted)
        return isinstance(admitted, CompleteArea)
