"""What the reporting views must show: plain dicts, from docs/reference and the contract alone.

A run is kept as what its turns have read. Nothing of it counts until it is published, and a
publication is worked out from the state before and those readings.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

Row = tuple[str, str, str]
"""An area, a person's key and a restriction's key."""
Slot = tuple[str, str]
"""A person's key and an area."""
NORWAY = ZoneInfo("Europe/Oslo")
"""Whose days the changes of a publication are counted by."""


def canonical(document: Any) -> str:
    """One text for one document."""
    return json.dumps(document, sort_keys=True, ensure_ascii=False)


@dataclass(frozen=True, kw_only=True)
class Content:
    """A restriction as it was read: what it said and since when the worker knows it."""

    payload: str
    first_seen_at: datetime
    observed_at: datetime


@dataclass(frozen=True, kw_only=True)
class Version:
    """A restriction's content for as long as it was published."""

    row: Row
    content: Content
    opened_run: int
    local_ref: str | None
    closed_run: int | None = None


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What the last reading of a person's area in a run came to; no rows if it failed."""

    attempt: int
    read_at: datetime
    rows: Mapping[str, Content] | None = None
    pages: int = 0

    @property
    def is_whole(self) -> bool:
        return self.rows is not None


@dataclass(frozen=True, kw_only=True)
class Proof:
    """What readers are told of a person's area."""

    is_stale: bool
    confirmed_at: datetime | None = None
    record_count: int | None = None
    pages: int | None = None


@dataclass(kw_only=True)
class Failure:
    """An area that cannot be read at present."""

    kind: str
    since: datetime
    runs: int
    last_run: int


