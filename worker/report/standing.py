"""The parts of the report that say how far the copy can be relied upon."""

from collections.abc import Iterable
from typing import Final
from zoneinfo import ZoneInfo

from worker.core.model import RunKind, RunStatus
from worker.errors import ExitCode
from worker.report.charts import Chart, bar_groups, columns
from worker.report.figures import AGES, ReportFacts, RunFacts, SnapshotState
from worker.report.tables import Cell, Table, when
from worker.report.words import ENDINGS, ago, area_title, lasted, local, number, utc

_UNITS: Final = {"hours": 3_600, "minutes": 60, "seconds": 1}


def headline(facts: ReportFacts, zone: ZoneInfo) -> str:
    """What was published last and how long ago."""
    # What is old is the last full run, however fresh a backfill of some persons is.
    run = facts.last_sync if facts.state is SnapshotState.OLD else facts.published
    if run is None or run.published_at is None:
        return "Nothing has been published yet"
    at = f"{utc(run.published_at)}, {local(run.published_at, zone)}"
    published = f"ublished {at} ({ago(run.age(facts.made_at))} ago), run {run.run_id}"
    match facts.state:
        case SnapshotState.COMPLETE:
            return f"P{published}, complete"
        case SnapshotState.OLD:
            return f"Stale: last p{published}"
        case _:
            return f"P{published}, with gaps"


def remarks(facts: ReportFacts, zone: ZoneInfo) -> Iterable[str]:
    """What a reader must know of it; commands stand between backticks."""
    if facts.published is None:
        yield (
            "There is nothing to show. Run `pts-worker sync` once and make the report again; "
            "`pts-worker doctor` tells what is missing if that does not work."
        )
    elif facts.last_sync is None:
        yield "Only a part of the roster has been read (a backfill). Run `pts-worker sync`."
    elif facts.last_sync != facts.published and facts.state is SnapshotState.OLD:
        yield f"Run {facts.published.run_id} after it was a backfill of some persons."
    elif facts.last_sync != facts.published:
        at = facts.last_sync.published_at or facts.last_sync.started_at
        yield (
            f"That was a backfill of some persons; the last full run was run "
            f"{facts.last_sync.run_id}, {utc(at)}."
        )
    if facts.state is SnapshotState.OLD:
        yield "No full run has been published in time. What follows may have changed since."
    if facts.persons_stale:
        yield (
            f"{number(facts.persons_stale)} of {number(facts.persons)} persons could not be "
            f"confirmed; their last known state is shown and marked stale.{_oldest(facts, zone)}"
        )
    latest = facts.runs[0] if facts.runs else None
    if latest is not None and latest.status != RunStatus.PUBLISHED:
        reason = (latest.reason or "").replace("`", "'")
        yield f"Since then run {latest.run_id}: {_ending(latest)}. {reason}".rstrip()


def _oldest(facts: ReportFacts, zone: ZoneInfo) -> str:
    oldest = min((area.oldest_at for area in facts.areas if area.oldest_at), default=None)
    if oldest is None:
        return ""
    return f" The oldest confirmation is of {utc(oldest)} ({local(oldest, zone)})."


def tiles(facts: ReportFacts) -> Iterable[tuple[int, str]]:
    """The figures that matter most."""
    yield sum(area.restrictions for area in facts.areas), "restrictions in effect"
    yield facts.persons, "persons on the roster"
    for area in facts.areas:
        yield area.holders, f"persons with {area_title(area.name).lower()} restrictions"
    yield facts.delays.within_7_days, "delays end within 7 days"
    yield facts.persons_stale, "persons not confirmed"


def age_chart(facts: ReportFacts) -> Chart:
    """How old the last confirmations are."""
    return bar_groups(
        "Age of the last confirmation",
        "Persons by the time since PTS last confirmed their restrictions, for each area.",
        [name for name, _ in AGES],
        {area_title(area.name): area.ages for area in facts.areas},
    )


def age_table(facts: ReportFacts) -> Table:
    """The same in numbers."""
    rows = [
        (name, *(number(area.ages[index]) for area in facts.areas))
        for index, (name, _) in enumerate(AGES)
    ]
    return Table("Persons by age", ("Age", *(area_title(area.name) for area in facts.areas)), rows)


def area_table(facts: ReportFacts, zone: ZoneInfo) -> Table:
    """Persons of each area, and the oldest confirmation."""
    rows = [
        (
            area_title(area.name),
            number(area.persons),
            number(area.persons_stale),
            when(area.oldest_at, zone),
        )
        for area in facts.areas
    ]
    return Table("By area", ("Area", "Persons", "Stale", "Oldest confirmation"), rows)


def stale_table(facts: ReportFacts, zone: ZoneInfo) -> Table:
    """Whom the last run could not confirm."""
    rows = [
        (
            person.label or f"person {place}",
            area_title(person.area),
            when(person.last_confirmed_at, zone),
            person.failure_kind or "not met by the last run",
            number(person.failed_runs) if person.failed_runs else "-",
        )
        for place, person in enumerate(facts.stale, start=1)
    ]
    head = ("Person", "Area", "Last confirmed", "Why", "Failed runs")
    return Table("Stale persons, the oldest first", head, rows, text=4)


def duration_unit(facts: ReportFacts) -> str:
    """The largest unit that the longest run fills twice."""
    top_s = max((run.duration_s or 0 for run in facts.runs), default=0)
    return next((name for name, size in _UNITS.items() if top_s >= 2 * size), "seconds")


def run_chart(facts: ReportFacts, unit: str) -> Chart:
    """How long the last runs took, the oldest first."""
    shown = list(reversed(facts.runs))
    took = [None if run.duration_s is None else run.duration_s / _UNITS[unit] for run in shown]
    series = {
        kind: [
            value if _class(run) == kind else None for run, value in zip(shown, took, strict=True)
        ]
        for kind in ("complete", "with gaps", "not published")
    }
    return columns(
        f"Run durations in {unit}",
        "Time from the start to the end of each run, by how it ended.",
        [str(run.run_id) for run in shown],
        series,
        colours=(2, 4, 1),
    )


def run_table(facts: ReportFacts, zone: ZoneInfo) -> Table:
    """The last runs, the newest first."""
    head = ("Run", "Started", "Ended", "Took", "Persons", "Rows changed", "Requests")
    return Table("Runs", head, [_run_row(run, zone) for run in facts.runs], text=3)


def _run_row(run: RunFacts, zone: ZoneInfo) -> tuple[str | Cell, ...]:
    code = "" if run.exit_code is None else f" (exit {run.exit_code})"
    return (
        Cell(str(run.run_id), "backfill" if run.kind == RunKind.BACKFILL else ""),
        when(run.started_at, zone),
        Cell(_ending(run) + code, run.reason or ""),
        lasted(run.duration_s),
        number(run.persons_total),
        number(run.rows_opened + run.rows_changed + run.rows_closed),
        number(run.requests),
    )


def _class(run: RunFacts) -> str:
    if run.status != RunStatus.PUBLISHED:
        return "not published"
    return "complete" if run.exit_code == ExitCode.OK else "with gaps"


def _ending(run: RunFacts) -> str:
    if run.status == RunStatus.PUBLISHED:
        return "published" if run.exit_code == ExitCode.OK else "published with gaps"
    why = "" if run.exit_code is None else ENDINGS.get(run.exit_code, "")
    if run.status == RunStatus.WITHHELD or not why:
        return str(run.status)
    return f"{run.status}: {why}"
