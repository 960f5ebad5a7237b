"""Selects known-good person-areas for probes, from those that this run has read.

A run probes them before it concludes that PTS is unavailable, denies this client, or has changed
its format. ADR 0021.
"""

import itertools
import math
from collections import deque
from typing import Final

import msgspec

from worker.core.circuit import EVIDENCE_S
from worker.core.model import Person

WITNESSES_MAX: Final = 3
"""Known-good person-areas that must fail before a conclusion: one or two may fail by chance."""


class KnownGood(msgspec.Struct):
    """The latest persons read in each area, and the results of probes.

    Keeps up to three persons with records and three without per area, because a changed format
    shows only in records. Identifiers stay in memory.
    """

    _last: dict[tuple[str, bool], deque[Person]] = msgspec.field(default_factory=dict)
    _latest: tuple[str, bool] | None = None
    _proved_until_s: dict[str, float] = msgspec.field(default_factory=dict)

    def __bool__(self) -> bool:
        return self._latest is not None

    def remember(self, person: Person, area: str, *, has_records: bool) -> None:
        """Add an area that was read to its last page."""
        self._latest = (area, has_records)
        last = self._last.get(self._latest)
        if last is None:
            last = self._last[self._latest] = deque(maxlen=WITNESSES_MAX)
        if person not in last:
            last.appendleft(person)

    def failed(self, person: Person, area: str) -> None:
        """Move a witness that failed behind the others."""
        for (name, _), last in self._last.items():
            if name == area and last[0] == person:
                last.rotate(-1)

    def latest(self) -> list[tuple[Person, str]]:
        """The latest person-area, or another one if it has failed since."""
        return [(self._last[self._latest][0], self._latest[0])] if self._latest else []

    def witnesses(self, area: str) -> list[tuple[Person, str]]:
        """The person-areas to probe when an area fails: in that area if possible, else in others.

        Persons with records come first, and the latest before older ones.
        """
        kinds = sorted(self._last, key=lambda key: (key[0] != area, not key[1]))
        chosen = [key for key in kinds if key[0] == area] or kinds
        ranks = itertools.zip_longest(*(self._last[key] for key in chosen))
        named = [
            (person, key[0])
            for persons in ranks
            for key, person in zip(chosen, persons, strict=True)
            if person is not None
        ]
        return named[:WITNESSES_MAX]

    def proved(self, area: str, now_s: float) -> None:
        """Record a successful probe for an area."""
        self._proved_until_s[area] = now_s + EVIDENCE_S

    def is_proved(self, area: str, now_s: float) -> bool:
        """Whether a probe for the area succeeded within ``EVIDENCE_S``."""
        return now_s < self._proved_until_s.get(area, -math.inf)
