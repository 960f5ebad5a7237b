"""Decide from PTS's refusals whether a new proof or a new token may help. Pure.

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
_TOKEN: Final = 2
"""The refusal after which the token is replaced; before it the proof was."""


class Step(Enum):
    """What to try after a refusal."""

    SAME_TOKEN = auto()
    NEW_TOKEN = auto()
    DENIED = auto()


class TokenEvidence(msgspec.Struct):
    """Counts consecutive refusals over all requests.

    Concurrent requests are refused for the same reason, so a refusal counts only if its proof was
    made after the previous refusal was known. Any accepted request resets the count: the token is
    valid, and the refusals concern proofs, perhaps at one replica only. A token is replaced once,
    until PTS accepts one again: another would be refused as well.
    """

    refusals: int = 0
    _made: int = 0
    _made_at_refusal: int = 0
    _may_replace: bool = True
    _replaced_s: float = -math.inf

    def next_serial(self) -> int:
        """The serial number of a new authorization."""
        self._made += 1
        return self._made

    def accepted(self) -> None:
        """Record that PTS accepted the current token."""
        self.refusals = 0
        self._may_replace = True

    def refused(self, serial: int, now_s: float, *, is_token_suspect: bool) -> Step:
        """Record that PTS refused the current token or its proof, and decide the next step."""
        if serial > self._made_at_refusal:
            self.refusals += 1
            self._made_at_refusal = self._made
            if self.refusals == _TOKEN and is_token_suspect and self._is_replaceable(now_s):
                self._may_replace, self._replaced_s = False, now_s
                return Step.NEW_TOKEN
        return Step.SAME_TOKEN if self.refusals <= _TOKEN else Step.DENIED

    def _is_replaceable(self, now_s: float) -> bool:
        return self._may_replace and now_s - self._replaced_s >= REPLACEMENT_INTERVAL_S
