"""What publishing a run comes to: rows that come, change, go and move, and who departs."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tests.support.model.values import (
    CONTRADICTED,
    Content,
    Ending,
    Outcome,
    PersonArea,
    Reading,
    Row,
    Run,
    Version,
)


class Places:
    """Where each restriction is, among some rows."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._rows: dict[tuple[str, str], list[Row]] = defaultdict(list)
        for row in rows:
            self._rows[row[0], row[2]].append(row)

    def beside(self, row: Row) -> list[Row]:
        """The same restriction of other persons."""
        return [one for one in self._rows.get((row[0], row[2]), ()) if one[1] != row[1]]


@dataclass(frozen=True, kw_only=True)
class Publishing:
    """One run, about to be published.

    Attributes:
        held: what is published.
        known: persons whom readers are shown.
    """

    held: Mapping[Row, Version]
    known: Collection[str]
    run: Run
    ending: Ending

    def outcome(self) -> Outcome:
        """What it comes to."""
        run, ending = self.run, self.ending
        readings = {
            key: reading
            for key, reading in run.readings.items()
            if key[0] in ending.roster or not ending.may_depart
        }
        gone = set(self.known) - set(ending.roster) if ending.may_depart else set()
        departing = frozenset(gone)
        came, changed, went = self._differences(readings, departing)
        left = self._moved_from(came, readings, went)
        went |= left
        came = self._since(came, went)
        moved = _pairs(self._that_may_move(came), went)
        return Outcome(
            readings=readings,
            came=came,
            changed=changed,
            went=frozenset(went),
            moved_from=frozenset(person for _, person, _ in left),
            departing=departing,
            totals={
                **_persons(readings, departing),
                "persons_not_sent": ending.not_sent,
                "roster_faults": ending.roster_errors,
                "rows_opened": len(came) - moved,
                "rows_changed": len(changed),
                "rows_moved": moved,
                "rows_closed": len(went) - moved,
                "rows_unchanged": sum(
                    row not in came and row not in changed
                    for (person, area), reading in readings.items()
                    for row in ((area, person, key) for key in reading.rows or {})
                ),
                "requests": sum(requests for requests, _ in run.attempts.values()),
                "retries": sum(retries for _, retries in run.attempts.values()),
            },
            facts=self._facts(readings, came=came, went=went, departing=departing),
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

    def _moved_from(
        self,
        came: Collection[Row],
        readings: Mapping[PersonArea, Reading],
        went: Collection[Row],
    ) -> set[Row]:
        """Rows that came under another person, where the old one has no proof of its own.

        One of two reads that contradict each other still held them.
        """
        failed = {
            key
            for key, reading in readings.items()
            if not reading.is_complete and reading.failure != CONTRADICTED
        }
        likely = Places(self._taken_over(came))
        return {
            row
            for row in self._that_may_move(self.held)
            if row not in went and (row[1], row[0]) in failed and likely.beside(row)
        }

    def _taken_over(self, came: Collection[Row]) -> list[Row]:
        """Rows that came to one person alone, who got nothing that a second one held."""
        sources: dict[tuple[str, str], set[str]] = defaultdict(set)
        held, new = Places(self.held), Places(came)
        for row in came:
            sources[row[:2]] |= {old[1] for old in held.beside(row)}
        return [row for row in came if len(sources[row[:2]]) < 2 and not new.beside(row)]

    def _that_may_move(self, rows: Iterable[Row]) -> set[Row]:
        """Those of areas in which no restriction is held by three persons at once."""
        holders = Counter((area, key) for area, _, key in self.held)
        shared = {area for (area, _), count in holders.items() if count > 2}
        return {row for row in rows if row[0] not in shared}

    def _since(self, came: Mapping[Row, Content], went: Iterable[Row]) -> dict[Row, Content]:
        """A moved restriction keeps the time when it was first seen."""
        gone = Places(self._that_may_move(went))
        since = {}
        for row, content in came.items():
            times = [self.held[old].content.first_seen_at for old in gone.beside(row)]
            since[row] = replace(content, first_seen_at=min([content.first_seen_at, *times]))
        return since

    def _facts(
        self,
        readings: Mapping[PersonArea, Reading],
        *,
        came: Collection[Row],
        went: Collection[Row],
        departing: Collection[str],
    ) -> Mapping[str, Any]:
        """What the guard judges: removed is gone for good, neither changed nor moved."""
        run = self.run
        taken, held = Places(self._taken_over(came)), Places(self.held)
        may_move = self._that_may_move(went)
        removed = {row for row in went if row not in may_move or not taken.beside(row)}
        base = run.base
        if run.kind == "backfill":
            open_rows = {row for row in self.held if (row[1], row[0]) in readings}
            base = (len(open_rows), len({person for _, person, _ in open_rows}), run.base[2])
        took = {row[:2] for row in came if held.beside(row)}
        unread = {key for key, reading in readings.items() if not reading.is_complete}
        doubtful = {
            row for row in set(went) - removed if row[:2] in took or (row[1], row[0]) in unread
        }
        return {
            "open_before": base[0],
            "holders_before": base[1],
            "persons_before": base[2],
            "removed": len(removed),
            "persons_affected": len({person for _, person, _ in removed}),
            "doubtful_moves": len(doubtful),
            "persons_moved_in_doubt": len({person for _, person, _ in doubtful}),
            "departing": len(departing),
            "areas_attempted": len(readings) + self.ending.roster_errors * len(run.areas),
            "areas_complete": sum(reading.is_complete for reading in readings.values()),
            "is_subset": run.kind == "backfill",
            "areas": {
                area: (
                    sum(row[0] == area for row in self.held),
                    sum(row[0] == area for row in removed),
                    len({row[1] for row in removed if row[0] == area}),
                )
                for area in {area for area, _, _ in removed}
            },
        }


def _pairs(came: Iterable[Row], went: Iterable[Row]) -> int:
    """How many rows of a restriction went while as many came under other persons."""
    arrivals = Counter(row[::2] for row in came)
    return (arrivals & Counter(row[::2] for row in went)).total()


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
