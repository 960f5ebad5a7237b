"""Evidence before a verdict: reads again what was read well, before a run concludes about PTS."""

from dataclasses import dataclass, field
from typing import Final

import anyio
import structlog

from worker.core.evidence import KnownGood
from worker.core.model import CompleteArea, Person
from worker.errors import AreaError, WorkerError
from worker.ports import AreaReader, Availability, Runtime
from worker.sync.record_keys import KeyBook

log = structlog.get_logger(__name__)

_TRIES_MAX: Final = 4
"""How often a doubt about PTS is answered by another known-good person-area, before all may try."""


@dataclass(slots=True, kw_only=True)
class Evidence:
    """Probes PTS with person-areas that were read in this run.

    Attributes:
        reader, keys: read as a run does; what is read is not kept.
        availability: whose doubts ``watch`` answers.
    """

    reader: AreaReader
    keys: KeyBook
    runtime: Runtime
    availability: Availability
    _known: KnownGood = field(default_factory=KnownGood)
    _asking: anyio.Lock = field(default_factory=anyio.Lock)
    _doubted: anyio.Event = field(default_factory=anyio.Event)

    def remember(self, person: Person, read: CompleteArea) -> None:
        """An area was read to its last page, and may be asked for again."""
        self._known.remember(person, read.area, has_records=bool(read.records))

    def suggest(self, person: Person, area: str) -> None:
        """An area that an earlier start of this run has read, or a run before a backfill."""
        self._known.remember(person, area, has_records=False)

    async def refutes(self, area: str) -> bool:
        """Whether PTS answers a known-good person-area, so that failures concern certain persons.

        A proof serves for some seconds; who comes while a probe is under way waits for its result.

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
        """Answer each doubt of the pace about PTS with a probe, until cancelled."""
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
                pass  # whoever asks next gets the same error, and ends the run with it
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
        return isinstance(self.keys.admit(read), CompleteArea)