@dataclass(kw_only=True)
class Run:
    """A line of the ledger, and all that the run has read while it is open.

    Attributes:
        attempts: turns at it, with the requests and retries that were noted of each.
        progressed_at: when an area that was read to its end was last written.
        base: open restrictions, their holders and known persons when it began.
    """

    run_id: int
    kind: str
    areas: tuple[str, ...]
    started_at: datetime
    base: tuple[int, int, int] = (0, 0, 0)
    status: str = "running"
    exit_code: int | None = None
    number: int | None = None
    published_at: datetime | None = None
    totals: Mapping[str, int] = field(default_factory=dict)
    readings: dict[Slot, Reading] = field(default_factory=dict)
    refs: dict[str, str | None] = field(default_factory=dict)
    attempts: dict[int, tuple[int, int]] = field(default_factory=dict)
    progressed_at: datetime | None = None

    @property
    def is_open(self) -> bool:
        return self.status in {"running", "interrupted"}

    @property
    def counts(self) -> bool:
        """Whether it is published, or may be yet."""
        return self.is_open or self.status == "published"

    def forget(self, persons: Collection[str]) -> None:
        """Another run has taken back what this one read of them."""
        for slot in [slot for slot in self.readings if slot[0] in persons]:
            del self.readings[slot]
        for person in persons:
            self.refs.pop(person, None)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a publication would do, and the totals that it deserves."""

    readings: Mapping[Slot, Reading]
    came: Mapping[Row, Content]
    changed: Mapping[Row, Content]
    went: frozenset[Row]
    moved_from: frozenset[str]
    departing: frozenset[str]
    totals: Mapping[str, int]
    facts: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """What readers saw after a publication."""

    run_id: int
    published_at: datetime
    rows: Mapping[Row, str]


@dataclass(kw_only=True)
class Model:
    """Everything that was published, and the runs that are open."""

    held: dict[Row, Version] = field(default_factory=dict)
    ended: list[Version] = field(default_factory=list)
    proofs: dict[Slot, Proof] = field(default_factory=dict)
    refs: dict[str, str | None] = field(default_factory=dict)
    departed: set[str] = field(default_factory=set)
    failures: dict[Slot, Failure] = field(default_factory=dict)
    drift: dict[tuple[str, str, str], int] = field(default_factory=dict)
    key_paths: dict[str, tuple[str, int]] = field(default_factory=dict)
    days: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    runs: dict[int, Run] = field(default_factory=dict)
    snapshots: list[Snapshot] = field(default_factory=list)
    unfinished: set[int] = field(default_factory=set)

    # Runs

    @property
    def last_run(self) -> Run:
        """The run that began last."""
        return self.runs[max(self.runs)]

    def open_runs(self) -> list[Run]:
        return [run for run in self.runs.values() if run.is_open]

    def begin(
        self, run_id: int, kind: str, areas: tuple[str, ...], at: datetime, attempt: int
    ) -> None:
        """A run stands in the ledger."""
        holders = {person for _, person, _ in self.held}
        base = (len(self.held), len(holders), len(self.known()))
        run = Run(run_id=run_id, kind=kind, areas=areas, started_at=at, base=base)
        run.attempts[attempt] = (0, 0)
        self.runs[run_id] = run

    def end(self, run: Run, status: str, *, is_undone: bool = True) -> None:
        """Withheld or abandoned: it leaves no trace, once it is undone to the last step."""
        run.status, run.exit_code = status, None
        run.readings.clear()
        run.refs.clear()
        self.unfinished.add(run.run_id)
        if is_undone:
            self.finish()

    def finish(self) -> None:
        """What was left over of runs that have ended is taken back, too."""
        for area, (_, by) in list(self.key_paths.items()):
            # Of two runs that end at once the first may still seem to be relied on by the second.
            if not self.runs[by].counts and not self._is_keyed(area):
                del self.key_paths[area]
        self.unfinished.clear()

    def _is_keyed(self, area: str) -> bool:
        """Whether anything that counts was read by the area's key path."""
        others = (run.readings for run in self.open_runs())
        rows = (r.rows for readings in others for (_, a), r in readings.items() if a == area)
        kept = [*self.held, *(version.row for version in self.ended)]
        return any(row[0] == area for row in kept) or any(rows)

    def known(self) -> set[str]:
        """Persons whom readers are told of."""
        return {person for person, _ in self.proofs} - self.departed

    # Reading

    def settled(self, run: Run, attempt: int, person: str) -> set[str]:
        """Areas that this turn at the run need not read any more."""
        return {
            area
            for (one, area), reading in run.readings.items()
            if one == person and (reading.is_whole or reading.attempt == attempt)
        }

    def read_whole(
        self,
        run: Run,
        attempt: int,
        slot: Slot,
        payloads: Mapping[str, str],
        *,
        at: datetime,
        pages: int,
    ) -> None:
        """A person's area was read to its last page, and written."""
        person, area = slot
        before = run.readings.get(slot)
        earlier = (before.rows if before else None) or {}
        rows = {}
        for key, payload in payloads.items():
            first = content = Content(payload=payload, first_seen_at=at, observed_at=at)
            if key in earlier:
                first = earlier[key]
                content = first if first.payload == payload else content
            published = self.held.get((area, person, key))
            if published is not None:
                first = published.content
                content = first if first.payload == payload else content
            rows[key] = replace(content, first_seen_at=first.first_seen_at)
        run.readings[slot] = Reading(attempt=attempt, read_at=at, rows=rows, pages=pages)
        self.failures.pop(slot, None)

    def could_not_read(self, run: Run, attempt: int, slot: Slot, kind: str, at: datetime) -> None:
        """A person's area could not be read, and that was written."""
        before = run.readings.get(slot)
        assert before is None or not before.is_whole, "a settled area was read again"
        run.readings[slot] = Reading(attempt=attempt, read_at=at)
        old = self.failures.get(slot)
        if old is None:
            self.failures[slot] = Failure(kind=kind, since=at, runs=1, last_run=run.run_id)
        else:
            old.runs += old.last_run != run.run_id
            old.kind, old.last_run = kind, run.run_id

    def take_back(self, persons: Collection[str], *, but: Run) -> None:
        """A run decides on persons: what other open runs wrote of them goes."""
        for run in self.open_runs():
            if run is not but:
                run.forget(persons)

    # Publication

    def outcome(
        self, run: Run, roster: Collection[str], *, may_depart: bool, roster_faults: int
    ) -> Outcome:
        """What publishing the run now comes to, after a turn with this roster."""
        readings = {
            slot: reading
            for slot, reading in run.readings.items()
            if slot[0] in roster or not may_depart
        }
        departing = frozenset(self.known() - set(roster)) if may_depart else frozenset()
        came, changed, went = self._differences(readings, departing)
        left = self._moved_from(came, run, readings, went)
        went |= left
        came = {row: self._since(row, content, went) for row, content in came.items()}
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
                "persons_not_sent": 0,
                "roster_faults": roster_faults,
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
            facts=self._facts(
                run,
                readings,
                came=came,
                went=went,
                departing=departing,
                roster_faults=roster_faults,
            ),
        )

    def _differences(
        self, readings: Mapping[Slot, Reading], departing: Collection[str]
    ) -> tuple[dict[Row, Content], dict[Row, Content], set[Row]]:
        """What the readings themselves and the departures bring, change and take."""
        came, changed = {}, {}
        went = {row for row in self.held if row[1] in departing}
        for (person, area), reading in readings.items():
            if reading.rows is None:
                continue
            for key, content in reading.rows.items():
                row = (area, person, key)
                if row not in self.held:
                    came[row] = content
                elif self.held[row].content.payload != content.payload:
                    changed[row] = content
            went |= {
                row for row in self.held if row[:2] == (area, person) and row[2] not in reading.rows
            }
        return came, changed, went

    def _moved_from(
        self,
        came: Collection[Row],
        run: Run,
        readings: Mapping[Slot, Reading],
        went: Collection[Row],
    ) -> set[Row]:
        """Rows that came under another person, where the old one has no proof of its own."""
        whole = {slot for slot, reading in readings.items() if reading.is_whole}
        whole |= {  # one of two reads that contradict each other still held them
            slot
            for slot, failure in self.failures.items()
            if failure.kind == "unstable" and failure.last_run == run.run_id
        }
        likely = self._taken_over(came)
        return {
            row
            for row in self._that_may_move(self.held)
            if row not in went
            and (row[1], row[0]) in readings.keys() - whole
            and _elsewhere(row, likely)
        }

    def _taken_over(self, came: Collection[Row]) -> list[Row]:
        """Rows that came to one person alone, who got nothing that a second one held."""
        sources: dict[tuple[str, str], set[str]] = defaultdict(set)
        for row in came:
            sources[row[:2]] |= {old[1] for old in _elsewhere(row, self.held)}
        return [row for row in came if len(sources[row[:2]]) < 2 and not _elsewhere(row, came)]

    def _that_may_move(self, rows: Iterable[Row]) -> set[Row]:
        """Those of areas where no key has parts, and none is held by three persons at once."""
        holders = Counter((area, key) for area, _, key in self.held)
        shared = {area for (area, _), count in holders.items() if count > 2}
        shared |= {area for area, (path, _) in self.key_paths.items() if "+" in path}
        return {row for row in rows if row[0] not in shared}

    def _since(self, row: Row, content: Content, went: Iterable[Row]) -> Content:
        """A moved restriction keeps the time when it was first seen."""
        gone = _elsewhere(row, self._that_may_move(went))
        times = [self.held[old].content.first_seen_at for old in gone]
        return replace(content, first_seen_at=min([content.first_seen_at, *times]))

    def _facts(
        self,
        run: Run,
        readings: Mapping[Slot, Reading],
        *,
        came: Collection[Row],
        went: Collection[Row],
        departing: Collection[str],
        roster_faults: int,
    ) -> Mapping[str, Any]:
        """What the guard must be told: removed is gone for good, neither changed nor moved."""
        taken = self._taken_over(came)
        may_move = self._that_may_move(went)
        removed = {row for row in went if row not in may_move or not _elsewhere(row, taken)}
        base = run.base
        if run.kind == "backfill":
            open_rows = {row for row in self.held if (row[1], row[0]) in readings}
            base = (len(open_rows), len({person for _, person, _ in open_rows}), run.base[2])
        areas = {area for area, _, _ in removed}
        took = {row[:2] for row in came if _elsewhere(row, self.held)}
        unread = {slot for slot, reading in readings.items() if not reading.is_whole}
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
            "areas_attempted": len(readings) + roster_faults * len(run.areas),
            "areas_complete": sum(reading.is_whole for reading in readings.values()),
            "is_subset": run.kind == "backfill",
            "areas": {
                area: (
                    sum(row[0] == area for row in self.held),
                    sum(row[0] == area for row in removed),
                    len({row[1] for row in removed if row[0] == area}),
                )
                for area in areas
            },
        }

    def publish(self, run: Run, outcome: Outcome, at: datetime) -> None:
        """Readers see the run from now on."""
        if self.snapshots:
            at = max(at, self.snapshots[-1].published_at + timedelta.resolution)
        run.status, run.published_at, run.number = "published", at, len(self.snapshots) + 1
        run.totals = outcome.totals
        has_gaps = any(outcome.totals[n] for n in ("persons_stale", "roster_faults"))
        run.exit_code = 3 if has_gaps else 0
        for row in outcome.went | outcome.changed.keys():
            self.ended.append(replace(self.held.pop(row), closed_run=run.run_id))
        for row, content in {**outcome.came, **outcome.changed}.items():
            self.held[row] = Version(
                row=row, content=content, opened_run=run.run_id, local_ref=run.refs[row[1]]
            )
        self._publish_proofs(run, outcome)
        for person, _ in outcome.readings:
            self.refs[person] = run.refs[person]
        day = f"{at.astimezone(NORWAY):%Y-%m-%d}"
        for place, rows in enumerate((outcome.came, outcome.changed, outcome.went)):
            for row in rows:
                self.days.setdefault((day, row[0]), [0, 0, 0])[place] += 1
        rows = {row: version.content.payload for row, version in self.held.items()}
        self.snapshots.append(Snapshot(run_id=run.run_id, published_at=at, rows=rows))
        run.readings.clear()
        self.take_back(outcome.moved_from, but=run)

    def _publish_proofs(self, run: Run, outcome: Outcome) -> None:
        """Stale is what the last publication that covered it did not read whole."""
        self.departed -= {person for person, _ in outcome.readings}
        self.departed |= outcome.departing
        for slot in outcome.readings:
            self.proofs.setdefault(slot, Proof(is_stale=True))
        for slot, proof in self.proofs.items():
            reading = outcome.readings.get(slot)
            if reading is not None and reading.rows is not None:
                self.proofs[slot] = Proof(
                    is_stale=False,
                    confirmed_at=reading.read_at,
                    record_count=len(reading.rows),
                    pages=reading.pages,
                )
            elif (
                reading is not None
                or slot[0] in outcome.departing
                or (run.kind == "sync" and slot[1] in run.areas)
            ):
                self.proofs[slot] = replace(proof, is_stale=True)


def _elsewhere(row: Row, rows: Iterable[Row]) -> list[Row]:
    """Those of the rows that are the same restriction of another person."""
    return [one for one in rows if one[::2] == row[::2] and one[1] != row[1]]


def _pairs(came: Iterable[Row], went: Iterable[Row]) -> int:
    """How many rows of a restriction went while as many came under other persons."""
    arrivals = Counter(row[::2] for row in came)
    return (arrivals & Counter(row[::2] for row in went)).total()


def _persons(readings: Mapping[Slot, Reading], departing: Collection[str]) -> dict[str, int]:
    areas: dict[str, list[bool]] = defaultdict(list)
    for (person, _), reading in readings.items():
        areas[person].append(reading.is_whole)
    whole = sum(map(all, areas.values()))
    complete = sum(map(sum, areas.values()))
    return {
        "persons_total": len(areas) + len(departing),
        "persons_complete": whole,
        "persons_stale": len(areas) - whole,
        "persons_departed": len(departing),
        "areas_complete": complete,
        "areas_failed": len(readings) - complete,
        "rows_read": sum(len(reading.rows or {}) for reading in readings.values()),
    }
