"""What the guard judges a run by, and its totals: counted from its drafts."""

from collections.abc import Mapping
from typing import Final

import msgspec
from sqlalchemy import Connection, func, select

from worker.areas import AREAS
from worker.core.area import ResourceArea
from worker.core.guard import AreaFacts, GuardFacts
from worker.core.model import RunKind, RunStatus
from worker.core.run import RunHandle
from worker.store.runs.applying import Application
from worker.store.schema.tables import TOTALS, person, run
from worker.store.statements import COUNT_GOING, COUNT_OPEN, COUNT_READS, COUNT_SUBSET_OPEN

_MOVED: Final = ("rows_opened", "rows_changed", "rows_closed")
"""Counts of ``COUNT_GOING`` that are totals, and of no interest to the guard."""


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """What a run has read and would change.

    Attributes:
        reads: the figures of ``COUNT_READS``.
        moved: how many restrictions come, change and go, as totals.
        going: what is closed or loses a value, by area; of all together under no name.
    """

    reads: Mapping[str, int]
    moved: Mapping[str, int]
    going: Mapping[str, Mapping[str, int]]

    @property
    def unconfirmed(self) -> int:
        """How many first reads wait for a second one that was not made."""
        return sum(self.reads[f"{area.table}_unconfirmed"] for area in AREAS)

    @property
    def totals(self) -> dict[str, int]:
        """The ledger's totals, as far as the drafts tell them."""
        reads, moved = self.reads, self.moved
        complete = sum(reads[f"{area.table}_complete"] for area in AREAS)
        attempted = sum(reads[f"{area.table}_attempted"] for area in AREAS)
        records = sum(reads[f"{area.table}_records"] for area in AREAS)
        return {
            **dict.fromkeys(TOTALS, 0),
            **moved,
            "persons_total": reads["persons"],
            "persons_complete": reads["complete"],
            "persons_stale": reads["persons"] - reads["complete"],
            "areas_complete": complete,
            "areas_failed": attempted - complete,
            "rows_read": records,
            "rows_unchanged": records - moved["rows_opened"] - moved["rows_changed"],
        }


def count_run(application: Application) -> Counts:
    """Count the drafts of a run, and the departures of its publication."""
    reads = application.rows(COUNT_READS).mappings().one()
    going = _by_area(application, COUNT_GOING)
    return Counts(
        reads={name: int(value or 0) for name, value in reads.items()},
        moved={name: going[""][name] for name in _MOVED},
        going={
            area: {name: value for name, value in counts.items() if name not in _MOVED}
            for area, counts in going.items()
        },
    )


def guard_facts(
    application: Application,
    handle: RunHandle,
    counts: Counts,
    *,
    departing: int,
    missing: int,
    roster_faults: int,
) -> GuardFacts:
    """Count what publication of the run would change."""
    connection = application.connection
    is_subset = handle.kind == RunKind.BACKFILL
    opened = _by_area(application, COUNT_OPEN)
    scope = _by_area(application, COUNT_SUBSET_OPEN) if is_subset else opened

    def of_area(area: ResourceArea) -> AreaFacts:
        going = counts.going.get(area.name, {})
        return AreaFacts(
            area=area.name,
            open_before=opened[area.name]["open_before"] if any(going.values()) else 0,
            **going,
            attempted=counts.reads[f"{area.table}_attempted"]
            + roster_faults * (area.name in handle.areas),
            complete=counts.reads[f"{area.table}_complete"],
            records=counts.reads[f"{area.table}_records"],
        )

    return GuardFacts(
        **scope[""],
        **counts.going[""],
        persons_before=_persons_before(connection, application.number),
        departing=departing,
        missing=missing,
        is_subset=is_subset,
        is_first=not is_subset and _is_first(connection),
        areas=tuple(map(of_area, AREAS)),
    )


def _by_area(application: Application, statement: str) -> dict[str, dict[str, int]]:
    """The counts of each area that has any, and of all together under no name."""
    return {
        row["area"]: {name: int(value) for name, value in row.items() if name != "area"}
        for row in application.rows(statement).mappings()
    }


def _persons_before(connection: Connection, number: int) -> int:
    """Persons who have not departed before that publication."""
    here = person.c.departed_no.is_(None) | (person.c.departed_no == number)
    counted = select(func.count()).select_from(person).where(here)
    return connection.execute(counted).scalar_one()


def _is_first(connection: Connection) -> bool:
    """Whether no full run was published yet."""
    published = select(run.c.run_id).where(
        run.c.kind == RunKind.SYNC, run.c.status == RunStatus.PUBLISHED
    )
    return connection.execute(published.limit(1)).first() is None


def accepted_facts(connection: Connection, handle: RunHandle) -> GuardFacts | None:
    """What the last withheld run counted, if nothing full was published since."""
    last = connection.execute(
        select(run)
        .where(
            run.c.run_id < handle.run_id,
            run.c.kind == handle.kind,
            run.c.status.in_([RunStatus.PUBLISHED, RunStatus.WITHHELD]),
        )
        .order_by(run.c.run_id.desc())
        .limit(1)
    ).one_or_none()
    if last is None or last.status != RunStatus.WITHHELD or last.guard is None:
        return None
    return msgspec.json.decode(last.guard, type=GuardFacts)
