"""Decide from refusals by PTS and HelseID whether to retry, replace the token or give up. Pure.

An API built like NHN's sample answers every invalid DPoP proof with ``Bearer
error="invalid_token"`` (PTS reference, section 13), so a refusal does not show whether the token or
the proof is invalid. Retrying the same token with a new proof does.
"""

import math
from enum import Enum, auto
from typing import Final

import msgspec

REPLACEMENT_INTERVAL_S: Final = 30.0
"""Minimum time between two token replacements."""

_WAITS_S: Final = (0.0, 0.0, 0.25, 0.5, 1.0)
"""Delay before the next proof, by number of consecutive refusals; one more denies the client.

A service that restarts or adjusts its clock refuses all requests for a moment. The total of almost
two seconds outlasts that and costs few requests when the client is denied for good.
"""


_REFUSED_S_MIN: Final = 10.0
"""How long HelseID must refuse a client that it has given a token before."""


def wait_after_refusal_s(refusals: int, *, attempts_max: int, jitter: float) -> float | None:
    """Seconds before the next token request of a client that HelseID has given a token before.

    One odd answer, of one replica or a gateway, must not end a night. So a refusal counts when it
    has been repeated at growing intervals, which come to 10 to 20 s.

    Args:
        refusals: refusals in a row, at least 1.
        attempts_max: the refusals that count as final; 2 if fewer.
        jitter: a random number in [0, 1).

    Returns:
        None if the refusal is final.
    """
    attempts = max(attempts_max, 2)
    if refusals >= attempts:
        return None
    share = 2.0 ** (refusals - 1) / (2.0 ** (attempts - 1) - 1.0)
    return _REFUSED_S_MIN * share * (1.0 + jitter)


class Step(Enum):
    """What to try after a refusal."""

    SAME_TOKEN = auto()
    NEW_TOKEN = auto()
    DENIED = auto()


class TokenEvidence(msgspec.Struct):
    """Counts consecutive refusals over all requests.

    Concurrent requests are refused for the same reason, so a refusal counts only if its proof was
    made after the previous refusal was known. Any accepted request resets the count: the token is
    valid, and the refusals concern proofs, perhaps at one replica only.
    """

    refusals: int = 0
    _made: int = 0
    _made_at_refusal: int = 0
    _resume_s: float = -math.inf
    _replaced_s: float = -math.inf

    def next_serial(self) -> int:
        """The serial number of a new authorization."""
        self._made += 1
        return self._made

    def wait_s(self, now_s: float) -> float:
        """Seconds to wait before the next proof, to let the service recover."""
        return max(0.0, self._resume_s - now_s)

    def accepted(self) -> None:
        """Record that PTS accepted the current token."""
        self.refusals = 0
        self._resume_s = -math.inf

    def refused(self, serial: int, now_s: float, *, is_token_suspect: bool) -> Step:
        """Record that PTS refused the current token or its proof, and decide the next step."""
        if serial > self._made_at_refusal:
            self.refusals += 1
            self._made_at_refusal = self._made
            if self._may_replace(now_s) and is_token_suspect:
                self._replaced_s = now_s
                return Step.NEW_TOKEN
            if self.refusals <= len(_WAITS_S):
                self._resume_s = now_s + _WAITS_S[self.refusals - 1]
        return Step.SAME_TOKEN if self.refusals <= len(_WAITS_S) else Step.DENIED

    def _may_replace(self, now_s: float) -> bool:
        return self.refusals > 1 and now_s - self._replaced_s >= REPLACEMENT_INTERVAL_S
