"""``plan``: what a run would do. Writes nothing."""

import math
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from worker.app import App
from worker.cli import options
from worker.cli.base import Cli, subcommand
from worker.cli.showing import columns, instant, span
from worker.config.sections.connections import Engine
from worker.core.guard import (
    GuardFacts,
    GuardLimits,
    departure_limit,
    reasons_to_withhold,
    removal_limit,
)
from worker.core.model import RosterLineError
from worker.errors import ExitCode
from worker.pts.engines import SUSTAINED_PER_S
from worker.store.database import Database
from worker.store.identity import see_identity
from worker.store.queries.status import (
    OpenState,
    RunFacts,
    Settled,
    continued_by_next_sync,
    last_publication,
    open_state,
    settled_in,
)
from worker.store.runs.ledger import DEFAULT_TENANT, open_runs
from worker.use_cases.reading_store import store_to_read

HELP = """Tell what a `sync` would do now: persons, requests, time, and what the guard would allow.

Reads the roster and the database and writes nothing; asks neither HelseID nor PTS. Persons who
stand twice on the roster are counted twice here and read once by a run.

A run that is longer than `sync.deadline` is stopped by it and continued by the next start, as long
as the run made progress within `sync.continue_within`. Shards share the rate, and so need as many
starts.

`--json`: roster (entries, faults, checksum_warnings, h_numbers, not_sent), areas, continues
(run_id, began_at, progressed_at, persons_read, person_areas_read) or null, requests (at_least,
expected, per_person_area), rate_per_s, engine (name, sustained_per_s), duration_s (at_least,
expected), deadline (deadline_s or null, fits, starts, continue_within_s), guard
(open_restrictions, holders, persons_known, may_close, may_depart, departing_at_least,
would_withhold).

Example: `pts-worker plan --roster roster.csv`
"""


_FASTER: Final = {
    "httpx": "; try api.engine = fast, or run in shards",
    "fast": "; run in shards",
}


