"""The circuit breaker for all requests to PTS."""

from dataclasses import dataclass
from typing import Final

FAILURES_IN_A_ROW: Final = 20
"""Failed attempts in a row, of any request, that open the circuit."""
PROBE_S_FIRST: Final = 1.0
PROBE_FACTOR: Final = 3.0
PROBE_S_MAX: Final = 60.0
"""Waits between single requests in an open circuit: 1, 3, 9, 27, 60, 60 … seconds."""

EVIDENCE_S: Final = 5.0
"""How long a successful probe is valid, and the minimum time between two probes."""


@dataclass(slots=True, kw_only=True)
class Circuit:
    """A circuit breaker: closed, open (only single requests are sent), or permanently broken.

    Attributes:
        probes_max: single requests that may fail in an open circuit; 0: it never opens.
        in_a_row: failed attempts since the last success.
        probes: failed single requests since the circuit opened.
        is_open: only single requests may be sent.
        is_broken: no request may be sent.
    """

    probes_max: int = 4
    in_a_row: int = 0
    probes: int = 0
    is_open: bool = False
    is_broken: bool = False

    def succeeded(self) -> None:
        """Record a success, and close the circuit."""
        self.in_a_row = self.probes = 0
        self.is_open = False

    def failed(self, *, is_recent: bool) -> float | None:
        """Record a failed attempt.

        Args:
            is_recent: in an open circuit: the attempt was sent after the circuit opened.

        Returns:
            Seconds to wait before the next single request; ``None`` if nothing changes.
        """
        self.in_a_row += 1
        if self.is_open:
            if not is_recent:
                return None
            self.probes += 1
            if self.probes >= self.probes_max:
                self.is_broken = True
                return None
        elif self.in_a_row < FAILURES_IN_A_ROW or not self.probes_max:
            return None
        self.is_open = True
        return min(PROBE_S_MAX, PROBE_S_FIRST * PROBE_FACTOR**self.probes)
