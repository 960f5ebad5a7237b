"""What the ledger knows of the metrics, for ``/metrics`` before the first run of a process."""

from collections.abc import Sequence

from worker.core.model import RunKind, RunStatus
from worker.core.run import RunReport
from worker.errors import ExitCode
from worker.store.database import Database
from worker.store.queries.status import RunFacts, last_runs
from worker.telemetry.numbers import Sample, samples_of_end, samples_of_publication

RUNS_MAX = 50
"""So many runs are looked at: the last success may be some nights ago."""


async def known_metrics(store: Database) -> list[Sample]:
    """How the last run of each kind ended, and the last publications with their totals.

    Raises:
        WorkerError: the database cannot be used.
    """
    runs = await store.read(last_runs, RUNS_MAX)
    samples: list[Sample] = []
    for kind in RunKind:
        own = [_report(run) for run in runs if run.kind == kind and run.finished_at is not None]
        if own:
            last = own[0]
            samples += samples_of_end(last.exit_code, at=last.finished_at, kind=kind)
        samples += _published(own)
    return samples


def _published(reports: Sequence[RunReport]) -> list[Sample]:
    """The samples of the last publication, and of the last without failures before it."""
    published = [report for report in reports if report.status is RunStatus.PUBLISHED]
    success = next((report for report in published if report.exit_code is ExitCode.OK), None)
    older = [] if success is None else list(samples_of_publication(success))
    newer = list(samples_of_publication(published[0])) if published else []
    return list({(s.name, s.labels): s for s in older + newer}.values())


def _report(run: RunFacts) -> RunReport:
    assert run.finished_at is not None  # noqa: S101 - the caller asks for no other
    return RunReport(
        run_id=run.run_id,
        kind=RunKind(run.kind),
        status=RunStatus(run.status),
        exit_code=ExitCode(run.exit_code or 0),
        started_at=run.started_at,
        finished_at=run.finished_at,
        published_at=run.published_at,
        totals=run.totals,
    )
