"""Counters of requests, without personal values."""

from collections import Counter
from typing import Any, Final

from worker.sandbox.windows import ReplayWindow

_NAMES_MAX: Final = 500
_REPEATS_WINDOW_S: Final = 3600.0


class Ledger:
    """Counts requests, in bounded memory."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._assertion_ids = ReplayWindow(_REPEATS_WINDOW_S)
        self._proof_ids = ReplayWindow(_REPEATS_WINDOW_S)

    def end(self, where: str, status: int, *, fault: str = "") -> None:
        """Record the end of a request."""
        self.count(f"{where} {status}")
        self.count(f"requests {where}")
        if fault:
            self.count(f"fault {fault}")

    def count(self, name: str) -> None:
        """Increment a counter."""
        if name in self.counts or len(self.counts) < _NAMES_MAX:
            self.counts[name] += 1

    def refuse(self, where: str, reason: str) -> None:
        """Count a refusal by its reason."""
        self.count(f"refused {where}: {reason}")

    def use_assertion(self, jti: str) -> None:
        """Count an assertion that was used before."""
        if self._assertion_ids.seen(jti):
            self.count("assertion ids repeated")

    def use_proof(self, jti: str) -> None:
        """Count a DPoP proof that was used before, at whichever endpoint."""
        if self._proof_ids.seen(jti):
            self.count("proof ids repeated")

    def stats(self) -> dict[str, Any]:
        """All counters as a JSON document."""
        return {
            "searches": self.counts["searches"],
            "token_calls": self.counts["requests token"],
            "tokens_issued": self.counts["tokens issued"],
            "discovery_calls": self.counts["requests discovery"],
            "assertion_ids_repeated": self.counts["assertion ids repeated"],
            "proof_ids_repeated": self.counts["proof ids repeated"],
            "counts": dict(sorted(self.counts.items())),
        }

    def clear(self) -> None:
        """Reset all counters."""
        self.__init__()  # type: ignore[misc]
