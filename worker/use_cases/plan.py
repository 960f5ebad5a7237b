"""``plan``: what a sync would do now."""

import math
from collections.abc import Sequence
from datetime import datetime

from worker.app import App
from worker.config.sections.connections import Engine
from worker.core.guard import (
    GuardFacts,
    GuardLimits,
    departure_limit,
    reasons_to_withhold,
    removal_limit,
)
from worker.core.value import Value
from worker.ports import Roster
from worker.pts.engines import SUSTAINED_PER_S
from worker.store.database import Database
from worker.store.identity import see_identity
from worker.store.queries.status import (
    OpenState,
    RunFacts,
    last_full_publication,
    open_state,
    settled_in,
)
from worker.store.runs.ledger import open_runs
from worker.store.runs.quiet import quiet_until
from worker.use_cases.roster_count import RosterCount, count_roster
from worker.use_cases.status import continued_by_next_sync


class ContinuedRun(Value, frozen=True, kw_only=True):
    """The open run that the next sync continues."""

    run_id: int
    began_at: datetime
    progressed_at: datetime
    persons_read: int
    person_areas_read: int


class PlannedRequests(Value, frozen=True, kw_only=True):
    """The number of requests.

    Attributes:
        at_least: one for each area that is not read yet.
        expected: with as many pages and retries as in the last full run.
        per_person_area: requests per area of a person in the last full run, if known.
    """

    at_least: int
    expected: int
    per_person_area: float | None


class EngineRate(Value, frozen=True, kw_only=True):
    """The HTTP engine, and the requests per second that it sustains on one core."""

    name: Engine
    sustained_per_s: int


class PlannedDuration(Value, frozen=True, kw_only=True):
    """Seconds that the requests take at the configured rate."""

    at_least: float
    expected: float


class PlannedDeadline(Value, frozen=True, kw_only=True):
    """Whether the run ends within ``sync.deadline``, and how many starts it needs otherwise."""

    deadline_s: float | None
    fits: bool
    starts: int
    continue_within_s: float


class GuardForecast(Value, frozen=True, kw_only=True):
    """What the guard would allow.

    Attributes:
        departing_at_least: persons in the store that cannot be on the roster; 0 if the roster has
            an error.
        would_withhold: reasons that are already known.
    """

    open_restrictions: int
    holders: int
    persons_known: int
    may_close: int
    may_depart: int
    departing_at_least: int
    would_withhold: Sequence[str]


class Plan(Value, frozen=True, kw_only=True):
    """What a sync would do.

    Attributes:
        quiet_until: when the quiet ends that HelseID or PTS asked an earlier run for.
    """

    roster: RosterCount
    areas: tuple[str, ...]
    continues: ContinuedRun | None
    requests: PlannedRequests
    rate_per_s: float
    engine: EngineRate
    duration_s: PlannedDuration
    deadline: PlannedDeadline
    quiet_until: datetime | None
    guard: GuardForecast


async def plan_sync(app: App, roster: Roster) -> Plan:
    """Plan a sync. Reads the roster and the store, writes nothing, and sends no request.

    Raises:
        ConfigurationError: something that a sync needs is not set.
        RosterError: the roster cannot be read.
        SchemaError: the database is missing, behind or ahead.
    """
    identity = app.identity()
    sync, engine = app.settings.sync, app.settings.api.engine
    async with app.database() as store:
        await see_identity(store, identity)
        continues = await _continued_run(app, store)
        last = await store.read(last_full_publication)
        published = await store.read(open_state)
        quiet = await quiet_until(store)
        counted = await count_roster(app, roster)
    requests = _requests(counted, len(sync.areas), continues, last)
    duration = PlannedDuration(
        at_least=requests.at_least / sync.requests_per_second,
        expected=requests.expected / sync.requests_per_second,
    )
    return Plan(
        roster=counted,
        areas=sync.areas,
        continues=continues,
        requests=requests,
        rate_per_s=sync.requests_per_second,
        engine=EngineRate(name=engine, sustained_per_s=SUSTAINED_PER_S[engine]),
        duration_s=duration,
        deadline=_deadline(app, duration.expected),
        quiet_until=quiet,
        guard=_guard(app, counted, published),
    )


async def _continued_run(app: App, store: Database) -> ContinuedRun | None:
    row = continued_by_next_sync(app, await store.read(open_runs))
    if row is None:
        return None
    read = await store.read(settled_in, row.run_id, len(app.settings.sync.areas))
    return ContinuedRun(
        run_id=row.run_id,
        began_at=row.started_at,
        progressed_at=row.progressed_at,
        persons_read=read.persons,
        person_areas_read=read.person_areas,
    )


def _requests(
    roster: RosterCount, areas: int, continues: ContinuedRun | None, last: RunFacts | None
) -> PlannedRequests:
    per_person_area = None
    if last is not None:
        read = last.totals["areas_complete"] + last.totals["areas_failed"]
        sent = last.totals["requests"]
        per_person_area = max(sent / read, 1.0) if read and sent else None
    done = continues.person_areas_read if continues else 0
    at_least = max(roster.sent * areas - done, 0)
    return PlannedRequests(
        at_least=at_least,
        expected=round(at_least * (per_person_area or 1.0)),
        per_person_area=per_person_area,
    )


def _deadline(app: App, duration_s: float) -> PlannedDeadline:
    sync = app.settings.sync
    deadline_s = None if sync.deadline is None else sync.deadline.total_seconds()
    starts = 1
    if deadline_s is not None:
        starts = max(math.ceil(duration_s / max(deadline_s, 1.0)), 1)
    return PlannedDeadline(
        deadline_s=deadline_s,
        fits=starts == 1,
        starts=starts,
        continue_within_s=sync.continue_within.total_seconds(),
    )


def _guard(app: App, roster: RosterCount, published: OpenState) -> GuardForecast:
    """The guard's limits, and its answer if no restriction changed."""
    sync = app.settings.sync
    departing = 0 if roster.faults else max(published.persons - roster.entries, 0)
    read = roster.sent * len(sync.areas)
    facts = GuardFacts(
        open_before=published.restrictions,
        holders_before=published.holders,
        persons_before=published.persons,
        removed=0,
        persons_affected=0,
        departing=departing,
        areas_attempted=read + roster.faults * len(sync.areas),
        areas_complete=read,
    )
    limits = GuardLimits(
        max_removed_share=sync.max_removed_share, min_completeness=sync.min_completeness
    )
    return GuardForecast(
        open_restrictions=published.restrictions,
        holders=published.holders,
        persons_known=published.persons,
        may_close=int(removal_limit(facts, limits)),
        may_depart=int(departure_limit(facts, limits)),
        departing_at_least=departing,
        would_withhold=reasons_to_withhold(facts, limits),
    )
