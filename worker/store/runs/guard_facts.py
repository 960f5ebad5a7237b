"""What the guard judges a run by, and its totals: counted from its drafts."""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec
from sqlalchemy import Connection, select

from worker.areas import AREAS
from worker.core.area import ResourceArea
from worker.core.guard import AreaFacts, GuardFacts
from worker.core.model import RunKind, RunStatus
from worker.core.run import RunHandle
from worker.store.runs.applying import Application
from worker.store.schema.tables import TOTALS, run
from worker.store.statements import (
    COUNT_BEFORE,
    COUNT_GOING,
    COUNT_OPEN,
    COUNT_READS,
    COUNT_SUBSET_OPEN,
)


class Counted(NamedTuple):
    """What a run has read and would change.

    Attributes:
        totals: those of the ledger, as far as the drafts tell them.
        unconfirmed: first reads that wait for a second one that was not made.
    """

    facts: GuardFacts
    totals: dict[str, int]
    unconfirmed: int


def count_run(
    application: Application,
    handle: RunHandle,
    *,
    departing: int,
    missing: int,
    roster_faults: int,
) -> Counted:
    """Count what publication of the run would change."""
    (found,) = application.rows(COUNT_READS).mappings()
    reads = {name: int(value or 0) for name, value in found.items()}
    going = _by_area(application, COUNT_GOING)
    opened = _by_area(application, COUNT_OPEN)
    is_subset = handle.kind == RunKind.BACKFILL
    scope = _by_area(application, COUNT_SUBSET_OPEN) if is_subset else opened
    (before,) = application.rows(COUNT_BEFORE)
    totals = _totals(reads, going[""])

    def of_area(area: ResourceArea) -> AreaFacts:
        goes = _without_totals(going.get(area.name, {}))
        return AreaFacts(
            area=area.name,
            open_before=opened[area.name]["open_before"] if any(goes.values()) else 0,
            **goes,
            attempted=reads[f"{area.table}_attempted"]
            + roster_faults * (area.name in handle.areas),
            complete=reads[f"{area.table}_complete"],
            records=reads[f"{area.table}_records"],
        )

    facts = GuardFacts(
        **scope[""],
        **_without_totals(going[""]),
        persons_before=before.persons,
        departing=departing,
        missing=missing,
        is_subset=is_subset,
        is_first=not is_subset and not before.syncs,
        areas=tuple(map(of_area, AREAS)),
    )
    unconfirmed = sum(reads[f"{area.table}_unconfirmed"] for area in AREAS)
    return Counted(facts, totals, unconfirmed)


def _by_area(application: Application, statement: str) -> dict[str, dict[str, int]]:
    """The counts of each area that has any, and of all together under no name."""
    return {
        row["area"]: {name: int(value) for name, value in row.items() if name != "area"}
        for row in application.rows(statement).mappings()
    }


def _without_totals(going: Mapping[str, int]) -> Mapping[str, int]:
    return {name: count for name, count in going.items() if name not in TOTALS}


def _totals(reads: Mapping[str, int], going: Mapping[str, int]) -> dict[str, int]:
    complete = sum(reads[f"{area.table}_complete"] for area in AREAS)
    attempted = sum(reads[f"{area.table}_attempted"] for area in AREAS)
    records = sum(reads[f"{area.table}_records"] for area in AREAS)
    return {
        **dict.fromkeys(TOTALS, 0),
        **{name: count for name, count in going.items() if name in TOTALS},
        "persons_total": reads["persons"],
        "persons_complete": reads["complete"],
        "persons_stale": reads["persons"] - reads["complete"],
        "areas_complete": complete,
        "areas_failed": attempted - complete,
        "rows_read": records,
        "rows_unchanged": records - going["rows_opened"] - going["rows_changed"],
    }


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
