"""The pace of requests to PTS, kept by the whole worker together."""

import math
from collections import deque
from typing import Final

import anyio
import structlog

from worker.core.pacing import (
    SLOW_CUT,
    Circuit,
    ConcurrencyPace,
    Pressure,
    RatePace,
    SendMeter,
    pressure_of,
)
from worker.errors import UnavailableError
from worker.ports import Runtime

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

    Every ``enter`` is followed by one ``leave``, and before it by ``succeeded`` or ``pushed_back``
    if the attempt's end says something about PTS.

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
        self._meter = SendMeter()
        self._next_slot_s = 0.0
        self._paused_until_s = 0.0
        self._changes = 0
        self._sent = 0
        self._sent_at_cut = -1
        self._places_taken = 0
        self._in_flight = 0
        self._queue: deque[anyio.Event] = deque()
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

    async def enter(self) -> int:
        """Wait for this request's turn. Enter before the proof is made: a proof must not age.

        Returns:
            The request's number, for ``succeeded`` and ``pushed_back``.

        Raises:
            UnavailableError: PTS has failed for too long; nobody is to ask any more.
        """
        while True:
            if self._places_taken < self._places and not self._queue:
                self._places_taken += 1
            else:
                await self._wait_for_place()
            try:
                self.check()
                now_s = await self._wait_for_turn()
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
        self._give_back()

    def check(self) -> None:
        """Look whether to go on.

        Raises:
            UnavailableError: PTS has failed for too long.
        """
        if self._circuit.is_broken:
            raise UnavailableError(
                f"PTS is unavailable: {self._circuit.in_a_row} requests in a row failed, the last "
                f"{self._circuit.probes} of them sent singly and with growing waits",
                hint="run again later; the next run continues",
            )

    def pause_for(self, seconds: float) -> None:
        """Hold every request back for that long from now; those already waiting queue anew."""
        until_s = self._runtime.monotonic() + seconds
        if until_s > self._paused_until_s:
            self._paused_until_s = self._next_slot_s = until_s
            self._meter.restart(until_s, self._sent)
            self._changes += 1

    def succeeded(self, number: int | None = None, sent_s: float | None = None) -> None:
        """PTS answered as it should.

        Args:
            number: what ``enter`` returned; the last if not given.
            sent_s: when the request was sent, monotonic.
        """
        now_s = self._runtime.monotonic()
        concurrency = self._concurrency
        if sent_s is not None:
            concurrency.answered(now_s - sent_s)
        if self._circuit.in_a_row:
            self._close_circuit()
        is_recent = (self._sent if number is None else number) > self._sent_at_cut
        if is_recent and concurrency.limit > 1 and concurrency.is_slow:
            concurrency.cut(self._in_flight, SLOW_CUT)
            self._cut(now_s)
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
    ) -> None:
        """An attempt failed in a way that may pass: PTS asks for less, and perhaps for how long.

        Args:
            retry_after_s: seconds for which the whole worker is to wait; never clipped.
            number: what ``enter`` returned; the last if not given.
            status: of the answer; ``None`` if there was none.
        """
        now_s = self._runtime.monotonic()
        if retry_after_s:
            self.pause_for(retry_after_s)
        pressure = Pressure.REFUSAL if retry_after_s else pressure_of(status)
        is_recent = (self._sent if number is None else number) > self._sent_at_cut
        if pressure is Pressure.REFUSAL:
            sent_per_s = self._meter.per_second(now_s, self._sent)
            resume_s = max(now_s, self._paused_until_s)
            self._rate.refused(now_s, sent_per_s, resume_s, is_recent=is_recent)
        if is_recent and pressure is not Pressure.NONE:
            self._concurrency.cut(self._in_flight)
            self._cut(now_s)
        self._count_failure(is_recent=is_recent)

    def _count_failure(self, *, is_recent: bool) -> None:
        wait_s = self._circuit.failed(is_recent=is_recent)
        if wait_s is not None:
            _log.warning("pts.circuit_open", failures=self._circuit.in_a_row, next_probe_s=wait_s)
            self._sent_at_cut = self._sent
            self.pause_for(wait_s)
            self._changes += 1
            self._apply()
        elif self._circuit.is_broken:
            self._admit_all()

    def _close_circuit(self) -> None:
        was_open = self._circuit.is_open
        self._circuit.succeeded()
        if was_open:
            _log.info("pts.circuit_closed")
            self._concurrency.limit = 1.0
            self._apply()

    def _cut(self, now_s: float) -> None:
        """Make a lower rate or concurrency count for all who have not been sent yet."""
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
        while self._queue and self._places_taken < self._places:
            self._admit_one()

    async def _wait_for_turn(self) -> float | None:
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
            if self._places_taken > self._places:
                return None

    async def _wait_for_place(self) -> None:
        """Return with a place taken."""
        admitted = anyio.Event()
        self._queue.append(admitted)
        try:
            await admitted.wait()
        except BaseException:
            if admitted.is_set():
                self._give_back()
            else:
                self._queue.remove(admitted)
            raise

    def _give_back(self) -> None:
        self._places_taken -= 1
        if self._queue and self._places_taken < self._places:
            self._admit_one()

    def _admit_one(self) -> None:
        self._places_taken += 1
        self._queue.popleft().set()

    def _admit_all(self) -> None:
        while self._queue:
            self._admit_one()


def _checked(requests_per_second: float) -> float:
    if not requests_per_second > 0:
        raise ValueError(f"requests per second must be above 0, not {requests_per_second}")
    return requests_per_second
