"""Logs pauses and slowdowns, which explain why a run takes long."""

import math
from typing import Final

import structlog

from worker.core.retry import instant_after
from worker.ports import Runtime

PAUSE_LOGGED_S: Final = 5.0
"""Longer pauses are logged at INFO."""

_SAME_PAUSE_S: Final = 1.0
"""Pauses that end within this time of each other are logged once: concurrent requests receive
about the same ``Retry-After``."""

_SLOWER: Final = 0.5
"""Log a slowdown when the pace falls to this share of the last logged one."""

_log = structlog.get_logger(__name__)


class PaceLog:
    """Logs each pause once and each halving of the pace once."""

    def __init__(self, runtime: Runtime, rate: float, concurrency: float) -> None:
        self._runtime = runtime
        self._rate = rate
        self._concurrency = concurrency
        self._paused_until_s = -math.inf
        self._pause_reason = self._cut_reason = ""

    def paused(self, wait_s: float, reason: str) -> None:
        """Log a pause of all requests."""
        until_s = self._runtime.monotonic() + wait_s
        if until_s > self._paused_until_s + _SAME_PAUSE_S:
            log_pause(self._runtime, wait_s, reason)
            self._paused_until_s, self._pause_reason = until_s, reason

    def slowed(self, rate: float, concurrency: float, reason: str) -> None:
        """Log a cut to this many requests per second and concurrent requests."""
        self._cut_reason = reason
        if rate > _SLOWER * self._rate and concurrency > _SLOWER * self._concurrency:
            return
        self._rate, self._concurrency = min(self._rate, rate), min(self._concurrency, concurrency)
        _log.info(
            "pts.slower", requests_per_second=round(rate, 1), concurrency=concurrency, reason=reason
        )

    def explain(self, rate: float, *, is_cut: bool) -> str:
        """Why requests wait at present, or why they are sent more slowly than configured.

        Args:
            is_cut: rate or concurrency is below its ceiling.
        """
        wait_s = self._paused_until_s - self._runtime.monotonic()
        if wait_s > 0 and self._pause_reason:
            until = instant_after(self._runtime.now(), wait_s)
            return f"{self._pause_reason}: waiting until {until:%H:%M:%S} UTC"
        return f"{self._cut_reason}: at most {rate:,.1f} requests/s" if is_cut else ""

    def restored(self, rate: float, concurrency: float) -> None:
        """Log that the cuts were reverted."""
        self._rate, self._concurrency = rate, concurrency
        _log.info(
            "pts.pace_restored",
            requests_per_second=round(rate, 1),
            concurrency=concurrency,
            reason="refusals concern certain persons and do not depend on the pace",
        )


def log_pause(runtime: Runtime, wait_s: float, reason: str, *, concerns: str = "all") -> None:
    """Log a pause longer than ``PAUSE_LOGGED_S``.

    Args:
        concerns: ``all`` requests, or one ``request``.
    """
    if wait_s > PAUSE_LOGGED_S:
        until = instant_after(runtime.now(), wait_s).isoformat(timespec="seconds")
        _log.info("pts.pause", reason=reason, until=until, concerns=concerns)
