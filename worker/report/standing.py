"""The parts of the report that say how far the copy can be relied upon."""

from collections.abc import Iterable
from zoneinfo import ZoneInfo

from worker.core.model import RunKind, RunStatus
from worker.errors import ExitCode
from worker.report.charts import bar_groups, columns, number
from worker.report.figures import (
    AGES,
    STALE_SHOWN,
    ReportFacts,
    RunFacts,
    SnapshotState,
)
from worker.report.markup import Html, el, join, table, with_code
from worker.report.words import ENDINGS, ago, area_title, lasted, local, utc, when


def head_part(facts: ReportFacts, zone: ZoneInfo) -> Html:
    """Title, the state in plain words, the notice, and the figures that matter most."""
    parts = [
        el("h1", "PTS access restrictions"),
        el(
            "p", f"A copy of what PTS answered for the persons on our roster. {utc(facts.made_at)}."
        ),
        _state(facts, zone),
        el(
            "div",
            el(
                "p",
                el("b", "For reporting only. "),
                "This copy must never decide who may see what: it is older than PTS, and delays "
                "end by the clock. Access is decided by asking PTS itself.",
            ),
            class_="notice",
            role="note",
        ),
    ]
    if facts.published is not None:
        parts.append(_tiles(facts))
    return el("header", *parts)


def _state(facts: ReportFacts, zone: ZoneInfo) -> Html:
    look = {
        SnapshotState.EMPTY: "warn",
        SnapshotState.OLD: "bad",
        SnapshotState.GAPS: "warn",
        SnapshotState.COMPLETE: "good",
    }[facts.state]
    headline = el("strong", _headline(facts, zone))
    return el(
        "div",
        headline,
        *(el("p", with_code(line)) for line in _remarks(facts, zone)),
        class_=f"state {look}",
        role="status",
    )


def _headline(facts: ReportFacts, zone: ZoneInfo) -> str:
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


def _remarks(facts: ReportFacts, zone: ZoneInfo) -> Iterable[str]:
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


def _tiles(facts: ReportFacts) -> Html:
    shown = [
        (sum(area.restrictions for area in facts.areas), "open restrictions"),
        (facts.persons, "persons on the roster"),
        *(
            (area.holders, f"persons with {area_title(area.name).lower()} restrictions")
            for area in facts.areas
        ),
        (facts.delays.within_7_days, "delays end within 7 days"),
        (facts.persons_stale, "persons not confirmed"),
    ]
    return el(
        "ul",
        *(el("li", el("b", number(amount)), el("span", words)) for amount, words in shown),
        class_="tiles",
    )


def freshness_part(facts: ReportFacts, zone: ZoneInfo) -> Html:
    """How old the last confirmations are, and whom the last run could not confirm."""
    names = [name for name, _ in AGES]
    series = {area_title(area.name): area.ages for area in facts.areas}
    picture = bar_groups(
        "Age of the last confirmation",
        "Persons by the time since PTS last confirmed their restrictions, for each area.",
        names,
        series,
    )
    rows = [
        (name, *(number(area.ages[index]) for area in facts.areas))
        for index, name in enumerate(names)
    ]
    summary = [
        (
            area_title(area.name),
            number(area.persons),
            number(area.persons_stale),
            when(area.oldest_at, zone),
        )
        for area in facts.areas
    ]
    return join(
        [
            el("h2", "How fresh the copy is"),
            el(
                "p", "When PTS last confirmed each person's picture, with or without a restriction."
            ),
            el(
                "div",
                el("figure", el("h3", "Age of the last confirmation"), picture, class_="card"),
                el(
                    "div",
                    table("Persons by age", ("Age", *series), rows),
                    table("By area", ("Area", "Persons", "Stale", "Oldest confirmation"), summary),
                    class_="card",
                ),
                class_="pair",
            ),
            _stale(facts, zone),
        ]
    )


def _stale(facts: ReportFacts, zone: ZoneInfo) -> Html:
    if not facts.stale:
        return el("div", el("p", "No person is stale."), class_="card")
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
    more = f" The first {STALE_SHOWN} are listed." if len(facts.stale) == STALE_SHOWN else ""
    return el(
        "div",
        table("Stale persons, the oldest first", head, rows, text=4),
        el("p", with_code(f"`pts-worker failures list` tells more.{more}"), class_="soft"),
        class_="card",
    )


def runs_part(facts: ReportFacts, zone: ZoneInfo) -> Html:
    """The last runs: how they ended and how long they took."""
    if not facts.runs:
        return join([el("h2", "Runs"), el("p", "There has been no run yet.")])
    shown = list(reversed(facts.runs))
    top_s = max((run.duration_s or 0 for run in shown), default=0)
    unit_s, unit = next(
        (size, name)
        for size, name in ((3600, "hours"), (60, "minutes"), (1, "seconds"))
        if top_s >= 2 * size or size == 1
    )
    kinds = {"complete": [], "with gaps": [], "not published": []}  # type: dict[str, list[float | None]]
    for run in shown:
        for name, values in kinds.items():
            took = None if run.duration_s is None else run.duration_s / unit_s
            values.append(took if name == _class(run) else None)
    picture = columns(
        f"Run durations in {unit}",
        "Time from the start to the end of each run, by how it ended.",
        [str(run.run_id) for run in shown],
        kinds,
        colours=(2, 4, 1),
    )
    head = ("Run", "Started", "Ended", "Took", "Persons", "Rows changed", "Requests")
    rows = [_run_row(run, zone) for run in facts.runs]
    return join(
        [
            el("h2", "Runs"),
            el("p", f"The last {len(facts.runs)} runs, newest first."),
            el(
                "figure",
                el("h3", f"Run durations in {unit}, by run number"),
                picture,
                class_="card narrow",
            ),
            el("div", table("Runs", head, rows, text=3), class_="card"),
        ]
    )


def _run_row(run: RunFacts, zone: ZoneInfo) -> tuple[str, ...]:
    code = "" if run.exit_code is None else f" (exit {run.exit_code})"
    ending: list[str] = [_ending(run) + code]
    if run.reason:
        ending.append(el("small", run.reason))
    kind = el("small", "backfill") if run.kind == RunKind.BACKFILL else ""
    return (
        join([str(run.run_id), kind]),
        when(run.started_at, zone),
        join(ending),
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
