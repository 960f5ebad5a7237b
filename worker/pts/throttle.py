"""Throttles the requests of this process to PTS: rate, concurrency, pauses and circuit breaker."""

import math
from collections.abc import Callable
from datetime import datetime
from typing import Final

import structlog

from worker.core.circuit import EVIDENCE_S, FAILURES_IN_A_ROW, Circuit
from worker.core.pacing import (
    SLOW_CUT,
    ConcurrencyPace,
    Pressure,
    RatePace,
    SendMeter,
    pressure_of,
)
from worker.core.push_backs import PushBack, Repeats
from worker.errors import UnavailableError
from worker.ports import Runtime
from worker.pts.pace_log import PaceLog, log_pause
from worker.pts.permits import Permits
from worker.pts.send_schedule import SendSchedule

_TOO_MANY: Final = 429

_log = structlog.get_logger(__name__)


class Throttle:
    """Spaces requests evenly, obeys ``Retry-After``, and adapts to what PTS sustains.

    Rate and concurrency follow PTS's responses (``worker.core.pacing``). They are cut at once, but
    only once for all requests that were in flight together, and grow back slowly.

    Call ``leave`` once after every ``enter``. Before it, call ``succeeded``, ``pushed_back`` or
    ``asked_for_quiet`` if the outcome says something about PTS.

    Before concluding that PTS is unavailable, the throttle asks for a probe (``watch``), a read
    that succeeded before. All other requests wait for its result.

    Args:
        requests_per_second: the ceiling; infinity for none.
        concurrency: the ceiling on concurrent requests; infinity for none.
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
        self._permits = Permits()
        self._schedule = SendSchedule(runtime)
        self._begin_probe: Callable[[], bool] = lambda: False
        self._quiet_until: datetime | None = None
        self._quiet_in_a_row = 0
        self._undecided_since: int | None = None
        self._proved_until_s = -math.inf
        self._sent = 0
        self._answered = 0
        self._sent_at_cut = -1
        self._in_flight = 0
        self._apply()

    @property
    def rate(self) -> float:
        """The current requests per second."""
        return self._rate.rate

    @property
    def concurrency(self) -> float:
        """The current limit on concurrent requests: 1 while the circuit is open."""
        return self._permits.limit

    @property
    def is_open(self) -> bool:
        """Whether the circuit is open, so that only single requests are sent."""
        return self._circuit.is_open

    def slowness(self) -> str:
        """Why requests wait, or are sent more slowly than configured; empty if neither."""
        is_cut = not (self._rate.is_free and self._concurrency.is_free)
        return self._log.explain(self._rate.rate, is_cut=is_cut)

    def set_probes(self, probes: int) -> None:
        """Set how many single requests may fail in an open circuit; 0: the circuit never opens."""
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
        self._permits.is_held = False
        self._permits.admit()

    async def enter(self, *, is_probe: bool = False) -> int:
        """Wait until a request may be sent. Call it before making the DPoP proof, which ages.

        Args:
            is_probe: send it before all others, and alone while the circuit is open.

        Returns:
            The request's number, for ``succeeded`` and ``pushed_back``.

        Raises:
            UnavailableError: PTS has failed for too long; no request may be sent.
        """
        permits = self._permits
        while True:
            await permits.acquire(is_probe=is_probe)
            try:
                self.check()
                now_s = await self._schedule.wait(
                    lambda: not permits.is_exceeded and (is_probe or not permits.is_held)
                )
            except BaseException:
                permits.release()
                raise
            if now_s is not None:
                break
            permits.release()
        self._in_flight += 1
        self._sent += 1
        if now_s >= self._meter.due_s:
            self._meter.mark(now_s, self._sent)
        return self._sent

    def leave(self) -> None:
        """End an attempt, whatever its outcome."""
        self._in_flight -= 1
        if self._undecided_since is not None and not self._in_flight:
            self._decide(self._undecided_since)
        self._permits.release()

    def check(self) -> None:
        """Check that requests may still be sent.

        Raises:
            UnavailableError: PTS has failed for too long.
        """
        if not self._circuit.is_broken:
            return
        if self._quiet_until is not None:
            raise UnavailableError(
                f"PTS asks for quiet until {self._quiet_until.isoformat(timespec='seconds')} "
                "(Retry-After), longer than sync.retry_after_max",
                hint="run again after that time; it continues within sync.continue_within",
                not_before=self._quiet_until,
            )
        raise UnavailableError(
            f"PTS is unavailable: {self._circuit.in_a_row} requests in a row failed, the last "
            f"{self._circuit.probes} of them sent one at a time with growing waits",
            hint="run again later, and the next run continues; `pts-worker doctor` finds what is "
            "wrong on this side",
        )

    def pause_for(self, seconds: float, reason: str) -> None:
        """Hold back every request for that long from now; waiting requests are rescheduled."""
        until_s = self._runtime.monotonic() + seconds
        if until_s > self._schedule.paused_until_s:
            self._log.paused(seconds, reason)
            self._schedule.pause_until(until_s)
            self._meter.restart(until_s, self._sent)

    def succeeded(
        self,
        number: int | None = None,
        sent_s: float | None = None,
        *,
        before: PushBack | None = None,
    ) -> None:
        """Record a successful response.

        Args:
            number: what ``enter`` returned; default: the last one.
            sent_s: monotonic time at which the request was sent.
            before: what ``pushed_back`` returned for an earlier attempt at this request.
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
            self._cut(now_s, "responses take much longer than usual")
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
        """Record a transient failure, and slow down as far as it says something about the load.

        Args:
            retry_after_s: pause for all requests, never clipped; only for this request if all
                requests have already waited for it.
            number: what ``enter`` returned; default: the last one.
            status: status of the response; ``None``: no response.
            before: what this method returned for an earlier attempt at this request.

        Returns:
            The argument ``before`` for the request's next attempt.
        """
        now_s = self._runtime.monotonic()
        reason = "no response" if status is None else f"status {status}"
        pressure = Pressure.REFUSAL if retry_after_s else pressure_of(status)
        is_recent = self._is_recent(number)
        is_personal = pressure is not Pressure.NONE and self._is_personal(before)
        has_paused_all = before is not None and before.has_paused_all
        is_alone = before is not None and has_paused_all and self._answered > before.answered
        alone_s = before.alone_s if before else 0.0
        if retry_after_s and (is_personal or is_alone):
            # Under load, first attempts of other requests are refused as well and pause everyone.
            log_pause(self._runtime, retry_after_s, f"{reason}, Retry-After", concerns="request")
            alone_s += retry_after_s
        elif retry_after_s:
            self.pause_for(retry_after_s, f"{reason}, Retry-After")
            has_paused_all = True
        if pressure is Pressure.REFUSAL and not is_personal:
            sent_per_s = self._meter.per_second(now_s, self._sent)
            resume_s = max(now_s, self._schedule.paused_until_s)
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
        """Record a ``Retry-After`` beyond the maximum.

        It ends the run, unless a probe succeeds or, if no probe is possible, another request in
        flight succeeds. Then it concerns only this request.

        Args:
            until: the end of the requested pause.
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
                self._permits.is_held = self._circuit.is_open = True
                self._hold_back(0.0, "")
            else:
                self._break_circuit()

    def _decide(self, answered_before: int) -> None:
        """Close or break the circuit once all requests in flight have ended."""
        self._undecided_since = None
        if self._begin_probe():
            return
        if self._answered > answered_before:
            self._close_circuit()
        else:
            self._break_circuit()

    def _is_recent(self, number: int | None) -> bool:
        """Whether the request was sent after the last cut, at the current pace."""
        return (self._sent if number is None else number) > self._sent_at_cut

    def _is_personal(self, before: PushBack | None) -> bool:
        """Count a push-back; return whether it depends on the person rather than on the load."""
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
            if not self._permits.is_held:
                self._permits.is_held = not self._circuit.probes and self._begin_probe()
            self._hold_back(wait_s, "PTS fails; only single requests are sent")
        elif self._circuit.is_broken:
            self._permits.admit_all()

    def _hold_back(self, wait_s: float, reason: str) -> None:
        """Apply the open circuit to all requests not sent yet."""
        self._sent_at_cut = self._sent
        self.pause_for(wait_s, reason)
        self._schedule.recheck()
        self._apply()

    def _break_circuit(self) -> None:
        self._circuit.is_broken = True
        self._permits.admit_all()

    def _close_circuit(self) -> None:
        was_open = self._circuit.is_open
        self._circuit.succeeded()
        self._quiet_until = None
        if was_open:
            _log.info("pts.circuit_closed")
            self._permits.is_held = False
            self._concurrency.restart()
            self._apply()

    def _take_back_cuts(self) -> None:
        before = (self._rate.rate, self._concurrency.limit)
        self._rate.take_back_cuts()
        self._concurrency.take_back_cuts()
        if before != (self._rate.rate, self._concurrency.limit):
            self._log.restored(self._rate.rate, self._concurrency.limit)
            self._apply()
            self._schedule.reschedule(self._runtime.monotonic())

    def _cut(self, now_s: float, reason: str) -> None:
        """Apply a lower rate or concurrency to all requests not sent yet."""
        self._log.slowed(self._rate.rate, self._concurrency.limit, reason)
        self._sent_at_cut = self._sent
        self._apply()
        self._meter.restart(self._schedule.reschedule(now_s), self._sent)

    def _apply(self) -> None:
        self._schedule.set_rate(self._rate.rate)
        self._permits.limit = 1.0 if self._circuit.is_open else self._concurrency.limit
        self._permits.admit()


def _checked(requests_per_second: float) -> float:
    if not requests_per_second > 0:
        raise ValueError(f"requests per second must be above 0, not {requests_per_second}")
    return requests_per_second
