"""Which person-areas can speak for PTS: those that it answered well in this run.

Pure: told of each area that was read, it says whom to ask again before a run concludes that PTS is
unavailable, denies this client, or is not understood.
"""

import itertools
import math
from collections import deque
from typing import Final

import msgspec

from worker.core.circuit import EVIDENCE_S
from worker.core.model import Person

WITNESSES_MAX: Final = 3
"""Known-good person-areas that must fail before a conclusion: one or two may have gone bad."""


class KnownGood(msgspec.Struct):
    """The last persons of each area who were read, and what reading them again has proved.

    Of each area three with records and three without at most, as a shape that has changed shows in
    records alone. Identifiers stay in memory.
    """

    _last: dict[tuple[str, bool], deque[Person]] = msgspec.field(default_factory=dict)
    _latest: tuple[str, bool] | None = None
    _proved_until_s: dict[str, float] = msgspec.field(default_factory=dict)

    def __bool__(self) -> bool:
        return self._latest is not None

    def remember(self, person: Person, area: str, *, has_records: bool) -> None:
        """An area was read to its last page."""
        self._latest = (area, has_records)
        last = self._last.get(self._latest)
        if last is None:
            last = self._last[self._latest] = deque(maxlen=WITNESSES_MAX)
        if person not in last:
            last.appendleft(person)

    def failed(self, person: Person, area: str) -> None:
        """A witness could not be read again: others are asked before it."""
        for (name, _), last in self._last.items():
            if name == area and last[0] == person:
                last.rotate(-1)

    def latest(self) -> list[tuple[Person, str]]:
        """The person-area that was read last, or another if that one has failed since."""
        return [(self._last[self._latest][0], self._latest[0])] if self._latest else []

    def witnesses(self, area: str) -> list[tuple[Person, str]]:
        """Whom to ask again when an area fails: in that area, if it was ever read, else in others.

        Those with records come first, and of both kinds the last one that was read.
        """
        found = sorted(self._last, key=lambda key: (key[0] != area, not key[1]))
        chosen = [key for key in found if key[0] == area] or found
        in_turn = itertools.zip_longest(*(self._last[key] for key in chosen))
        named = [
            (person, key[0])
            for persons in in_turn
            for key, person in zip(chosen, persons, strict=True)
            if person is not None
        ]
        return named[:WITNESSES_MAX]

    def proved(self, area: str, now_s: float) -> None:
        """A witness against the failures of an area was read again."""
        self._proved_until_s[area] = now_s + EVIDENCE_S

    def is_proved(self, area: str, now_s: float) -> bool:
        """Whether that was a moment ago: nobody need be asked again."""
        return now_s < self._proved_until_s.get(area, -math.inf)
