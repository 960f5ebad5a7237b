"""Reads areas of persons through the circuit breaker of each area, and sends its probes.

``worker.core.breaker`` has the state machine. This module waits, sends and logs.
"""

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import anyio
import structlog

from worker.core.breaker import GLOBAL_ERRORS, Breaker, State
from worker.core.model import CompleteArea, Person
from worker.core.run import RunProgress
from worker.core.verdict import verdict
from worker.errors import AreaError, NotRequestedError, WorkerError
from worker.ports import Runtime
from worker.pts.pace import Pace
from worker.pts.reader import PtsReader

log = structlog.get_logger(__name__)


@dataclass(slots=True, kw_only=True)
class AreaReader:
    """Reads one area of one person, when the breaker of the area permits it.

    Attributes:
        breakers: circuit breakers by area.
    """

    pts_reader: PtsReader
    pace: Pace
    runtime: Runtime
    progress: RunProgress
    breakers: Mapping[str, Breaker]
    _next_probe_s: float = 0.0
    _probing: anyio.Lock = field(default_factory=anyio.Lock)
    _changed: anyio.Event = field(default_factory=anyio.Event)

    def __post_init__(self) -> None:
        for breaker in self.breakers.values():
            breaker.on_change = self._on_change

    @property
    def areas(self) -> tuple[str, ...]:
        """The areas that are not given up."""
        return tuple(
            name for name, breaker in self.breakers.items() if breaker.state is not State.GIVEN_UP
        )

    # --- reading ---

    async def read(
        self, person: Person, area: str, *, is_first_pass: bool, is_second_read: bool
    ) -> CompleteArea:
        """Read an area completely.

        Args:
            is_first_pass: skip the area during an outage, because a later pass can read it.
            is_second_read: use a new connection.

        Raises:
            NotRequestedError: the area is given up, or skipped until a later pass.
            AreaError: the read failed.
            WorkerError: the installation has an error.
        """
        breaker = self.breakers[area]
        while True:
            await self._wait_until_closed(breaker, is_first_pass=is_first_pass)
            with suppress(*GLOBAL_ERRORS):  # the breakers are open now: wait and retry
                return await self._read(breaker, person, is_single_use=is_second_read)

    async def _wait_until_closed(self, breaker: Breaker, *, is_first_pass: bool) -> None:
        """Wait until the breaker is closed.

        In the first pass, an outage of one area does not delay the other: the area is skipped, and
        the second pass reads it.

        Raises:
            NotRequestedError: the area is given up, or skipped.
        """
        while breaker.is_open:
            states = {each.state for each in self.breakers.values()}
            if is_first_pass and breaker.failed_probes and State.CLOSED in states:
                break
            await self._changed.wait()
        if breaker.state is not State.CLOSED:
            error = breaker.errors[-1]
            raise NotRequestedError(error.message, error.kind)

    async def _read(
        self,
        breaker: Breaker,
        person: Person,
        *,
        is_single_use: bool,
        probe_interval_s: float = 0.0,
    ) -> CompleteArea:
        """Read an area and count the result in its breaker. Global errors count in every breaker.

        Args:
            is_single_use, probe_interval_s: see ``Request``.
        """
        try:
            read = await self.pts_reader.read(
                person,
                breaker.area,
                is_single_use=is_single_use,
                probe_interval_s=probe_interval_s,
            )
        except (AreaError, *GLOBAL_ERRORS) as error:
            # The traceback references a response of up to 16 MB, and breakers keep the error.
            error.__context__ = error.__traceback__ = None
            is_global = isinstance(error, GLOBAL_ERRORS)
            affected = [*self.breakers.values()] if is_global else [breaker]
            for each in affected:
                each.fail(person, error, persons=self.progress.persons_requested)
            raise
        breaker.succeed(person, len(read.records))
        return read

    async def end_pass(self) -> None:
        """Wait until no breaker is open, and until the end of a pause.

        If the last read failed, only a probe can confirm an outage: no other person is left.
        """
        for breaker in self.breakers.values():
            breaker.end_pass()
        while any(breaker.is_open for breaker in self.breakers.values()):
            await self._changed.wait()
        await self.pace.wait()

    # --- probing ---

    async def probe(self, area: str) -> None:
        """Probe an area when its breaker opens, then at intervals of ten seconds over all areas.

        Raises:
            WorkerError: every area is given up, or the installation has an error.
        """
        breaker = self.breakers[area]
        while breaker.state is not State.GIVEN_UP:
            await self._wait_until_due(breaker)
            # The first probe is sent at once: it may show that only these persons fail.
            if not breaker.failed_probes:
                await self._probe(breaker)
                continue
            async with self._probing:
                wait_s = self._next_probe_s - self.runtime.monotonic()
                await self.runtime.sleep(max(0.0, wait_s))
                # A read in flight may have closed it during the wait.
                if breaker.is_open:
                    await self._probe(breaker)
        if not self.areas:
            raise self._verdict(*self.breakers.values())

    async def _wait_until_due(self, breaker: Breaker) -> None:
        """Wait until the breaker is open and ``Retry-After`` permits a probe."""
        while not breaker.is_open or breaker.probe_wait_s() > 0:
            # Not under the lock: the wait of one area must not delay the probes of the other.
            limit_s = breaker.probe_wait_s() if breaker.is_open else math.inf
            with anyio.move_on_after(limit_s):
                await self._changed.wait()

    async def _probe(self, breaker: Breaker) -> None:
        person, interval_s = breaker.begin_probe(), breaker.probe_interval_s
        self._next_probe_s = self.runtime.monotonic() + interval_s
        with suppress(AreaError, *GLOBAL_ERRORS):
            await self._read(breaker, person, is_single_use=True, probe_interval_s=interval_s)
        # Count the interval from the send time, because a probe may last a whole time-out.
        self._next_probe_s = max(self._next_probe_s, self.pace.last_sent_s + interval_s)
        breaker.end_probe()

    # --- logs and the summary ---

    def _on_change(self, breaker: Breaker, before: State) -> None:
        """Log a change of a breaker's state, and wake the tasks that wait for one."""
        # Only a failed probe shows an outage. Without one, PTS limited the rate, which stays lower.
        if breaker.state is State.CLOSED and breaker.failed_probes:
            self.pace.restore()
        self._log_change(breaker, before)
        changed, self._changed = self._changed, anyio.Event()
        changed.set()

    def _log_change(self, breaker: Breaker, before: State) -> None:
        match breaker.state:
            case State.HALF_OPEN:
                pass
            case State.CLOSED:
                log.info("breaker.closed", area=breaker.area)
            case State.OPEN if before is State.CLOSED:
                log.warning(
                    "breaker.opened",
                    area=breaker.area,
                    failures=len(breaker.failures),
                    reason=breaker.errors[-1].message,
                    hint=self._hint(breaker),
                    patience_s=breaker.patience_s,
                )
            case State.OPEN:
                log.info(
                    "breaker.probe_failed", area=breaker.area, reason=breaker.errors[-1].message
                )
            case State.GIVEN_UP:
                error = self._verdict(breaker)
                log.warning(
                    "breaker.given_up", area=breaker.area, reason=error.message, hint=error.hint
                )

    def _verdict(self, *breakers: Breaker) -> WorkerError:
        errors = [error for breaker in breakers for error in breaker.errors]
        return verdict(errors, wait_s_max=breakers[0].wait_s_max, now=self.runtime.now())

    def _hint(self, breaker: Breaker) -> str:
        """The remedy of the last failure. If it has none, the remedy of all failures together."""
        return breaker.errors[-1].hint or self._verdict(breaker).hint

    def slowness(self) -> str:
        """Why requests wait, or are sent more slowly than configured. Empty if neither."""
        for breaker in self.breakers.values():
            if breaker.is_open and not self.pace.is_paused:
                return (
                    f"no request to {breaker.area} succeeds, so only one probe is sent every "
                    f"{breaker.probe_interval_s:.0f} s ({breaker.errors[-1].message} → "
                    f"{self._hint(breaker)})"
                )
        return self.pace.slowness()

    def slowed_by(self) -> tuple[str, ...]:
        """Why this run was slower than configured, for its summary. Empty if it was not."""
        reasons = [*self.pace.slowed_by()]
        open_s = max(breaker.open_s for breaker in self.breakers.values())
        if open_s >= 1:
            reasons.append(f"the circuit breaker was open for {open_s:,.0f} s")
        return (f"slower than configured: {'; '.join(reasons)}",) if reasons else ()
