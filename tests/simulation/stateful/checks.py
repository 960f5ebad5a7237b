"""The reporting views against the model, view by view."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.simulation.stateful.changes import World
from tests.simulation.stateful.model import Model, Outcome
from tests.simulation.stateful.process import Ground
from tests.simulation.stateful.views import (
    Views,
    check_columns,
    check_history,
    look,
    payload_of,
    row_of,
    same,
)
from worker.core.guard import GuardFacts
from worker.store.queries.status import area_staleness, open_state


@dataclass(kw_only=True)
class Checks:
    """Compares what readers see with what the model says.

    Attributes:
        ended: versions that had ended when last looked at, and the run that ended each.
    """

    ground: Ground
    model: Model
    world: World
    ended: dict[tuple[Any, ...], int] = field(default_factory=dict)

    def look(self) -> Views:
        return self.ground.do(look(self.ground.database))

    def is_published(self, run_id: int) -> bool:
        """Whether the ledger says so."""
        rows = self.look().tables["runs"]
        return any(row["run_id"] == run_id and row["status"] == "published" for row in rows)

    def check_views(self) -> None:
        """All of them, and what must hold whatever is in them."""
        views = self.look()
        self._check_current(views)
        self._check_freshness(views)
        self._check_versions(views)
        self._check_ledger(views)
        self._check_notes(views)
        ended = check_history(views, self.model.snapshots, self.world.source.shape)
        for version, closed_run in self.ended.items():
            assert closed_run == ended[version], "a version that had ended was closed again"
        self.ended = dict(ended)

    def _check_current(self, views: Views) -> None:
        shown = {}
        for one in views.of("current"):
            check_columns(one)
            row = row_of(one, self.world.source.shape)
            assert row not in shown, "a restriction is shown twice"
            shown[row] = (
                payload_of(one),
                one["local_ref"],
                one["first_seen_at"],
                one["last_confirmed_at"],
                one["is_stale"],
            )
        expected = {}
        for row, version in self.model.held.items():
            proof = self.model.proofs[row[1], row[0]]
            expected[row] = (
                version.content.payload,
                self.model.refs[row[1]],
                version.content.first_seen_at,
                proof.confirmed_at,
                proof.is_stale,
            )
        same(expected, shown, "the current views")

    def _check_freshness(self, views: Views) -> None:
        model = self.model
        expected = {}
        for slot, proof in model.proofs.items():
            if slot[0] in model.departed:
                continue
            failure = model.failures.get(slot)
            expected[slot] = (
                proof.is_stale,
                proof.confirmed_at,
                proof.record_count,
                proof.pages,
                model.refs[slot[0]],
                failure and (failure.kind, failure.since, failure.runs),
            )
        shown = {}
        for one in views.tables["freshness"]:
            failed = (one["failure_kind"], one["failing_since"], one["failed_runs"])
            shown[one["person_key"], one["area"]] = (
                one["is_stale"],
                one["last_confirmed_at"],
                one["record_count"],
                one["pages"],
                one["local_ref"],
                failed if failed[0] else None,
            )
        assert len(views.tables["freshness"]) == len(shown)
        same(expected, shown, "report_person_freshness")

    def _check_versions(self, views: Views) -> None:
        expected = sorted(
            (
                *version.row,
                version.opened_run,
                version.closed_run or 0,
                version.content.payload,
                version.content.first_seen_at,
                version.content.observed_at,
                version.local_ref or "",
            )
            for version in [*self.model.held.values(), *self.model.ended]
        )
        shown = sorted(
            (
                *row_of(one, self.world.source.shape),
                one["opened_run"],
                one["closed_run"] or 0,
                payload_of(one),
                one["first_seen_at"],
                one["observed_at"],
                one["local_ref"] or "",
            )
            for one in views.of("history")
        )
        same(expected, shown, "the history views")

    def _check_ledger(self, views: Views) -> None:
        runs = {row["run_id"]: row for row in views.tables["runs"]}
        assert sorted(self.model.runs) == sorted(runs)
        for run in self.model.runs.values():
            row = runs[run.run_id]
            shown = (row["kind"], row["status"], row["exit_code"], row["publication_no"])
            told = (run.kind, run.status, run.exit_code, run.number)
            same([told], [shown], f"run {run.run_id} in the ledger")
            assert run.published_at == row["published_at"]
            same(run.totals, {name: row[name] for name in run.totals}, "totals in the ledger")
            persons = row["persons_complete"] + row["persons_stale"] + row["persons_departed"]
            assert row["persons_total"] == persons
            written = row["rows_opened"] + row["rows_changed"] + row["rows_moved"]
            assert row["rows_read"] == written + row["rows_unchanged"]

    def _check_notes(self, views: Views) -> None:
        days = {
            (one["day"], one["area"]): [one["added"], one["changed"], one["removed"]]
            for one in views.tables["daily"]
        }
        same(self.model.days, days, "report_daily_change")
        drift = {
            (one["area"], one["field"], one["kind"]): one["first_run"]
            for one in views.tables["drift"]
        }
        same(self.model.drift, drift, "drift")
        paths = {one["area"]: one["key_path"] for one in views.tables["keys"]}
        if not self.model.unfinished:
            known = {area: path for area, (path, _) in self.model.key_paths.items()}
            same(known, paths, "key paths")

    def check_facts(self, outcome: Outcome, logs: Sequence[Mapping[str, Any]]) -> None:
        """What the guard judged is what the model counts, each time that it was asked."""
        judged = [entry for entry in logs if entry["event"] == "run.judged"]
        assert judged
        for entry in judged:
            shown = {name: entry[name] for name in GuardFacts.__struct_fields__}
            shown["areas"] = {
                one["area"]: (one["open_before"], one["removed"], one["persons_affected"])
                for one in entry["areas"]
                if one["removed"]
            }
            same(outcome.facts, shown, "what the guard judged")

    def check_other_readers(self) -> None:
        """What ``status`` and ``plan`` tell is what the views tell."""
        model = self.model
        counted = {
            one.area: (one.persons, one.stale)
            for one in self.ground.do(self.ground.database.read(area_staleness))
        }
        slots = [
            (area, proof)
            for (person, area), proof in model.proofs.items()
            if person not in model.departed
        ]
        expected = {
            area: (
                sum(one == area for one, _ in slots),
                sum(one == area and proof.is_stale for one, proof in slots),
            )
            for area in {one for one, _ in slots}
        }
        same(expected, counted, "gaps")
        state = self.ground.do(self.ground.database.read(open_state))
        holders = {person for _, person, _ in model.held}
        same(
            {
                "restrictions": len(model.held),
                "holders": len(holders),
                "persons": len(model.known()),
            },
            asdict(state),
            "open state",
        )
