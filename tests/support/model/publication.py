"""What publishing a run comes to: rows that come, change and go, and who departs."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from tests.support.model.values import (
    AREAS,
    Content,
    Ending,
    Outcome,
    PersonArea,
    Reading,
    Row,
    Run,
    Version,
)


@dataclass(frozen=True, kw_only=True)
class Publishing:
    """One run, about to be published.

    Attributes:
        held: what is published.
        known: persons whom readers are shown.
        missed: those whom the last full roster did not name.
        syncs: that were published before.
    """

    held: Mapping[Row, Version]
    known: Collection[str]
    missed: Collection[str]
    syncs: Collection[Run]
    run: Run
    ending: Ending

    def outcome(self) -> Outcome:
        """What it comes to."""
        run, ending = self.run, self.ending
        readings = {
            key: reading
            for key, reading in run.readings.items()
            if key[0] in ending.roster or not ending.is_full_roster
        }
        gone = set(self.known) - set(ending.roster) if ending.is_full_roster else set()
        departing = frozenset(gone & set(self.missed))
        missing = frozenset(gone) - departing
        named = {person for person, _ in readings}
        if run.kind == "sync" and ending.is_full_roster:
            named |= set(ending.roster)
        absent = (set(self.missed) - named - departing) | missing
        unnamed = set(self.known) - set(ending.roster) - set(self.missed)
        unnamed = unnamed if run.kind == "sync" else set()
        came, changed, went = self._differences(readings, departing)
        return Outcome(
            roster=ending.roster if ending.is_full_roster else None,
            readings=readings,
            came=came,
            changed=changed,
            went=frozenset(went),
            departing=departing,
            missing=missing,
            totals={
                **_persons(readings, departing),
                "persons_missing": len(absent),
                "persons_not_sent": ending.not_sent,
                "roster_faults": ending.roster_errors,
                "rows_opened": len(came),
                "rows_changed": len(changed),
                "rows_closed": len(went),
                "rows_unchanged": sum(
                    row not in came and row not in changed
                    for (person, area), reading in readings.items()
                    for row in ((area, person, key) for key in reading.rows or {})
                ),
                "requests": run.requests,
                "retries": run.retries,
            },
            facts=self._facts(readings, went=went, departing=departing, missing=unnamed),
        )

    def _differences(
        self, readings: Mapping[PersonArea, Reading], departing: Collection[str]
    ) -> tuple[dict[Row, Content], dict[Row, Content], set[Row]]:
        """What the readings themselves and the departures bring, change and take."""
        came, changed = {}, {}
        went = {row for row in self.held if row[1] in departing}
        held = defaultdict(set)
        for row in self.held:
            held[row[:2]].add(row)
        for (person, area), reading in readings.items():
            if reading.rows is None:
                continue
            for key, content in reading.rows.items():
                row = (area, person, key)
                if row not in self.held:
                    came[row] = content
                elif self.held[row].content.said != content.said:
                    changed[row] = content
            went |= {row for row in held[area, person] if row[2] not in reading.rows}
        return came, changed, went

    def _facts(
        self,
        readings: Mapping[PersonArea, Reading],
        *,
        went: Collection[Row],
        departing: Collection[str],
        missing: Collection[str],
    ) -> Mapping[str, Any]:
        """What the guard judges: what goes is gone for good, not changed.

        Restrictions of persons who depart were judged when the roster first did not name them.
        """
        run = self.run
        went = {row for row in went if row[1] not in departing}
        unnamed = {row for row in self.held if row[1] in missing}
        went |= unnamed
        is_subset = run.kind == "backfill"
        open_rows = {row for row in self.held if not is_subset or (row[1], row[0]) in readings}
        return {
            "open_before": len(open_rows),
            "holders_before": len({person for _, person, _ in open_rows}),
            "persons_before": len(self.known),
            "removed": len(went),
            "removed_with_missing": len(unnamed),
            "persons_affected": len({person for _, person, _ in went}),
            "lost": 0,
            "persons_losing": 0,
            "departing": len(departing),
            "missing": len(missing),
            "roster_faults": self.ending.roster_errors,
            "is_subset": is_subset,
            "areas": {area: self._area_facts(readings, area, went, unnamed) for area in AREAS},
        }

    def _area_facts(
        self,
        readings: Mapping[PersonArea, Reading],
        area: str,
        went: Collection[Row],
        unnamed: Collection[Row],
    ) -> Mapping[str, int]:
        gone = {row for row in went if row[0] == area}
        asked = [reading for (_, one), reading in readings.items() if one == area]
        has_one = {person for one, person, _ in self.held if one == area}
        holders = [readings[person, area] for person in has_one if (person, area) in readings]
        return {
            "open_before": sum(row[0] == area for row in self.held) if gone else 0,
            "removed": len(gone),
            "removed_with_missing": sum(row[0] == area for row in unnamed),
            "persons_affected": len({person for _, person, _ in gone}),
            "lost": 0,
            "persons_losing": 0,
            "attempted": len(asked) + self.ending.roster_errors * (area in self.run.areas),
            "complete": sum(reading.is_complete for reading in asked),
            "holders": len(holders),
            "holders_complete": sum(reading.is_complete for reading in holders),
            "records": sum(len(reading.rows or {}) for reading in asked),
            "is_first": not any(area in one.areas for one in self.syncs),
        }


def _persons(readings: Mapping[PersonArea, Reading], departing: Collection[str]) -> dict[str, int]:
    areas: dict[str, list[bool]] = defaultdict(list)
    for (person, _), reading in readings.items():
        areas[person].append(reading.is_complete)
    complete = sum(map(all, areas.values()))
    areas_complete = sum(map(sum, areas.values()))
    return {
        "persons_total": len(areas) + len(departing),
        "persons_complete": complete,
        "persons_stale": len(areas) - complete,
        "persons_departed": len(departing),
        "areas_complete": areas_complete,
        "areas_failed": len(readings) - areas_complete,
        "rows_read": sum(len(reading.rows or {}) for reading in readings.values()),
    }
