"""The reporting views against the model, view by view."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.support.model.state import Model
from tests.support.model.values import Failure, Row, expect
from tests.support.model.views import Views, same

RowOf = Callable[[Mapping[str, Any]], tuple[Row, Any]]
"""The model's name of a row of ``current`` or ``history``, and what it says."""


@dataclass(frozen=True, kw_only=True)
class Checks:
    """Compares what readers see with what the model says."""

    model: Model
    row_of: RowOf

    def check(self, views: Views) -> None:
        self._check_current(views)
        self._check_freshness(views)
        self._check_versions(views)
        self._check_as_of(views)
        self._check_ledger(views)
        self._check_days(views)

    def _check_current(self, views: Views) -> None:
        shown = {}
        for one in views.of("current"):
            row, said = self.row_of(one)
            expect(row not in shown, "a restriction is shown twice")
            shown[row] = (
                said,
                one["local_ref"],
                one["first_seen_at"],
                one["last_confirmed_at"],
                one["is_stale"],
            )
        expected = {}
        for row, version in self.model.held.items():
            proof = self.model.proofs[row[1], row[0]]
            expected[row] = (
                version.content.said,
                self.model.refs[row[1]],
                version.content.first_seen_at,
                proof.confirmed_at,
                proof.is_stale,
            )
        same(expected, shown, "the current views")

    def _check_freshness(self, views: Views) -> None:
        expected = {
            key: (
                proof.is_stale,
                proof.confirmed_at,
                proof.record_count,
                proof.pages,
                self.model.refs[key[0]],
                self.model.failures.get(key),
            )
            for key, proof in self.model.shown().items()
        }
        rows = views.tables["freshness"]
        shown = {
            (one["person_key"], one["area"]): (
                one["is_stale"],
                one["last_confirmed_at"],
                one["record_count"],
                one["pages"],
                one["local_ref"],
                one["failure_kind"]
                and Failure(
                    kind=one["failure_kind"],
                    at=one["last_failed_at"],
                    since=one["failing_since"],
                    runs=one["failed_runs"],
                ),
            )
            for one in rows
        }
        expect(len(rows) == len(shown), "a person's area is shown twice")
        same(expected, shown, "report_person_freshness")

    def _check_versions(self, views: Views) -> None:
        times = {run_id: run.published_at for run_id, run in self.model.runs.items()}
        expected = [
            (
                version.row,
                version.opened_run,
                times[version.opened_run],
                version.closed_run,
                version.closed_run and times[version.closed_run],
                version.content.said,
                version.content.first_seen_at,
                version.content.observed_at,
                self.model.refs[version.row[1]],
            )
            for version in [*self.model.held.values(), *self.model.ended]
        ]
        shown = [
            (
                row,
                one["opened_run"],
                one["valid_from"],
                one["closed_run"],
                one["valid_to"],
                said,
                one["first_seen_at"],
                one["observed_at"],
                one["local_ref"],
            )
            for one in views.of("history")
            for row, said in [self.row_of(one)]
        ]
        same(sorted(expected, key=str), sorted(shown, key=str), "the history views")

    def _check_as_of(self, views: Views) -> None:
        """The history gives back each publication, as of its number and as of its time."""
        rows = [(one, *self.row_of(one)) for one in views.of("history")]
        for number, (at, snapshot) in enumerate(
            zip(self.model.published, self.model.snapshots, strict=True), 1
        ):
            for begin, end, then in (
                ("opened_publication", "closed_publication", number),
                ("valid_from", "valid_to", at),
            ):
                shown = [
                    (row, said)
                    for one, row, said in rows
                    if one[begin] <= then and (one[end] is None or then < one[end])
                ]
                expect(len(shown) == len(dict(shown)), "two versions of a restriction overlap")
                same(snapshot, dict(shown), f"as of publication {number} by its {begin}")

    def _check_ledger(self, views: Views) -> None:
        runs = {row["run_id"]: row for row in views.published()}
        published = {
            run_id: run for run_id, run in self.model.runs.items() if run.status == "published"
        }
        expect(published.keys() == runs.keys(), "other runs are published than should be")
        for run_id, run in published.items():
            row = runs[run_id]
            names = ("kind", "status", "exit_code", "published_at")
            expected = {name: getattr(run, name) for name in names} | {"publication_no": run.number}
            same(expected, {name: row[name] for name in expected}, f"run {run_id} in the ledger")
            same(run.totals, {name: row[name] for name in run.totals}, f"totals of run {run_id}")
        for row in views.tables["runs"]:
            persons = row["persons_complete"] + row["persons_stale"] + row["persons_departed"]
            expect(row["persons_total"] == persons, "persons do not add up")
            written = row["rows_opened"] + row["rows_changed"]
            expect(row["rows_read"] == written + row["rows_unchanged"], "rows do not add up")

    def _check_days(self, views: Views) -> None:
        days = {
            (str(one["day"]), one["area"]): [one["added"], one["changed"], one["removed"]]
            for one in views.tables["daily"]
        }
        same(self.model.days, days, "report_daily by day")
