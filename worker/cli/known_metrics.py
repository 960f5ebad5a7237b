"""What the ledger knows of the metrics, for ``/metrics`` before the first run of a process."""

from prometheus_client.samples import Sample

from worker.core.model import RunKind, RunStatus
from worker.errors import ExitCode
from worker.store.database import Database
from worker.store.queries.status import last_runs, read_standing
from worker.telemetry.metrics import samples_of_end, samples_of_standing, samples_of_totals

RUNS_MAX = 50
"""So many runs are looked at: the last publication may be some nights ago."""


async def known_metrics(store: Database) -> list[Sample]:
    """The published state; how the last run of each kind ended, and what the last published.

    Raises:
        WorkerError: the database cannot be used.
    """
    samples = list(samples_of_standing(await read_standing(store.read)))
    runs = await store.read(last_runs, RUNS_MAX)
    for kind in RunKind:
        ended = [run for run in runs if run.kind == kind and run.finished_at is not None]
        for run in ended[:1]:
            assert run.finished_at is not None  # noqa: S101 - see above
            code = ExitCode(run.exit_code or 0)
            samples += samples_of_end(code, at=run.finished_at, kind=kind)
        published = [run for run in ended if run.status == RunStatus.PUBLISHED]
        for run in published[:1]:
            samples += samples_of_totals(kind, run.totals)
    return samples
