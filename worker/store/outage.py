"""How long an unavailable database is waited for, and how a stop request shortens that."""

from dataclasses import dataclass
from typing import Final

import anyio

from worker.ports import Runtime

STOPPED_S: Final = 1.0
"""How long an outage may last once a stop was requested."""
_LAST_TRY_S: Final = 0.5
"""The shortest time for a transaction to wait, even when patience has run out."""
_POLL_S: Final = 0.25


@dataclass(slots=True)
class Outage:
    """The time since which the database has failed without a success.

    Attributes:
        since_s: its beginning on the monotonic clock; None if there is no outage.
        stop: set when the process is asked to stop.
    """

    since_s: float | None = None
    stop: anyio.Event | None = None

    def begin(self, at_s: float) -> float:
        """Begin an outage, or extend it backwards to ``at_s``; return its beginning."""
        self.since_s = at_s if self.since_s is None else min(at_s, self.since_s)
        return self.since_s

    def left_s(self, now_s: float, patience_s: float) -> float:
        """How long a transaction that begins now may wait."""
        waited_s = 0.0 if self.since_s is None else now_s - self.since_s
        return min(patience_s, max(_LAST_TRY_S, patience_s - waited_s))

    def ends_waiting(self, now_s: float) -> bool:
        """Whether a stop was requested, and the outage has lasted for ``STOPPED_S``."""
        is_stopping = self.stop is not None and self.stop.is_set()
        return is_stopping and self.since_s is not None and now_s - self.since_s >= STOPPED_S

    async def pause(self, runtime: Runtime, pause_s: float) -> None:
        """Sleep; not to the end if ``ends_waiting``."""
        if self.stop is None:
            await runtime.sleep(pause_s)
            return
        while pause_s > 0 and not self.ends_waiting(runtime.monotonic()):
            await runtime.sleep(min(_POLL_S, pause_s))
            pause_s -= _POLL_S
