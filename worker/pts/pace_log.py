"""Logs pauses and slowdowns, so that nobody wonders why a run takes so long."""

import math
from typing import Final

import structlog

from worker.core.retry import instant_after
from worker.ports import Runtime

PAUSE_LOGGED_S: Final = 5.0
"""Longer pauses are logged at INFO."""

_SAME_PAUSE_S: Final = 1.0
"""Requests that were under way together are asked to wait until about the same moment."""

_SLOWER: Final = 0.5
"""A slowdown is logged when this share is left of what was logged last."""

_log = structlog.get_logger(__name__)


class PaceLog:
    """Each pause once, each halving of the pace once.

    Args:
        runtime: the clock.
        rate: the ceiling on requests per second.
        places: the ceiling on requests under way.
    """

    def __init__(self, runtime: Runtime, rate: float, places: float) -> None:
        self._runtime = runtime
        self._rate = rate
        self._places = places
        self._paused_until_s = -math.inf

    def paused(self, wait_s: float, reason: str) -> None:
        """Nobody sends for so many seconds."""
        until_s = self._runtime.monotonic() + wait_s
        if until_s > self._paused_until_s + _SAME_PAUSE_S:
            log_pause(self._runtime, wait_s, reason)
            self._paused_until_s = until_s

    def slowed(self, rate: float, places: float, reason: str) -> None:
        """The pace was cut to so many requests per second, and so many under way."""
        if rate > _SLOWER * self._rate and places > _SLOWER * self._places:
            return
        self._rate, self._places = min(self._rate, rate), min(self._places, places)
        _log.info(
            "pts.slower", requests_per_second=round(rate, 1), concurrency=places, reason=reason
        )

    def restored(self, rate: float, places: float) -> None:
        """The cuts were taken back."""
        self._rate, self._places = rate, places
        _log.info(
            "pts.pace_restored",
            requests_per_second=round(rate, 1),
            concurrency=places,
            reason="only certain persons are refused, whatever the pace",
        )


def log_pause(runtime: Runtime, wait_s: float, reason: str, *, concerns: str = "all") -> None:
    """Log a pause, unless it is short.

    Args:
        runtime: the wall clock.
        wait_s: seconds from now.
        reason: why.
        concerns: ``all`` requests, or one ``request``.
    """
    if wait_s > PAUSE_LOGGED_S:
        until = instant_after(runtime.now(), wait_s).isoformat(timespec="seconds")
        _log.info("pts.pause", reason=reason, until=until, concerns=concerns)
