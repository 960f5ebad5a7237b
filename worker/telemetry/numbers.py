"""A run's numbers, as samples that every target writes in its own way."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from worker.core.model import FailureKind, RunKind, RunStatus
from worker.core.run import RunReport
from worker.errors import ExitCode

PREFIX: Final = "pts_worker_"


class Standing(Protocol):
    """What stands whatever this run did; ``worker.report.figures.Standing`` is one."""

    @property
    def last_success_at(self) -> datetime | None:
        """End of the last run that published without a gap."""
        ...

    @property
    def last_published_at(self) -> datetime | None:
        """The last publication."""
        ...

    @property
    def persons_stale(self) -> int:
        """Persons with an area that the last run could not confirm."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One number under its full name.

    Attributes:
        labels: pairs of name and value, sorted; never a personal value.
    """

    name: str
    value: float
    labels: tuple[tuple[str, str], ...] = ()


HELP: Final[Mapping[str, str]] = {
    "last_run_timestamp_seconds": "When the last run ended, however it ended.",
    "last_success_timestamp_seconds": "When a run last published without a gap.",
    "last_published_timestamp_seconds": "When a run last published.",
    "run_duration_seconds": "From the start to the end of the last run.",
    "exit_code": "Exit code of the last run.",
    "persons": "Persons of the last published run.",
    "areas": "Person-areas of the last published run.",
    "rows": "Restriction rows of the last published run.",
    "roster_faults": "Unreadable roster lines of the last published run.",
    "requests": "HTTP requests of the last published run.",
    "retries": "HTTP requests of the last published run that repeated another.",
    "failures": "Person-areas that the last run could not read.",
    "stale_persons": "Persons with an area that is not confirmed by the last run.",
}
"""Every metric without its prefix. All are gauges: each says what is known after the last run."""

_BY_KIND: Final = {"persons_": "persons", "areas_": "areas", "rows_": "rows"}
_ALONE: Final = ("roster_faults", "requests", "retries")


def samples_of(report: RunReport, standing: Standing | None = None) -> tuple[Sample, ...]:
    """What a run tells. Numbers that an unpublished run does not have are left out.

    The labels are ``run`` (``sync`` or ``backfill``) and ``kind``; what stands has none.
    """
    found = [*_ending(report), *_totals(report), *_failures(report)]
    found += _standing(report) if standing is None else _stands(standing)
    return tuple(found)


def samples_of_failure(
    exit_code: ExitCode, *, at: datetime, kind: RunKind = RunKind.SYNC
) -> tuple[Sample, ...]:
    """What is known of a run that could not even begin."""
    run = (("run", kind.value),)
    return (
        _sample("last_run_timestamp_seconds", at.timestamp(), run),
        _sample("exit_code", exit_code, run),
    )


def _sample(name: str, value: float, labels: Iterable[tuple[str, str]] = ()) -> Sample:
    return Sample(name=PREFIX + name, value=float(value), labels=tuple(sorted(labels)))


def _ending(report: RunReport) -> Iterator[Sample]:
    run = (("run", report.kind.value),)
    duration = report.finished_at - report.started_at
    yield _sample("last_run_timestamp_seconds", report.finished_at.timestamp(), run)
    yield _sample("run_duration_seconds", duration.total_seconds(), run)
    yield _sample("exit_code", report.exit_code, run)


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


def _standing(report: RunReport) -> Iterator[Sample]:
    """As much of what stands as the run itself knows."""
    if report.status is not RunStatus.PUBLISHED or report.published_at is None:
        return
    yield _sample("last_published_timestamp_seconds", report.published_at.timestamp())
    if report.kind is RunKind.SYNC:
        yield _sample("stale_persons", report.totals.get("persons_stale", 0))
        if report.exit_code is ExitCode.OK:
            yield _sample("last_success_timestamp_seconds", report.published_at.timestamp())


def _stands(standing: Standing) -> Iterator[Sample]:
    if standing.last_published_at is not None:
        yield _sample("last_published_timestamp_seconds", standing.last_published_at.timestamp())
    if standing.last_success_at is not None:
        yield _sample("last_success_timestamp_seconds", standing.last_success_at.timestamp())
    yield _sample("stale_persons", standing.persons_stale)
