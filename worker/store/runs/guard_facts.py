"""What the guard judges a run by, and its totals: counted from its drafts."""

from collections.abc import Mapping
from typing import Final

import msgspec
from sqlalchemy import Connection, func, select

from worker.areas import AREAS
from worker.core.guard import AreaFacts, GuardFacts
from worker.core.model import RunKind, RunStatus
from worker.core.run import RunHandle
from worker.store.schema.tables import TOTALS, person, run
from worker.store.statements import (
    COUNT_GOING,
    COUNT_OPEN,
    COUNT_OPS,
    COUNT_READS,
    COUNT_SUBSET_OPEN,
    of_all,
)

_OPS: Final = {"insert": "rows_opened", "update": "rows_changed", "close": "rows_closed"}


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """What a run has read and would change.

    Attributes:
        reads: the figures of ``COUNT_READS``.
        ops: how many restrictions come, change and go, by operation.
    """

    reads: Mapping[str, int]
    ops: Mapping[str, int]

    @property
    def unconfirmed(self) -> int:
        """How many first reads wait for a second one that was not made."""
        return sum(self.reads[f"{area.table}_unconfirmed"] for area in AREAS)


def count_run(connection: Connection, run_id: int, number: int) -> Counts:
    """Count the drafts of a run; departures are those of that publication."""
    found = connection.exec_driver_sql(of_all(COUNT_READS).format(run=run_id))
    reads = {name: int(value or 0) for name, value in found.mappings().one().items()}
    ops = connection.exec_driver_sql(of_all(COUNT_OPS).format(run=run_id, no=number))
    return Counts(reads=reads, ops={row[0]: row[1] for row in ops})


def totals_of(counts: Counts) -> dict[str, int]:
    """The ledger's totals, as far as the drafts tell them."""
    reads = counts.reads
    complete = sum(reads[f"{area.table}_complete"] for area in AREAS)
    attempted = sum(reads[f"{area.table}_attempted"] for area in AREAS)
    totals = dict.fromkeys(TOTALS, 0) | {
        "persons_total": reads["persons"],
        "persons_complete": reads["complete"],
        "persons_stale": reads["persons"] - reads["complete"],
        "areas_complete": complete,
        "areas_failed": attempted - complete,
        "rows_read": sum(reads[f"{area.table}_records"] for area in AREAS),
    }
    totals |= {name: counts.ops.get(op, 0) for op, name in _OPS.items()}
    written = totals["rows_opened"] + totals["rows_changed"]
    totals["rows_unchanged"] = totals["rows_read"] - written
    return totals


def guard_facts(
    connection: Connection,
    handle: RunHandle,
    counts: Counts,
    *,
    number: int,
    departing: int,
    missing: int,
    roster_faults: int,
) -> GuardFacts:
    """Count what publication of the run as this number would change."""
    is_subset = handle.kind == RunKind.BACKFILL
    found = _by_area(connection, of_all(COUNT_GOING).format(run=handle.run_id, no=number))
    going = {name: counts for name, counts in found.items() if not name or any(counts.values())}
    opened = _by_area(connection, of_all(COUNT_OPEN))
    scope = opened
    if is_subset:
        scope = _by_area(connection, of_all(COUNT_SUBSET_OPEN).format(run=handle.run_id))
    return GuardFacts(
        **scope[""],
        **going[""],
        persons_before=_persons_before(connection, number),
        departing=departing,
        missing=missing,
        is_subset=is_subset,
        is_first=not is_subset and _is_first(connection),
        areas=tuple(
            AreaFacts(
                area=area.name,
                open_before=opened[area.name]["open_before"] if area.name in going else 0,
                **going.get(area.name, {}),
                attempted=counts.reads[f"{area.table}_attempted"]
                + roster_faults * (area.name in handle.areas),
                complete=counts.reads[f"{area.table}_complete"],
                records=counts.reads[f"{area.table}_records"],
            )
            for area in AREAS
        ),
    )


def _by_area(connection: Connection, statement: str) -> dict[str, dict[str, int]]:
    """The counts of each area that has any, and of all together under no name."""
    found = connection.exec_driver_sql(statement).mappings()
    return {
        row["area"]: {name: int(value) for name, value in row.items() if name != "area"}
        for row in found
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
