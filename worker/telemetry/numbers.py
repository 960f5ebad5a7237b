"""A run's metrics as samples, independent of the target."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from worker.core.model import FailureKind, RunKind, RunStatus
from worker.core.run import RunReport, Standing
from worker.errors import ExitCode

PREFIX: Final = "pts_worker_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One sample of a metric.

    Attributes:
        name: full name, with prefix.
        labels: pairs of name and value, sorted; never a personal value.
    """

    name: str
    value: float
    labels: tuple[tuple[str, str], ...] = ()


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


def samples_of(report: RunReport, standing: Standing | None = None) -> tuple[Sample, ...]:
    """The samples of a run. An unpublished run has no totals.

    The labels are ``run`` (``sync`` or ``backfill``) and ``kind``; samples of the published state
    have none.
    """
    samples = [*_result(report), *_totals(report), *_failures(report)]
    samples += _published_by(report) if standing is None else _published(standing)
    return tuple(samples)


def samples_of_end(
    exit_code: ExitCode, *, at: datetime, kind: RunKind = RunKind.SYNC
) -> tuple[Sample, ...]:
    """How a run ended, and no more: for one that could not start, or an earlier one."""
    run = (("run", kind.value),)
    return (
        _sample("last_run_timestamp_seconds", at.timestamp(), run),
        _sample("exit_code", exit_code, run),
    )


def samples_of_publication(report: RunReport) -> tuple[Sample, ...]:
    """What an earlier run published, as far as its report says; nothing of one that did not."""
    return (*_totals(report), *_published_by(report)) if report.published_at else ()


def _sample(name: str, value: float, labels: Iterable[tuple[str, str]] = ()) -> Sample:
    return Sample(name=PREFIX + name, value=float(value), labels=tuple(sorted(labels)))


def _result(report: RunReport) -> Iterator[Sample]:
    run = (("run", report.kind.value),)
    yield _sample("last_run_timestamp_seconds", report.finished_at.timestamp(), run)
    yield _sample("run_duration_seconds", report.worked_s, run)
    yield _sample("exit_code", report.exit_code, run)
    if report.status is RunStatus.PUBLISHED:
        yield _sample("new_undeclared_fields", len(report.new_fields), run)


def _totals(report: RunReport) -> Iterator[Sample]:
    run = ("run", report.kind.value)
    for column, amount in report.totals.items():
        for stem, name in _BY_KIND.items():
            if column.startswith(stem):
                yield _sample(name, amount, (run, ("kind", column.removeprefix(stem))))
        if column in _ALONE:
            yield _sample(column, amount, (run,))


def _failures(report: RunReport) -> Iterator[Sample]:
    for kind in FailureKind:
        amount = report.failures.get(kind.value, 0)
        yield _sample("failures", amount, (("run", report.kind.value), ("kind", kind.value)))


def _published_by(report: RunReport) -> Iterator[Sample]:
    """Samples of the published state, as far as the report contains it: a full run's does."""
    is_published = report.status is RunStatus.PUBLISHED and report.kind is RunKind.SYNC
    if is_published and report.published_at is not None:
        is_success = report.exit_code is ExitCode.OK
        yield from _published(
            Standing(
                last_published_at=report.published_at,
                last_success_at=report.published_at if is_success else None,
                persons_stale=report.totals.get("persons_stale", 0),
            )
        )


def _published(standing: Standing) -> Iterator[Sample]:
    if standing.last_published_at is not None:
        yield _sample("last_published_timestamp_seconds", standing.last_published_at.timestamp())
    if standing.last_success_at is not None:
        yield _sample("last_success_timestamp_seconds", standing.last_success_at.timestamp())
    yield _sample("stale_persons", standing.persons_stale)
