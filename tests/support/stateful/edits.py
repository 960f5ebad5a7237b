"""How the world changes between two readings, as strategies and as deeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from tests.support.model.values import AREAS, PRIVACY, SAFETY
from tests.support.stateful.source import PERSONS, TROUBLES, Place, Source

CONTENTS: Mapping[str, Sequence[dict[str, Any]]] = {
    SAFETY: (
        {"confidentialityCode": "NORU"},
        {"confidentialityCode": "NORS", "delayDays": 14},
        {"confidentialityCode": "N", "delayDeliveryUntil": "2026-05-17T12:30:00+02:00"},
        {"confidentialityCode": "NORU", "delayDeliveryUntil": "9999-12-31T23:59:59Z"},
    ),
    PRIVACY: (
        {"privacyType": "Block", "privacyLevel": "All"},
        {"privacyType": "Block", "privacyLevel": "Æ", "restrictionDomain": "x"},
        {"privacyType": "Hide"},
    ),
}


persons = st.sampled_from(PERSONS)
areas = st.sampled_from(AREAS)
picks = st.integers(0, 30)
letters = st.sampled_from("ab")
refs = st.sampled_from(["R1", "R2", None])
edits = st.lists(
    st.one_of(
        st.tuples(st.just("put"), persons, areas, letters, picks),
        st.tuples(st.just("put"), persons, areas, letters, picks),
        st.tuples(st.just("change"), picks, picks),
        st.tuples(st.just("remove"), picks),
        st.tuples(st.just("bring_back"), picks, picks),
        st.tuples(st.just("renumber"), picks, persons),
        st.tuples(st.just("share"), picks, persons),
        st.tuples(st.just("join"), persons, refs),
        st.tuples(st.just("leave"), persons),
        st.tuples(st.just("trouble"), persons, areas, st.sampled_from(sorted(TROUBLES))),
        st.tuples(st.just("heal")),
    ),
    min_size=1,
    max_size=4,
)


@dataclass(kw_only=True)
class EditedWorld:
    """PTS and the roster, and what may happen to them.

    Attributes:
        gone: what was removed, and may return.
    """

    source: Source
    roster: dict[str, str | None]
    gone: list[tuple[Place, str, Any]] = field(default_factory=list)

    def carry_out(self, changes: Sequence[tuple[Any, ...]]) -> None:
        """Each change is a method's name and its arguments."""
        for name, *values in changes:
            getattr(self, name)(*values)

    def put(self, person: str, area: str, letter: str, pick: int) -> None:
        name = f"{person[1]}{letter}"
        self._hold((person, area), name, CONTENTS[area][pick % len(CONTENTS[area])])

    def _hold(self, place: Place, name: str, content: Any) -> None:
        self.source.records.setdefault(place, {})[name] = content

    def _existing(self, pick: int) -> tuple[Place, str] | None:
        found = [(place, name) for place, held in self.source.records.items() for name in held]
        return found[pick % len(found)] if found else None

    def change(self, pick: int, content: int) -> None:
        found = self._existing(pick)
        if found is not None:
            (_, area), _ = found
            self._hold(*found, CONTENTS[area][content % len(CONTENTS[area])])

    def remove(self, pick: int) -> None:
        found = self._existing(pick)
        if found is not None:
            place, name = found
            self.gone.append((place, name, self.source.records[place].pop(name)))

    def bring_back(self, pick: int, content: int) -> None:
        if self.gone:
            place, name, old = self.gone.pop(pick % len(self.gone))
            known = CONTENTS[place[1]]
            self._hold(place, name, old if content % 2 else known[content % len(known)])

    def renumber(self, pick: int, person: str) -> None:
        """PTS gives the restriction under another identifier from now on."""
        found = self._existing(pick)
        if found is not None:
            (old, area), name = found
            self._hold((person, area), name, self.source.records[old, area][name])
            if person != old:
                del self.source.records[old, area][name]

    def share(self, pick: int, person: str) -> None:
        """PTS gives the restriction under both identifiers for a while."""
        found = self._existing(pick)
        if found is not None:
            (old, area), name = found
            self._hold((person, area), name, self.source.records[old, area][name])

    def join(self, person: str, ref: str | None) -> None:
        self.roster[person] = ref

    def leave(self, person: str) -> None:
        if len(self.roster) > 1:
            self.roster.pop(person, None)

    def trouble(self, person: str, area: str, kind: str) -> None:
        self.source.troubles[person, area] = kind

    def heal(self) -> None:
        self.source.troubles.clear()
