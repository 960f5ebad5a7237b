"""What PTS's refusals say about the token in use, and what to try next. Pure.

An API built like NHN's sample answers every fault of a DPoP proof with ``Bearer
error="invalid_token"`` (PTS reference, section 13), so a refusal does not say whether the token or
the proof is bad. What does: whether the same token passes with a fresh proof.
"""

import math
from enum import Enum, auto
from typing import Final

import msgspec

REPLACEMENT_INTERVAL_S: Final = 30.0
"""A refused token is replaced at most so often, however many requests are refused."""

_WAITS_S: Final = (0.0, 0.0, 0.25, 0.5, 1.0)
"""The wait before the next proof after each refusal in a row; one more, and the client is denied.

A service that restarts or corrects its clock refuses everybody for a moment. Nearly two seconds
outlast that, and cost few requests where the client is denied for good.
"""


class Step(Enum):
    """What to try after a refusal."""

    SAME_TOKEN = auto()
    NEW_TOKEN = auto()
    DENIED = auto()


class TokenEvidence(msgspec.Struct):
    """Refusals in a row, over all requests.

    Many requests are under way at once and are refused for one reason, so a refusal counts only if
    its proof was made when the refusal before was known. Any acceptance ends the row: the token is
    good, and what was refused is the proof, by one replica perhaps.
    """

    refusals: int = 0
    _made: int = 0
    _made_at_refusal: int = 0
    _resume_s: float = -math.inf
    _replaced_s: float = -math.inf

    def next_serial(self) -> int:
        """The number of the authorization that is made now."""
        self._made += 1
        return self._made

    def wait_s(self, now_s: float) -> float:
        """How long not to make another proof, so that what refuses has time to recover."""
        return max(0.0, self._resume_s - now_s)

    def accepted(self) -> None:
        """PTS accepted the token in use."""
        self.refusals = 0
        self._resume_s = -math.inf

    def refused(self, serial: int, now_s: float, *, is_token_suspect: bool) -> Step:
        """PTS refused the token in use, or the proof that came with it.

        Args:
            serial: of the authorization that was refused.
            now_s: monotonic.
            is_token_suspect: whether the refusal may be about the token.
        """
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
