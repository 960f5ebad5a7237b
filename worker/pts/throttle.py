"""The pace of requests to PTS, kept by the whole worker together."""

import math
from collections import deque
from collections.abc import Callable
from datetime import datetime
from typing import Final

import anyio
import structlog

from worker.core.pacing import (
    EVIDENCE_S,
    FAILURES_IN_A_ROW,
    SLOW_CUT,
    Circuit,
    ConcurrencyPace,
    Pressure,
    PushBack,
    RatePace,
    Repeats,
    SendMeter,
    pressure_of,
)
from worker.errors import UnavailableError
from worker.ports import Runtime
from worker.pts.pace_log import PaceLog, log_pause

_BURST_S: Final = 0.05
"""How much of a second's worth of requests may go at once."""

_TOO_MANY: Final = 429

_log = structlog.get_logger(__name__)


class Throttle:
    """Spaces requests evenly, holds them back while PTS asks for it, and learns what PTS bears.

    The generic cell rate algorithm (ITU-T I.371): each request has a slot, ``1 / rate`` after the
    one before; a request may be early by the burst. Rate and concurrency follow PTS's answers (see
    ``worker.core.pacing``): down at once, but only once for all requests that were under way
    together, and slowly up again.

    Every ``enter`` is followed by one ``leave``, and before it by ``succeeded``, ``pushed_back`` or
    ``asked_for_quiet`` if the attempt's end says something about PTS.

    Before it concludes that PTS is unavailable, it lets a probe speak for PTS, if there is one to
    come (``watch``): a read of what was read successfully before. Meanwhile all others wait.

    Args:
        requests_per_second: the ceiling; infinity for none.
        runtime: clock and sleep.
        concurrency: the ceiling on requests under way; infinity for none.
    """

    def __init__(
        self, requests_per_second: float, runtime: Runtime, *, concurrency: float = math.inf
    ) -> None:
        self._runtime = runtime
        self._rate = RatePace(_checked(requests_per_second))
        self._concurrency = ConcurrencyPace(concurrency)
        self._circuit = Circuit()
        self._repeats = Repeats()
        self._meter = SendMeter()
        self._log = PaceLog(runtime, self._rate.rate, concurrency)
        self._begin_probe: Callable[[], bool] = lambda: False
        self._is_held = False
        self._quiet_until: datetime | None = None
        self._quiet_in_a_row = 0
        self._undecided_since: int | None = None
        self._proved_until_s = -math.inf
        self._next_slot_s = 0.0
        self._paused_until_s = 0.0
        self._changes = 0
        self._sent = 0
        self._answered = 0
        self._sent_at_cut = -1
        self._places_taken = 0
        self._in_flight = 0
        self._queue: deque[anyio.Event] = deque()
        self._probes: deque[anyio.Event] = deque()
        self._apply()

    @property
    def rate(self) -> float:
        """Requests per second at the moment."""
        return self._rate.rate

    @property
    def places(self) -> float:
        """Requests that may be under way at the moment: 1 while the circuit is open."""
        return self._places

    @property
    def is_open(self) -> bool:
        """Whether PTS has failed so often that only single requests go."""
        return self._circuit.is_open

    def set_rate(self, requests_per_second: float) -> None:
        """Change the ceiling, e.g. when the number of shards changes; those who wait queue anew.

        Raises:
            ValueError: it is not above 0.
        """
        self._rate.set_ceiling(_checked(requests_per_second))
        self._apply()
        first_s = self._runtime.monotonic() + self._spacing_s
        self._next_slot_s = max(first_s, self._paused_until_s)
        self._changes += 1

    def set_probes(self, probes: int) -> None:
        """How many single requests may try PTS after it has failed for all; 0: no such end."""
        self._circuit.probes_max = probes

    def watch(self, begin_probe: Callable[[], bool]) -> None:
        """See ``Availability.watch``."""
        self._begin_probe = begin_probe

    def probed(self, *, is_read: bool) -> None:
        """See ``Availability.probed``."""
        if is_read:
            self._proved_until_s = self._runtime.monotonic() + EVIDENCE_S
            self._close_circuit()
            self._repeats.proved()
            self._take_back_cuts()
        elif self._quiet_until is not None:
            self._break_circuit()
        self._is_held = False
        self._admit()

    async def enter(self, *, is_probe: bool = False) -> int:
        """Wait until this request may go. Enter before the proof is made: a proof must not age.

        Args:
            is_probe: it goes before all others, and alone while the circuit is open.

        Returns:
            The request's number, for ``succeeded`` and ``pushed_back``.

        Raises:
            UnavailableError: PTS has failed for too long; nobody is to ask any more.
        """
        while True:
            if self._places_taken < self._places and (
                is_probe or not (self._queue or self._is_held)
            ):
                self._places_taken += 1
            else:
                await self._wait_for_place(self._probes if is_probe else self._queue)
            try:
                self.check()
                now_s = await self._wait_for_turn(is_probe=is_probe)
            except BaseException:
                self._give_back()
                raise
            if now_s is not None:
                break
            self._give_back()
        self._in_flight += 1
        self._sent += 1
        if now_s >= self._meter.due_s:
            self._meter.mark(now_s, self._sent)
        return self._sent

    def leave(self) -> None:
        """The attempt is over, however it ended."""
        self._in_flight -= 1
        if self._undecided_since is not None and not self._in_flight:
            self._decide(self._undecided_since)
        self._give_back()

    def check(self) -> None:
        """Look whether to go on.

        Raises:
            UnavailableError: PTS has failed for too long.
        """
        if not self._circuit.is_broken:
            return
        if self._quiet_until is not None:
            raise UnavailableError(
                f"PTS asks for quiet until {self._quiet_until.isoformat(timespec='seconds')} "
                "(Retry-After), longer than sync.retry_after_max",
                hint="run again after that; the next run continues",
            )
        raise UnavailableError(
            f"PTS is unavailable: {self._circuit.in_a_row} requests in a row failed, the last "
            f"{self._circuit.probes} of them sent singly and with growing waits",
            hint="run again later; the next run continues",
        )

    def pause_for(self, seconds: float, reason: str = "the ceiling is divided anew") -> None:
        """Hold every request back for that long from now; those already waiting queue anew."""
        until_s = self._runtime.monotonic() + seconds
        if until_s > self._paused_until_s:
            self._log.paused(seconds, reason)
            self._paused_until_s = self._next_slot_s = until_s
            self._meter.restart(until_s, self._sent)
            self._changes += 1

    def succeeded(
        self,
        number: int | None = None,
        sent_s: float | None = None,
        *,
        before: PushBack | None = None,
    ) -> None:
        """PTS answered as it should.

        Args:
            number: what ``enter`` returned; the last if not given.
            sent_s: when the request was sent, monotonic.
            before: what ``pushed_back`` returned for an attempt before at this request.
        """
        now_s = self._runtime.monotonic()
        concurrency = self._concurrency
        is_recent = self._is_recent(number)
        self._answered += 1
        if sent_s is not None:
            concurrency.answered(now_s - sent_s)
        self._quiet_in_a_row = 0
        if (self._circuit.in_a_row or self._circuit.is_open) and (
            is_recent or self._quiet_until is None
        ):
            self._close_circuit()
        if before is None:
            self._repeats.first_attempt(is_pushed_back=False)
        else:
            self._repeats.repeated(is_pushed_back=False)
            self._rate.confirm_cut(before.rate)
            concurrency.confirm_cut(before.limit)
        if is_recent and concurrency.limit > 1 and concurrency.is_slow:
            concurrency.cut(self._in_flight, SLOW_CUT)
            self._cut(now_s, "answers take far longer than usual")
        elif not (self._rate.is_free and concurrency.is_free):
            concurrency.grow(self._in_flight)
            self._rate.accepted(now_s, self._meter.per_second(now_s, self._sent))
            self._apply()

    def pushed_back(
        self,
        retry_after_s: float | None,
        number: int | None = None,
        *,
        status: int | None = _TOO_MANY,
        before: PushBack | None = None,
    ) -> PushBack | None:
        """An attempt failed in a way that may pass: PTS asks for less, and perhaps for how long.

        Args:
            retry_after_s: seconds for which the whole worker is to wait, never clipped; this
                request alone, if everybody has waited for it before.
            number: what ``enter`` returned; the last if not given.
            status: of the answer; ``None`` if there was none.
            before: what this returned for an attempt before at this request.

        Returns:
            What to hand in for the request's next attempt.
        """
        now_s = self._runtime.monotonic()
        reason = "no answer" if status is None else f"status {status}"
        pressure = Pressure.REFUSAL if retry_after_s else pressure_of(status)
        is_recent = self._is_recent(number)
        is_personal = pressure is not Pressure.NONE and self._is_personal(before)
        has_paused_all = before is not None and before.has_paused_all
        was_for_one = before is not None and has_paused_all and self._answered > before.answered
        alone_s = before.alone_s if before else 0.0
        if retry_after_s and (is_personal or was_for_one):
            # Under load others are refused for the first time too, and hold back everybody again.
            log_pause(self._runtime, retry_after_s, f"{reason}, Retry-After", concerns="request")
            alone_s += retry_after_s
        elif retry_after_s:
            self.pause_for(retry_after_s, f"{reason}, Retry-After")
            has_paused_all = True
        if pressure is Pressure.REFUSAL and not is_personal:
            sent_per_s = self._meter.per_second(now_s, self._sent)
            resume_s = max(now_s, self._paused_until_s)
            self._rate.refused(now_s, sent_per_s, resume_s, is_recent=is_recent)
        if is_recent and pressure is not Pressure.NONE and not is_personal:
            self._concurrency.cut(self._in_flight)
            self._cut(now_s, reason)
        self._count_failure(now_s, is_recent=is_recent)
        if pressure is Pressure.NONE:
            return before
        return PushBack(
            self._answered, self._rate.rate, self._concurrency.limit, has_paused_all, alone_s
        )

    def asked_for_quiet(self, until: datetime, number: int) -> None:
        """PTS asks for a longer pause than a run makes.

        Ends the run, unless a probe is answered, or before there is any to make a request that is
        under way: then this concerns one request alone.

        Args:
            until: the end of that pause.
            number: what ``enter`` returned.
        """
        self._quiet_in_a_row += 1
        is_proved = self._runtime.monotonic() < self._proved_until_s
        if self._circuit.is_open:
            if self._is_recent(number):
                self._quiet_until = until
                self._break_circuit()
        elif not is_proved or self._quiet_in_a_row >= FAILURES_IN_A_ROW:
            self._quiet_until = until
            is_probed = self._begin_probe()
            if is_probed or self._in_flight > 1:
                self._undecided_since = None if is_probed else self._answered
                self._is_held = self._circuit.is_open = True
                self._hold_back(0.0, "")
            else:
                self._break_circuit()

    def _decide(self, answered_before: int) -> None:
        """All that was under way has ended: was anybody answered, or were all asked for quiet?"""
        self._undecided_since = None
        if self._begin_probe():
            return
        if self._answered > answered_before:
            self._close_circuit()
        else:
            self._break_circuit()

    def _is_recent(self, number: int | None) -> bool:
        """Whether the request was sent after the last cut, and so at the present pace."""
        return (self._sent if number is None else number) > self._sent_at_cut

    def _is_personal(self, before: PushBack | None) -> bool:
        """Count a push-back, and say whether it comes of the person rather than of the load."""
        were_personal = self._repeats.are_personal
        if before is None:
            self._repeats.first_attempt(is_pushed_back=True)
        elif self._answered > before.answered:
            self._repeats.repeated(is_pushed_back=True)
        if self._repeats.are_personal and not were_personal:
            self._take_back_cuts()
        return self._repeats.are_personal

    def _count_failure(self, now_s: float, *, is_recent: bool) -> None:
        if now_s < self._proved_until_s and not self._circuit.is_open:
            return
        wait_s = self._circuit.failed(is_recent=is_recent)
        if self._quiet_until is not None and is_recent:
            self._break_circuit()
        elif wait_s is not None:
            _log.warning("pts.circuit_open", failures=self._circuit.in_a_row, next_probe_s=wait_s)
            self._is_held = self._is_held or (not self._circuit.probes and self._begin_probe())
            self._hold_back(wait_s, "PTS fails; single requests try")
        elif self._circuit.is_broken:
            self._admit_all()

    def _hold_back(self, wait_s: float, reason: str) -> None:
        """Let the open circuit count for all who have not been sent yet."""
        self._sent_at_cut = self._sent
        self.pause_for(wait_s, reason)
        self._changes += 1
        self._apply()

    def _break_circuit(self) -> None:
        self._circuit.is_broken = True
        self._admit_all()

    def _close_circuit(self) -> None:
        was_open = self._circuit.is_open
        self._circuit.succeeded()
        self._quiet_until = None
        if was_open:
            _log.info("pts.circuit_closed")
            self._is_held = False
            self._concurrency.restart()
            self._apply()

    def _take_back_cuts(self) -> None:
        before = (self._rate.rate, self._concurrency.limit)
        self._rate.take_back_cuts()
        self._concurrency.take_back_cuts()
        if before != (self._rate.rate, self._concurrency.limit):
            self._log.restored(self._rate.rate, self._concurrency.limit)
            self._apply()
            first_s = self._runtime.monotonic() + self._spacing_s
            self._next_slot_s = max(first_s, self._paused_until_s)
            self._changes += 1

    def _cut(self, now_s: float, reason: str) -> None:
        """Make a lower rate or concurrency count for all who have not been sent yet."""
        self._log.slowed(self._rate.rate, self._concurrency.limit, reason)
        self._sent_at_cut = self._sent
        self._apply()
        self._next_slot_s = max(now_s + self._spacing_s, self._paused_until_s)
        self._meter.restart(self._next_slot_s, self._sent)
        self._changes += 1

    def _apply(self) -> None:
        rate = self._rate.rate
        self._spacing_s = 1.0 / rate
        burst = max(1.0, _BURST_S * rate)
        self._early_s = (burst - 1.0) * self._spacing_s if self._spacing_s else 0.0
        self._places = 1.0 if self._circuit.is_open else self._concurrency.limit
        self._admit()

    async def _wait_for_turn(self, *, is_probe: bool) -> float | None:
        """Take a slot and sleep until it; take another if pace or pauses change meanwhile.

        Returns:
            The time of the turn; ``None`` if there are fewer places now and this one is lost.
        """
        now_s = self._runtime.monotonic()
        while True:
            changes = self._changes
            slot_s = max(now_s, self._next_slot_s)
            self._next_slot_s = slot_s + self._spacing_s
            turn_s = max(slot_s - self._early_s, self._paused_until_s)
            while now_s < turn_s and changes == self._changes:
                await self._runtime.sleep(turn_s - now_s)
                now_s = self._runtime.monotonic()
            if changes == self._changes:
                return now_s
            if self._places_taken > self._places or (self._is_held and not is_probe):
                return None

    async def _wait_for_place(self, queue: deque[anyio.Event]) -> None:
        """Return with a place taken."""
        admitted = anyio.Event()
        queue.append(admitted)
        try:
            await admitted.wait()
        except BaseException:
            if admitted.is_set():
                self._give_back()
            else:
                queue.remove(admitted)
            raise

    def _give_back(self) -> None:
        self._places_taken -= 1
        self._admit()

    def _admit(self) -> None:
        """Give free places to those who wait for them, probes first."""
        while self._places_taken < self._places:
            queue = self._probes or (() if self._is_held else self._queue)
            if not queue:
                return
            self._places_taken += 1
            queue.popleft().set()

    def _admit_all(self) -> None:
        """Let everybody who waits learn that nobody may go."""
        self._is_held = False
        for queue in (self._probes, self._queue):
            self._places_taken += len(queue)
            while queue:
                queue.popleft().set()


def _checked(requests_per_second: float) -> float:
    if not requests_per_second > 0:
        raise ValueError(f"requests per second must be above 0, not {requests_per_second}")
    return requests_per_second
