"""Counters and a log of the latest requests, without personal values."""

import time
from collections import Counter, deque
from collections.abc import Mapping
from typing import Any, Final

from worker.sandbox.windows import RepeatDetector

LOG_LENGTH: Final = 1_000
_NAMES_MAX: Final = 500


class Ledger:
    """Counts requests and keeps the latest ``LOG_LENGTH``, in bounded memory."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.assertion_ids = RepeatDetector()
        self.proof_ids = RepeatDetector()
        self.in_flight = 0
        self.in_flight_max = 0
        self._log: deque[tuple[float, str, str, int, str]] = deque(maxlen=LOG_LENGTH)
        self._second = 0
        self._in_second = 0
        self._per_second_max = 0

    def begin(self) -> None:
        """Record the start of a request."""
        self.in_flight += 1
        self.in_flight_max = max(self.in_flight_max, self.in_flight)

    def end(self, where: str, method: str, status: int, *, fault: str = "") -> None:
        """Record the end of a request."""
        self.in_flight -= 1
        self.count(f"{where} {status}")
        self.count(f"requests {where}")
        if fault:
            self.count(f"fault {fault}")
        self._log.append((time.time(), where, method, status, fault))

    def count(self, name: str) -> None:
        """Increment a counter."""
        if name in self.counts or len(self.counts) < _NAMES_MAX:
            self.counts[name] += 1

    def refuse(self, where: str, reason: str) -> None:
        """Count a refusal by its reason."""
        self.count(f"refused {where}: {reason}")

    def search(self) -> None:
        """Count a search for the peak rate."""
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._in_second = second, 0
        self._in_second += 1
        self._per_second_max = max(self._per_second_max, self._in_second)

    def stats(self) -> dict[str, Any]:
        """All counters as a JSON document."""
        counts: Mapping[str, int] = self.counts
        return {
            "searches": counts.get("searches", 0),
            "searches_per_second_max": self._per_second_max,
            "requests_in_flight_max": self.in_flight_max,
            "token_calls": counts.get("requests token", 0),
            "tokens_issued": counts.get("tokens issued", 0),
            "tokens_issued_while_valid": counts.get("tokens issued while valid", 0),
            "discovery_calls": counts.get("requests discovery", 0),
            "jwks_calls": counts.get("requests jwks", 0),
            "assertion_ids_repeated": self.assertion_ids.repeats,
            "proof_ids_repeated": self.proof_ids.repeats,
            "counts": dict(sorted(counts.items())),
        }

    def requests(self) -> list[dict[str, Any]]:
        """The latest requests, oldest first."""
        return [
            {"at": at, "where": where, "method": method, "status": status, "fault": fault}
            for at, where, method, status, fault in list(self._log)
        ]

    def clear(self) -> None:
        """Reset all counters and the log."""
        in_flight = self.in_flight
        self.__init__()  # type: ignore[misc]
        self.in_flight = in_flight
