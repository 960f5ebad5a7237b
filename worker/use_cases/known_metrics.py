"""What the database knows of the metrics, for ``/metrics`` before the first run of a process."""

from worker.app import App
from worker.core.model import RunKind
from worker.errors import ExitCode
from worker.report.standing import read_standing
from worker.store.queries.status import last_runs
from worker.telemetry.numbers import Sample, samples_of_end, samples_of_standing
from worker.use_cases.reading_store import store_to_read

_RUNS_MAX = 50


async def known_metrics(app: App) -> list[Sample]:
    """The published state, and how the last run of each kind ended.

    Raises:
        WorkerError: the database cannot be used.
    """
    async with store_to_read(app) as store:
        samples = list(samples_of_standing(await read_standing(store.read)))
        runs = await last_runs(store, _RUNS_MAX)
    for kind in RunKind:
        last = next((run for run in runs if run.kind == kind), None)
        if last is not None and last.exit_code is not None and last.finished_at is not None:
            samples += samples_of_end(ExitCode(last.exit_code), at=last.finished_at, kind=kind)
    return samples
