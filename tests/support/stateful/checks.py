"""What the store says besides the reporting views, against the model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from tests.support.model.checks import Checks
from tests.support.model.state import Model
from tests.support.model.values import Outcome
from tests.support.model.views import STATEMENTS, Views, same, views_of
from tests.support.stateful.attempts import StoreUnderTest
from tests.support.stateful.recording import row_of
from worker.core.guard import GuardFacts


@dataclass(kw_only=True)
class StoreChecks:
    """Compares what readers see with what the model says."""

    store: StoreUnderTest
    model: Model

    def look(self) -> Views:
        """Read all views in one transaction."""

        async def work(connection: AsyncConnection) -> Mapping[str, Any]:
            return {
                name: (await connection.execute(text(sql))).mappings().all()
                for name, sql in STATEMENTS.items()
            }

        return views_of(self.store.do(self.store.database.read(work)))

    def is_published(self, run_id: int) -> bool:
        """Whether the ledger says so."""
        return any(row["run_id"] == run_id for row in self.look().published())

    def check_views(self) -> None:
        """All of them, and the ledger of runs that are not published."""
        views = self.look()
        Checks(model=self.model, row_of=row_of).check(views)
        self._check_runs(views)
        self._check_failures(views)

    def _check_runs(self, views: Views) -> None:
        expected = {
            run.run_id: (run.kind, run.status, run.exit_code) for run in self.model.runs.values()
        }
        shown = {
            row["run_id"]: (row["kind"], row["status"], row["exit_code"])
            for row in views.tables["runs"]
        }
        same(expected, shown, "the ledger")

    def _check_failures(self, views: Views) -> None:
        shown = {
            (one["person_key"], one["area"]): (
                one["failure_kind"],
                one["failing_since"],
                one["failed_runs"],
            )
            for one in views.tables["freshness"]
            if one["failure_kind"]
        }
        expected = {
            key: (failure.kind, failure.since, failure.runs)
            for key, failure in self.model.failures.items()
            if key in self.model.shown()
        }
        same(expected, shown, "failures")

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
