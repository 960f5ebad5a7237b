"""Which person-areas can speak for PTS: those that it answered well in this run.

Pure: told of each area that was read, it says whom to ask again before a run concludes that PTS is
unavailable, denies this client, or is not understood.
"""

import math
from typing import Final

import msgspec

from worker.core.model import Person
from worker.core.pacing import EVIDENCE_S

WITNESSES_MAX: Final = 2
"""Known-good person-areas that must fail before a conclusion: one may have gone bad by itself."""


class KnownGood(msgspec.Struct):
    """The last persons of each area who were read, and what reading them again has proved.

    Two of each area at most: one with records and one without, as a shape that has changed shows in
    records alone. Identifiers stay in memory.
    """

    _last: dict[tuple[str, bool], Person] = msgspec.field(default_factory=dict)
    _latest: tuple[str, bool] | None = None
    _proved_until_s: dict[str, float] = msgspec.field(default_factory=dict)

    def __bool__(self) -> bool:
        return self._latest is not None

    def remember(self, person: Person, area: str, *, has_records: bool) -> None:
        """An area was read to its last page."""
        self._latest = (area, has_records)
        self._last[self._latest] = person

    def latest(self) -> list[tuple[Person, str]]:
        """The person-area that was read last, if any."""
        return [(self._last[self._latest], self._latest[0])] if self._latest else []

    def witnesses(self, area: str) -> list[tuple[Person, str]]:
        """Whom to ask again when an area fails: in that area, if it was ever read, else in others.

        Those with records come first.
        """
        found = sorted(self._last, key=lambda key: (key[0] != area, not key[1]))
        same = [key for key in found if key[0] == area]
        return [(self._last[key], key[0]) for key in (same or found)[:WITNESSES_MAX]]

    def proved(self, area: str, now_s: float) -> None:
        """A witness against the failures of an area was read again."""
        self._proved_until_s[area] = now_s + EVIDENCE_S

    def is_proved(self, area: str, now_s: float) -> bool:
        """Whether that was a moment ago: nobody need be asked again."""
        return now_s < self._proved_until_s.get(area, -math.inf)
