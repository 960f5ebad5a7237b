"""A run's metrics as prometheus-client's samples, and the gauges that keep and serve the latest."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Final

from prometheus_client import CollectorRegistry, Gauge, generate_latest, start_http_server
from prometheus_client.samples import Sample

from worker.core.model import FailureKind, RunKind, RunStatus
from worker.core.run import RunReport, Standing
from worker.errors import ConfigurationError, ExitCode, reason_of

PREFIX: Final = "pts_worker_"
HELP: Final[Mapping[str, str]] = {
    "last_run_timestamp_seconds": "End of the last run, whatever its result.",
    "last_success_timestamp_seconds": "Time of the last full publication without failures.",
    "last_published_timestamp_seconds": "Time of the last publication by a full run (`sync`).",
    "run_duration_seconds": "Duration of the last process of a run; not the time between attempts.",
    "exit_code": "Exit code of the last run.",
    "persons": "Persons of the last published run.",
    "areas": "Person-areas of the last published run.",
    "rows": "Restriction rows of the last published run.",
    "roster_faults": "Unreadable roster lines of the last published run.",
    "requests": "HTTP requests of the last published run.",
    "retries": "HTTP retries of the last published run.",
    "failures": "Person-areas that the last run could not read.",
    "new_undeclared_fields": "Fields that the last published run was the first to see, and that "
    "the contract with PTS does not declare.",
    "stale_persons": "Persons with an area that the last run did not confirm.",
}
"""All metrics, without prefix. All are gauges with the state after the last run."""

_BY_KIND: Final = {"persons_": "persons", "areas_": "areas", "rows_": "rows"}
_ALONE: Final = ("roster_faults", "requests", "retries")


class Board:
    """The latest sample of every metric and label set, without those of process and platform."""

    def __init__(self, samples: Iterable[Sample] = ()) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        self._gauges: dict[str, Gauge] = {}
        self.post(samples)

    def post(self, samples: Iterable[Sample]) -> None:
        """Add samples, replacing those with the same name and labels."""
        for sample in samples:
            name, labels = sample.name, sample.labels
            # Made with its first sample: a gauge without labels begins with a zero, that of 1970.
            if name not in self._gauges:
                text = HELP[name.removeprefix(PREFIX)]
                self._gauges[name] = Gauge(name, text, tuple(labels), registry=self.registry)
            gauge = self._gauges[name]
            (gauge.labels(**labels) if labels else gauge).set(sample.value)

    def text(self) -> bytes:
        """Prometheus' text format."""
        return generate_latest(self.registry)

    @contextmanager
    def served(self, http_listen: str | None) -> Iterator[str | None]:
        """Serve ``/metrics`` on ``host:port`` inside the ``with`` block. Port 0 is a free port.

        Yields:
            The URL, e.g. ``http://127.0.0.1:9464``; None if ``http_listen`` is None.

        Raises:
            ConfigurationError: cannot listen on the address.
        """
        if http_listen is None:
            yield None
            return
        host, _, port = http_listen.rpartition(":")
        try:
            server, thread = start_http_server(int(port), host.strip("[]"), self.registry)
        except OSError as error:
            raise ConfigurationError(
                f"telemetry.http_listen: cannot listen on this address ({reason_of(error)})",
                hint="choose another port, e.g. 127.0.0.1:9464",
            ) from error
        try:
            yield f"http://{host}:{server.server_port}"
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


def samples_of(report: RunReport, standing: Standing | None) -> tuple[Sample, ...]:
    """The samples of a run; an unpublished run has no totals.

    The labels are ``run`` (``sync`` or ``backfill``) and ``kind``; samples of the published state
    have none.

    Args:
        standing: the published state; ``None`` leaves what is known of it as it is.
    """
    run = report.kind.value
    samples = [
        *samples_of_end(report.exit_code, at=report.finished_at, kind=report.kind),
        _sample("run_duration_seconds", report.worked_s, run=run),
        *samples_of_totals(report.kind, report.totals),
    ]
    for kind in FailureKind:
        amount = report.failures.get(kind.value, 0)
        samples.append(_sample("failures", amount, run=run, kind=kind.value))
    if report.status is RunStatus.PUBLISHED:
        samples.append(_sample("new_undeclared_fields", len(report.new_fields), run=run))
    return (*samples, *(() if standing is None else samples_of_standing(standing)))


def samples_of_end(
    exit_code: ExitCode, *, at: datetime, kind: RunKind = RunKind.SYNC
) -> tuple[Sample, ...]:
    """How a run ended, and no more: for one that could not start, or an earlier one."""
    run = kind.value
    return (
        _sample("last_run_timestamp_seconds", at.timestamp(), run=run),
        _sample("exit_code", exit_code, run=run),
    )


def samples_of_totals(kind: RunKind, totals: Mapping[str, int]) -> Iterator[Sample]:
    """What a run published, by the ledger's columns."""
    run = kind.value
    for column, amount in totals.items():
        for stem, name in _BY_KIND.items():
            if column.startswith(stem):
                yield _sample(name, amount, run=run, kind=column.removeprefix(stem))
        if column in _ALONE:
            yield _sample(column, amount, run=run)


def samples_of_standing(standing: Standing) -> Iterator[Sample]:
    """The published state."""
    if standing.last_published_at is not None:
        yield _sample("last_published_timestamp_seconds", standing.last_published_at.timestamp())
    if standing.last_success_at is not None:
        yield _sample("last_success_timestamp_seconds", standing.last_success_at.timestamp())
    yield _sample("stale_persons", standing.persons_stale)


def _sample(name: str, value: float, **labels: str) -> Sample:
    return Sample(PREFIX + name, labels, float(value))