@dataclass(slots=True, kw_only=True)
class _Count:
    """The roster, counted in one pass."""

    entries: int = 0
    faults: int = 0
    checksum_warnings: int = 0
    h_numbers: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Begun:
    """The open run that the next sync continues."""

    run_id: int
    began_at: datetime
    progressed_at: datetime
    read: Settled


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What a run would do."""

    areas: tuple[str, ...]
    roster: _Count
    begun: _Begun | None
    last: RunFacts | None
    rate: float
    deadline_s: float | None
    continue_within_s: float
    sends_h_numbers: bool
    engine: Engine
    open: OpenState
    limits: GuardLimits

    @property
    def per_area(self) -> float | None:
        """Requests that the last full run needed for one area of one person, if known."""
        if self.last is None:
            return None
        asked = self.last.totals["areas_complete"] + self.last.totals["areas_failed"]
        requests = self.last.totals["requests"]
        return max(requests / asked, 1.0) if asked and requests else None

    @property
    def requests(self) -> int:
        """One for each area that is yet to be read."""
        done = self.begun.read.person_areas if self.begun else 0
        return max((self.roster.entries - self.not_sent) * len(self.areas) - done, 0)

    @property
    def not_sent(self) -> int:
        """Entries of the roster that PTS is not asked about."""
        return 0 if self.sends_h_numbers else self.roster.h_numbers

    @property
    def expected(self) -> int:
        """The same with pages and retries as they were in the last full run."""
        return round(self.requests * (self.per_area or 1.0))

    @property
    def duration_s(self) -> float:
        """Seconds that the expected requests take at the configured rate."""
        return self.expected / self.rate

    @property
    def starts(self) -> int:
        """How often `sync` must be started until it publishes, by its deadline alone."""
        if self.deadline_s is None:
            return 1
        return max(math.ceil(self.duration_s / max(self.deadline_s, 1.0)), 1)

    @property
    def departing(self) -> int:
        """Known persons that are surely not on the roster; none departs while a line is bad."""
        if self.roster.faults:
            return 0
        return max(self.open.persons - self.roster.entries, 0)

    def facts(self) -> GuardFacts:
        """What the guard would look at if nothing else changed."""
        read = (self.roster.entries - self.not_sent) * len(self.areas)
        return GuardFacts(
            open_before=self.open.restrictions,
            holders_before=self.open.holders,
            persons_before=self.open.persons,
            removed=0,
            persons_affected=0,
            departing=self.departing,
            areas_attempted=read + self.roster.faults * len(self.areas),
            areas_complete=read,
        )


@subcommand("plan", HELP)
@options.roster
@options.database
@options.area
@options.rate
@options.deadline
def command(cli: Cli) -> int:
    """See ``HELP``."""
    app = cli.load("plan")
    found = cli.run(lambda: _look(app))
    document = _document(found)
    cli.emit(document, lambda: _print(found, document))
    return ExitCode.OK


async def _look(app: App) -> _Plan:
    identity = app.identity()
    sync = app.settings.sync
    async with store_to_read(app) as store:
        await see_identity(store, DEFAULT_TENANT, identity)
        return _Plan(
            areas=sync.areas,
            begun=await _begun(app, store),
            last=await last_publication(store, DEFAULT_TENANT),
            rate=sync.requests_per_second,
            deadline_s=None if sync.deadline is None else sync.deadline.total_seconds(),
            continue_within_s=sync.continue_within.total_seconds(),
            sends_h_numbers=app.sends_h_numbers,
            engine=app.settings.api.engine,
            open=await open_state(store, DEFAULT_TENANT),
            limits=GuardLimits(
                max_removed_share=sync.max_removed_share, min_completeness=sync.min_completeness
            ),
            roster=await _count(app),
        )


async def _begun(app: App, store: Database) -> _Begun | None:
    sync = app.settings.sync
    row = continued_by_next_sync(
        await open_runs(store, DEFAULT_TENANT),
        areas=sync.areas,
        within=sync.continue_within,
        now=app.runtime.now(),
    )
    if row is None:
        return None
    read = await settled_in(store, row.run_id, len(sync.areas))
    return _Begun(
        run_id=row.run_id, began_at=row.started_at, progressed_at=row.progressed_at, read=read
    )


async def _count(app: App) -> _Count:
    count = _Count()
    async for entry in app.roster().entries():
        if isinstance(entry, RosterLineError):
            count.faults += 1
        else:
            count.entries += 1
            count.checksum_warnings += not entry.checksum_ok
            count.h_numbers += entry.is_h_number
    return count


def _document(found: _Plan) -> dict[str, Any]:
    facts, begun = found.facts(), found.begun
    return {
        "roster": {
            "entries": found.roster.entries,
            "faults": found.roster.faults,
            "checksum_warnings": found.roster.checksum_warnings,
            "h_numbers": found.roster.h_numbers,
            "not_sent": found.not_sent,
        },
        "areas": list(found.areas),
        "continues": begun
        and {
            "run_id": begun.run_id,
            "began_at": begun.began_at,
            "progressed_at": begun.progressed_at,
            "persons_read": begun.read.persons,
            "person_areas_read": begun.read.person_areas,
        },
        "requests": {
            "at_least": found.requests,
            "expected": found.expected,
            "per_person_area": found.per_area,
        },
        "rate_per_s": found.rate,
        "engine": {"name": found.engine, "sustained_per_s": SUSTAINED_PER_S[found.engine]},
        "duration_s": {
            "at_least": found.requests / found.rate,
            "expected": found.duration_s,
        },
        "deadline": {
            "deadline_s": found.deadline_s,
            "fits": found.starts == 1,
            "starts": found.starts,
            "continue_within_s": found.continue_within_s,
        },
        "guard": {
            "open_restrictions": found.open.restrictions,
            "holders": found.open.holders,
            "persons_known": found.open.persons,
            "may_close": int(removal_limit(facts, found.limits)),
            "may_depart": int(departure_limit(facts, found.limits)),
            "departing_at_least": found.departing,
            "would_withhold": list(reasons_to_withhold(facts, found.limits)),
        },
    }


def _print(found: _Plan, document: dict[str, Any]) -> None:
    guard, sustained = document["guard"], document["engine"]["sustained_per_s"]
    roster = found.roster
    rows = [("persons on the roster", f"{roster.entries:,} (duplicates counted)")]
    if roster.faults:
        rows.append(("unreadable lines", f"{roster.faults:,}; each is a gap, and nobody departs"))
    if roster.checksum_warnings:
        rows.append(("unusual control digits", f"{roster.checksum_warnings:,}; read all the same"))
    if roster.h_numbers:
        what = "sent" if found.sends_h_numbers else "not sent to PTS (roster.send_h_numbers)"
        rows.append(("H-numbers", f"{roster.h_numbers:,}; {what}"))
    rows.append(("areas", ", ".join(found.areas)))
    if found.begun:
        begun = f"run {found.begun.run_id}, begun {instant(found.begun.began_at)}"
        rows.append(("continues", f"{begun}, {found.begun.read.persons:,} persons read already"))
    rows.append(("requests", _requests(found)))
    rows += [
        ("time", f"{span(found.duration_s)} at {found.rate:g} requests a second"),
        ("deadline", _deadline(found)),
        ("open restrictions", f"{guard['open_restrictions']:,} of {guard['holders']:,} persons"),
        ("the guard lets pass", f"{guard['may_close']:,} closed, {guard['may_depart']:,} departed"),
    ]
    if found.departing:
        rows.append(("no longer on the roster", f"at least {found.departing:,} persons"))
    columns((), rows)
    if found.rate > sustained:
        print(
            f"! sync.requests_per_second is {found.rate:g}; {found.engine} sustains some "
            f"{sustained:,} requests a second on one core{_FASTER[found.engine]}"
        )
    for reason in guard["would_withhold"]:
        print(f"! would be withheld: {reason}")


def _deadline(found: _Plan) -> str:
    """Whether the run fits its deadline, and what it needs if it does not."""
    if found.deadline_s is None:
        return "none is set"
    if found.starts == 1:
        return f"the run fits {span(found.deadline_s)} (sync.deadline)"
    return (
        f"the run needs {found.starts:,} starts of {span(found.deadline_s)} (sync.deadline); each "
        f"must come within {span(found.continue_within_s)} (sync.continue_within) of the end of "
        "the one before"
    )


def _requests(found: _Plan) -> str:
    if found.per_area is None or found.expected == found.requests:
        return f"{found.requests:,}, more with pages and retries"
    return (
        f"about {found.expected:,} ({found.per_area:.2f} for each person's area in the last run), "
        f"at least {found.requests:,}"
    )
