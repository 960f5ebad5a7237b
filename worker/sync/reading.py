"""Reads areas of persons through the circuit breaker of each area, and sends its probes.

``worker.core.breaker`` decides. This module waits, asks and reports.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import anyio
import structlog

from worker.core.breaker import Breaker, State, verdict
from worker.core.model import CompleteArea, Person
from worker.core.run import RunProgress
from worker.errors import (
    AreaError,
    FailureKind,
    HostNameError,
    NotAskedError,
    RefusedError,
    UnavailableError,
    WorkerError,
)
from worker.ports import Runtime
from worker.pts.pace import Pace
from worker.pts.reader import PtsReader

_WAITS_MAX: Final = 1_000
"""Persons whose `Retry-After` is remembered. Beyond that, failed reads are not repeated."""

log = structlog.get_logger(__name__)


class _Wait(NamedTuple):
    """A `Retry-After` of one person in one area."""

    until_s: float
    is_obeyed: bool


@dataclass(slots=True, kw_only=True)
class AreaReader:
    """Reads one area of one person, when the breaker of the area permits it.

    Attributes:
        breakers: of the areas that are read, by area.
        wait_s_max: `sync.retry_after_max`.
        may_repeat_failures: whether a later pass can tell whom PTS has asked to wait.
    """

    reader: PtsReader
    pace: Pace
    runtime: Runtime
    progress: RunProgress
    breakers: Mapping[str, Breaker]
    wait_s_max: float
    may_repeat_failures: bool = True
    _waits: dict[tuple[str, str], _Wait] = field(default_factory=dict)
    _next_probe_s: float = 0.0
    _probing: anyio.Lock = field(default_factory=anyio.Lock)
    _is_any_open: bool = False
    _changed_s: float = 0.0
    _open_s: float = 0.0
    _changed: anyio.Event = field(default_factory=anyio.Event)

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
            is_first_pass: a later pass can read an area that is not asked now.
            is_second_read: use a new connection.

        Raises:
            NotAskedError: the area is given up, or left to a later pass.
            AreaError: the read failed.
            WorkerError: the installation is at fault.
        """
        breaker = self.breakers[area]
        while True:
            await self._admit(breaker, is_first_pass=is_first_pass)
            if self._is_waiting(person, area):
                reason = "PTS asked to wait for this person (Retry-After)"
                raise NotAskedError(reason, FailureKind.TRANSIENT)
            try:
                read = await self.reader.read(person, area, is_single_use=is_second_read)
            except (HostNameError, RefusedError, UnavailableError) as error:
                self._fail_for_everyone(person, error)
            except AreaError as error:
                self._fail(breaker, person, error)
                raise
            else:
                self._succeed(breaker, person, read)
                return read

    async def _admit(self, breaker: Breaker, *, is_first_pass: bool) -> None:
        """Wait until the breaker is closed.

        In the first pass, an outage of one area does not hold up the other: the second pass reads
        the areas that are left out.
        """
        while breaker.is_open:
            others = (other.state for other in self.breakers.values())
            if is_first_pass and breaker.is_outage and State.CLOSED in others:
                break
            await self._changed.wait()
        if breaker.state is not State.CLOSED:
            error = _last_of(breaker)
            raise NotAskedError(error.message, error.kind)

    def _is_waiting(self, person: Person, area: str) -> bool:
        wait = self._waits.get((person.person_key, area))
        return wait is not None and wait.until_s > self.runtime.monotonic()

    async def end_pass(self) -> None:
        """Wait until no breaker is open: no other person is left to ask in this pass."""
        for breaker in self.breakers.values():
            was_open = breaker.is_open
            breaker.end_pass(self._now_s())
            self._report_opened(breaker, was_open=was_open)
        while any(breaker.is_open for breaker in self.breakers.values()):
            await self._changed.wait()

    # --- the breaker is told ---

    def _succeed(self, breaker: Breaker, person: Person, read: CompleteArea) -> None:
        failed, was_open = tuple(breaker.failures), breaker.is_open
        breaker.succeed(person, len(read.records))
        if was_open and not breaker.is_open:
            # The outage has asked them to wait, and it is over.
            for key in failed:
                self._waits.pop((key, breaker.area), None)
            log.info("breaker.closed", area=breaker.area)
            self._notify()

    def _fail(self, breaker: Breaker, person: Person, error: AreaError) -> None:
        _forget_frames(error)
        self._remember_wait(person, breaker.area, error)
        was_open = breaker.is_open
        breaker.fail(person, error, self._now_s(), persons=self.progress.persons_asked)
        self._report_opened(breaker, was_open=was_open)

    def _fail_for_everyone(self, person: Person, error: WorkerError) -> None:
        _forget_frames(error)
        for breaker in self.breakers.values():
            was_open = breaker.is_open
            breaker.fail_for_everyone(person, error, self._now_s())
            self._report_opened(breaker, was_open=was_open)

    def _remember_wait(self, person: Person, area: str, error: AreaError) -> None:
        if not error.retry_after_s:
            return
        now_s = self.runtime.monotonic()
        if len(self._waits) >= _WAITS_MAX:
            self._waits = {of: wait for of, wait in self._waits.items() if wait.until_s > now_s}
        if len(self._waits) >= _WAITS_MAX:
            self.may_repeat_failures = False
        else:
            wait = _Wait(now_s + error.retry_after_s, error.is_wait_obeyed)
            self._waits[person.person_key, area] = wait

    def _now_s(self) -> float:
        """The time of a clock that stands still while everyone waits."""
        return self.runtime.monotonic() - self.pace.paused_s()

    # --- probing ---

    async def probe(self, area: str) -> None:
        """Probe the breaker of an area whenever it is open.

        Raises:
            WorkerError: every area is given up, or the installation is at fault.
        """
        breaker = self.breakers[area]
        while breaker.state is not State.GIVEN_UP:
            while breaker.state is State.CLOSED:
                await self._changed.wait()
            await self._probe(breaker, wait_s=0.0)
            while breaker.is_open:
                async with self._probing:
                    wait_s = self._next_probe_s - self.runtime.monotonic()
                    await self.runtime.sleep(max(0.0, wait_s))
                    await self._probe(breaker, wait_s=breaker.probe_interval_s)

    async def _probe(self, breaker: Breaker, wait_s: float) -> None:
        if not breaker.may_probe:
            return
        person = breaker.begin_probe()
        self._next_probe_s = self.runtime.monotonic() + breaker.probe_interval_s
        wait = self._waits.get((person.person_key, breaker.area))
        if wait is not None and wait.is_obeyed and self._is_waiting(person, breaker.area):
            breaker.postpone_probe()
        else:
            await self._read_probe(breaker, person, wait_s)
            # From request to request: a silent PTS takes a whole time-out to answer.
            sent_s = self.pace.last_sent_s
            self._next_probe_s = max(self._next_probe_s, sent_s + breaker.probe_interval_s)
        if breaker.state is State.CLOSED:
            # The outage is probably over in the other area, too.
            for other in self.breakers.values():
                await self._probe(other, wait_s)
        elif breaker.state is State.GIVEN_UP:
            self._give_up(breaker)

    async def _read_probe(self, breaker: Breaker, person: Person, wait_s: float) -> None:
        area = breaker.area
        try:
            read = await self.reader.read(person, area, is_single_use=True, probe_interval_s=wait_s)
        except (HostNameError, RefusedError, UnavailableError) as error:
            self._fail_for_everyone(person, error)
        except AreaError as error:
            self._fail(breaker, person, error)
            if error.is_wait_obeyed:
                breaker.postpone_probe()
        else:
            self._succeed(breaker, person, read)
        breaker.end_probe(self._now_s())
        if breaker.may_probe:
            log.info("breaker.probe_failed", area=area, reason=_last_of(breaker).message)
            self._notify()  # the other area need not wait any longer

    def _give_up(self, breaker: Breaker) -> None:
        """Ask no person in the area any more.

        Raises:
            WorkerError: no area is left.
        """
        reason = verdict([breaker], wait_s_max=self.wait_s_max, now=self.runtime.now())
        log.warning("breaker.given_up", area=breaker.area, reason=reason.message, hint=reason.hint)
        self._notify()
        if not self.areas:
            given_up = self.breakers.values()
            raise verdict(given_up, wait_s_max=self.wait_s_max, now=self.runtime.now())

    # --- logs and the summary ---

    def _report_opened(self, breaker: Breaker, *, was_open: bool) -> None:
        if breaker.is_open and not was_open:
            error = _last_of(breaker)
            log.warning(
                "breaker.opened",
                area=breaker.area,
                failures=len(breaker.failures),
                reason=error.message,
                hint=error.hint,
                patience_s=breaker.patience_s,
            )
            self._notify()

    def _notify(self) -> None:
        """Wake the tasks that wait for a change of a breaker's state."""
        now_s = self.runtime.monotonic()
        if self._is_any_open:
            self._open_s += now_s - self._changed_s
        self._changed_s = now_s
        self._is_any_open = any(breaker.is_open for breaker in self.breakers.values())
        changed, self._changed = self._changed, anyio.Event()
        changed.set()

    def slowness(self) -> str:
        """Why requests wait, or are sent more slowly than configured; empty if neither."""
        for breaker in self.breakers.values():
            if breaker.is_open and not self.pace.is_paused:
                return (
                    f"no request to {breaker.area} succeeds, so only one probe is sent in "
                    f"{breaker.probe_interval_s:.0f} s ({_last_of(breaker).message})"
                )
        return self.pace.slowness()

    def slowed_by(self) -> tuple[str, ...]:
        """Why this run was slower than configured, for its summary; empty if it was not."""
        reasons = [*self.pace.slowed_by()]
        if self._open_s >= 1:
            reasons.append(f"the circuit breaker was open for {self._open_s:,.0f} s")
        return (f"slower than configured: {'; '.join(reasons)}",) if reasons else ()


def _last_of(breaker: Breaker) -> WorkerError:
    """The last failure of a breaker that is not closed."""
    *_, last = breaker.failures.values()
    return last.error


def _forget_frames(error: WorkerError) -> None:
    """The frames of an error hold an answer of up to 16 MB."""
    error.__context__ = error.__traceback__ = None
