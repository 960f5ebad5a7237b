"""``plan``: what a run would do. Writes nothing."""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import typer

from worker.cli.base import Cli, add_command
from worker.cli.showing import columns, instant, span, store_to_read
from worker.cli.sync import AreaOption, DatabaseOption, RateOption, RosterOption

if TYPE_CHECKING:
    from worker.app import App
    from worker.core.guard import GuardFacts, GuardLimits
    from worker.store.database import Database
    from worker.store.reading import OpenState, RunFacts, Settled

HELP = """Tell what a `sync` would do now: persons, requests, time, and what the guard would allow.

Reads the roster and the database and writes nothing; asks neither HelseID nor PTS. Persons who
stand twice on the roster are counted twice here and read once by a run.

`--json`: roster (entries, faults, checksum_warnings), areas, continues (run_id, began_at,
persons_read, person_areas_read) or null, requests (at_least, expected, per_person_area),
rate_per_s, duration_s (at_least, expected), guard (open_restrictions, holders, persons_known,
may_close, may_depart, departing_at_least, would_withhold).

Example: `pts-worker plan --roster roster.csv`
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    add_command(app, "plan", plan, HELP)


@dataclass(slots=True, kw_only=True)
class _Count:
    """The roster, counted in one pass."""

    entries: int = 0
    faults: int = 0
    checksum_warnings: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Begun:
    """The open run that the next sync continues."""

    run_id: int
    began_at: datetime
    read: "Settled"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What a run would do."""

    areas: tuple[str, ...]
    roster: _Count
    begun: _Begun | None
    last: "RunFacts | None"
    rate: float
    open: "OpenState"
    limits: "GuardLimits"

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
        return max(self.roster.entries * len(self.areas) - done, 0)

    @property
    def expected(self) -> int:
        """The same with pages and retries as they were in the last full run."""
        return round(self.requests * (self.per_area or 1.0))

    @property
    def departing(self) -> int:
        """Known persons that are surely not on the roster; none departs while a line is bad."""
        if self.roster.faults:
            return 0
        return max(self.open.persons - self.roster.entries, 0)

    def facts(self) -> "GuardFacts":
        """What the guard would look at if nothing else changed."""
        from worker.core.guard import GuardFacts

        asked = (self.roster.entries + self.roster.faults) * len(self.areas)
        return GuardFacts(
            open_before=self.open.restrictions,
            holders_before=self.open.holders,
            persons_before=self.open.persons,
            removed=0,
            persons_affected=0,
            departing=self.departing,
            areas_attempted=asked,
            areas_complete=self.roster.entries * len(self.areas),
        )


def plan(
    cli: Cli,
    *,
    roster: RosterOption = None,
    database: DatabaseOption = None,
    area: AreaOption = None,
    requests_per_second: RateOption = None,
) -> int:
    """See ``HELP``."""
    from worker.errors import ExitCode

    app = cli.load(
        "plan",
        {
            "roster.path": roster,
            "database.url": database,
            "sync.areas": ",".join(area) if area else None,
            "sync.requests_per_second": requests_per_second,
        },
        {
            "roster.path": "--roster",
            "database.url": "--database",
            "sync.areas": "--area",
            "sync.requests_per_second": "--requests-per-second",
        },
    )
    found = cli.run(lambda: _look(app))
    document = _document(found)
    cli.emit(document, lambda: _print(found, document["guard"]))
    return ExitCode.OK


async def _look(app: "App") -> _Plan:
    from worker.core.guard import GuardLimits
    from worker.store.ledger import DEFAULT_TENANT
    from worker.store.reading import last_publication, open_state, see_identity

    identity = app.identity()
    sync = app.settings.sync
    async with store_to_read(app) as store:
        await see_identity(
            store, DEFAULT_TENANT, identity=identity.mode, key_check=identity.key_check
        )
        return _Plan(
            areas=sync.areas,
            begun=await _begun(app, store),
            last=await last_publication(store, DEFAULT_TENANT),
            rate=sync.requests_per_second,
            open=await open_state(store, DEFAULT_TENANT),
            limits=GuardLimits(
                max_removed_share=sync.max_removed_share, min_completeness=sync.min_completeness
            ),
            roster=await _count(app),
        )


async def _begun(app: "App", store: "Database") -> _Begun | None:
    from worker.store.ledger import DEFAULT_TENANT, open_runs
    from worker.store.reading import continued_by_next_sync, settled_in

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
    return _Begun(run_id=row.run_id, began_at=row.started_at, read=read)


async def _count(app: "App") -> _Count:
    from worker.core.model import RosterFault

    count = _Count()
    async for entry in app.roster().entries():
        if isinstance(entry, RosterFault):
            count.faults += 1
        else:
            count.entries += 1
            count.checksum_warnings += not entry.checksum_ok
    return count


def _document(found: _Plan) -> dict[str, Any]:
    from worker.core.guard import departure_limit, reasons_to_withhold, removal_limit

    facts, begun = found.facts(), found.begun
    return {
        "roster": {
            "entries": found.roster.entries,
            "faults": found.roster.faults,
            "checksum_warnings": found.roster.checksum_warnings,
        },
        "areas": list(found.areas),
        "continues": begun
        and {
            "run_id": begun.run_id,
            "began_at": begun.began_at,
            "persons_read": begun.read.persons,
            "person_areas_read": begun.read.person_areas,
        },
        "requests": {
            "at_least": found.requests,
            "expected": found.expected,
            "per_person_area": found.per_area,
        },
        "rate_per_s": found.rate,
        "duration_s": {
            "at_least": found.requests / found.rate,
            "expected": found.expected / found.rate,
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


def _print(found: _Plan, guard: dict[str, Any]) -> None:
    roster = found.roster
    rows = [("persons on the roster", f"{roster.entries:,} (duplicates counted)")]
    if roster.faults:
        rows.append(("unreadable lines", f"{roster.faults:,}; each is a gap, and nobody departs"))
    if roster.checksum_warnings:
        rows.append(("unusual control digits", f"{roster.checksum_warnings:,}; read all the same"))
    rows.append(("areas", ", ".join(found.areas)))
    if found.begun:
        begun = f"run {found.begun.run_id}, begun {instant(found.begun.began_at)}"
        rows.append(("continues", f"{begun}, {found.begun.read.persons:,} persons read already"))
    rows.append(("requests", _requests(found)))
    rows.append(
        ("time", f"{span(found.expected / found.rate)} at {found.rate:g} requests a second")
    )
    rows += [
        ("open restrictions", f"{guard['open_restrictions']:,} of {guard['holders']:,} persons"),
        ("the guard lets pass", f"{guard['may_close']:,} closed, {guard['may_depart']:,} departed"),
    ]
    if found.departing:
        rows.append(("no longer on the roster", f"at least {found.departing:,} persons"))
    columns((), rows)
    for reason in guard["would_withhold"]:
        print(f"! would be withheld: {reason}")


def _requests(found: _Plan) -> str:
    if found.per_area is None or found.expected == found.requests:
        return f"{found.requests:,}, more with pages and retries"
    return (
        f"about {found.expected:,} ({found.per_area:.2f} for each person's area in the last run), "
        f"at least {found.requests:,}"
    )
