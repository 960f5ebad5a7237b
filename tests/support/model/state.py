"""Everything that was published, and the runs that are open: without a line of the worker."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from tests.support.model.publication import Publishing
from tests.support.model.values import (
    Content,
    Ending,
    Failure,
    Outcome,
    PersonArea,
    Proof,
    Reading,
    Row,
    Run,
    Version,
)

NORWAY = ZoneInfo("Europe/Oslo")
"""Whose days the changes of a publication are counted by."""


@dataclass(kw_only=True)
class Model:
    """What the store must hold.

    A run is kept as what its attempts have read. Nothing of it counts until it is published.
    """

    held: dict[Row, Version] = field(default_factory=dict)
    ended: list[Version] = field(default_factory=list)
    proofs: dict[PersonArea, Proof] = field(default_factory=dict)
    refs: dict[str, str | None] = field(default_factory=dict)
    departed: set[str] = field(default_factory=set)
    missed: set[str] = field(default_factory=set)
    failures: dict[PersonArea, Failure] = field(default_factory=dict)
    days: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    runs: dict[int, Run] = field(default_factory=dict)
    published: list[datetime] = field(default_factory=list)
    snapshots: list[Mapping[Row, Any]] = field(default_factory=list)

    # What readers are shown

    def known(self) -> set[str]:
        """Persons."""
        return {person for person, _ in self.proofs} - self.departed

    def shown(self) -> dict[PersonArea, Proof]:
        """Their areas."""
        return {key: proof for key, proof in self.proofs.items() if key[0] not in self.departed}

    def rows(self) -> dict[Row, Any]:
        """What each restriction says."""
        return {row: version.content.said for row, version in self.held.items()}

    def rows_of(self, person: str, area: str) -> dict[str, Any]:
        """What each restriction of a person's area says, by its key."""
        return {row[2]: said for row, said in self.rows().items() if row[:2] == (area, person)}

    # Runs, and what they read

    def begin(self, run_id: int, kind: str, areas: tuple[str, ...]) -> None:
        """A run stands in the ledger."""
        self.runs[run_id] = Run(run_id=run_id, kind=kind, areas=areas)

    def read_complete(
        self,
        run: Run,
        key: PersonArea,
        records: Mapping[str, Any],
        *,
        at: datetime,
        pages: int | None,
    ) -> None:
        """A person's area was read to its last page."""
        person, area = key
        rows = {}
        for name, said in records.items():
            content = Content(said=said, first_seen_at=at, observed_at=at)
            published = self.held.get((area, person, name))
            if published is not None and published.content.said == said:
                content = published.content
            elif published is not None:
                content = replace(content, first_seen_at=published.content.first_seen_at)
            rows[name] = content
        run.readings[key] = Reading(read_at=at, rows=rows, pages=pages)
        self.failures.pop(key, None)

    def could_not_read(self, run: Run, key: PersonArea, kind: str, at: datetime) -> None:
        """A person's area could not be read."""
        run.readings[key] = Reading(read_at=at)
        before = self.failures.get(key) or Failure(kind=kind, at=at, since=at, runs=0)
        self.failures[key] = replace(before, kind=kind, at=at, runs=before.runs + 1)

    # Publication

    def outcome(self, run: Run, ending: Ending) -> Outcome:
        """What publishing the run now comes to."""
        return Publishing(
            held=self.held,
            known=self.known(),
            missed=self.missed,
            syncs=[one for one in self.runs.values() if one.kind == "sync" and one.number],
            run=run,
            ending=ending,
        ).outcome()

    def publish(self, run: Run, outcome: Outcome, at: datetime) -> None:
        """Readers see the run from now on."""
        if self.published:
            at = max(at, self.published[-1] + timedelta.resolution)
        self.published.append(at)
        run.status, run.published_at, run.number = "published", at, len(self.published)
        run.totals = outcome.totals
        has_gaps = any(outcome.totals[n] for n in ("persons_stale", "roster_faults"))
        run.exit_code = 3 if has_gaps else 0
        for row in outcome.went | outcome.changed.keys():
            self.ended.append(replace(self.held.pop(row), closed_run=run.run_id))
        for row, content in {**outcome.came, **outcome.changed}.items():
            self.held[row] = Version(row=row, content=content, opened_run=run.run_id)
        self._publish_proofs(run, outcome)
        self.failures = {
            key: one for key, one in self.failures.items() if key[0] not in outcome.departing
        }
        named = {person for person, _ in outcome.readings}
        if run.kind == "sync":
            named |= set(outcome.roster or ())
        self.missed = (self.missed - named - outcome.departing) | outcome.missing
        for person, _ in outcome.readings:
            self.refs[person] = run.refs[person]
        day = f"{at.astimezone(NORWAY):%Y-%m-%d}"
        for place, rows in enumerate((outcome.came, outcome.changed, outcome.went)):
            for row in rows:
                self.days.setdefault((day, row[0]), [0, 0, 0])[place] += 1
        self.snapshots.append(self.rows())
        run.readings.clear()

    def _publish_proofs(self, run: Run, outcome: Outcome) -> None:
        """Stale is what the last publication that covered it did not read completely."""
        known = self.known()
        self.departed -= {person for person, _ in outcome.readings}
        self.departed |= outcome.departing
        for key in outcome.readings:
            self.proofs.setdefault(key, Proof(is_stale=True))
        covered = {
            area
            for one in self.runs.values()
            if one.kind == "sync" and one.number
            for area in one.areas
        }
        for person in {person for person, _ in outcome.readings} - known:
            for area in covered:
                self.proofs.setdefault((person, area), Proof(is_stale=True))
        for key, proof in self.proofs.items():
            reading = outcome.readings.get(key)
            if reading is not None and reading.rows is not None:
                self.proofs[key] = Proof(
                    is_stale=False,
                    confirmed_at=reading.read_at,
                    record_count=len(reading.rows),
                    pages=reading.pages,
                )
            elif (
                reading is not None
                or key[0] in outcome.departing
                or (run.kind == "sync" and key[1] in run.areas)
            ):
                self.proofs[key] = replace(proof, is_stale=True)
