"""The counts of a publication that the guard judges: their queries, and the facts made of them."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from sqlalchemy import Connection

from worker.core.area import AREAS, ResourceArea
from worker.core.diff import Op
from worker.core.guard_facts import AreaFacts, GuardFacts, WithheldFacts
from worker.core.model import RunStatus
from worker.core.run import RunHandle
from worker.store.runs.new_publication import NewPublication, Query, count_if, has_draft, reads_area
from worker.store.schema.columns import TOTALS
from worker.store.schema.tables import (
    CHANGES,
    COMPLETE,
    UNCONFIRMED,
    VERSIONS,
    draft,
    draft_area,
    person,
    run,
)

_EXAMPLES: Final = 5
"""Maximum number of examples in `status`: restrictions of each area, and missing persons."""
_MISSING: Final = "missing"
"""The change of an open restriction of a missing person. It is only counted, never written."""
_NO_READS: Final = dict.fromkeys(
    ("attempted", "complete", "records", "unconfirmed", "not_repeated"), 0
)
"""The counts of an area that the run has not read."""


# The facts


def collect_facts(
    connection: Connection,
    new: NewPublication,
    handle: RunHandle,
    *,
    reads: Mapping[str, Mapping[str, int]],
    changes: Mapping[str, int],
    departing: int,
    roster_faults: int,
) -> GuardFacts:
    """The facts that the guard judges.

    Args:
        reads: ``reads_by_area``.
        changes: the counts of ``count_changes`` in all areas.
        departing: the number of departing persons.
        roster_faults: the number of lines of the roster that could not be read.
    """
    # A backfill reads few persons. Measured against all open restrictions, its removals would
    # always look harmless.
    is_subset = not new.is_sync
    opened = count_read_open(new) if is_subset else count_all_open()
    return GuardFacts(
        **counts_of(connection, opened),
        **_without_totals(changes),
        **counts_of(connection, count_newly_missing(new)),
        departing=departing,
        roster_faults=roster_faults,
        persons_before=connection.execute(count_persons_before(new)).scalar_one(),
        is_subset=is_subset,
        areas=tuple(
            _area_facts(
                connection,
                new,
                area,
                read=reads.get(area.name, _NO_READS),
                # A bad line counts as a failed read, because its person was not read either.
                faults=roster_faults if area.name in handle.areas else 0,
            )
            for area in AREAS
        ),
    )


def _area_facts(
    connection: Connection,
    new: NewPublication,
    area: ResourceArea,
    *,
    read: Mapping[str, int],
    faults: int,
) -> AreaFacts:
    changes = _without_totals(counts_of(connection, count_changes(new, area)))
    # The guard needs this count only if something changes, and it reads all open rows.
    opened = connection.execute(count_open(area)).scalar_one() if any(changes.values()) else 0
    return AreaFacts(
        area=area.name,
        open_before=opened,
        **changes,
        attempted=read["attempted"] + faults,
        complete=read["complete"],
        records=read["records"],
        **counts_of(connection, count_holders(new, area)),
        is_first=not connection.execute(count_syncs(area)).scalar_one(),
    )


def counts_of(connection: Connection, query: Query) -> Mapping[str, int]:
    """The counts of a query with one row, by name."""
    row = connection.execute(query).mappings().one()
    return {name: int(count) for name, count in row.items()}


def reads_by_area(connection: Connection, new: NewPublication) -> Mapping[str, Mapping[str, int]]:
    """The counts of the run's reads (``count_reads``), by area."""
    return {
        row["area"]: {name: int(row[name]) for name in _NO_READS}
        for row in connection.execute(count_reads(new)).mappings()
    }


def _without_totals(changes: Mapping[str, int]) -> Mapping[str, int]:
    """The counts of changes that the guard judges, without those that only the ledger has."""
    return {name: count for name, count in changes.items() if name not in TOTALS}


def with_examples(connection: Connection, new: NewPublication, facts: GuardFacts) -> WithheldFacts:
    """Add a few of the removals, for ``status``: the drafts of a withheld run are discarded."""

    def ids(query: Query) -> tuple[int, ...]:
        return tuple(connection.execute(query).scalars())

    return WithheldFacts(
        **msgspec.structs.asdict(facts),
        examples={area.name: ids(pick_removed(new, area)) for area in AREAS},
        missing_examples=ids(pick_missing(new)),
    )


def accepted_facts(connection: Connection, handle: RunHandle) -> GuardFacts | None:
    """The facts of the last run of this kind, if it was withheld."""
    last = connection.execute(
        sa.select(run)
        .where(
            run.c.run_id < handle.run_id,
            # Removals accepted for a backfill do not apply to a sync.
            run.c.kind == handle.kind,
            run.c.status.in_([RunStatus.PUBLISHED, RunStatus.WITHHELD]),
        )
        .order_by(run.c.run_id.desc())
        .limit(1)
    ).one_or_none()
    # After a newer publication, the accepted counts no longer describe the published state.
    if last is None or last.status != RunStatus.WITHHELD or last.guard is None:
        return None
    return msgspec.json.decode(last.guard, type=GuardFacts)


# The queries


def count_reads(new: NewPublication) -> Query:
    """Count reads by area and state, and the records of complete ones.

    ``not_repeated`` reads are unconfirmed, and no second one was made.
    """
    state = draft_area.c.state
    records = sa.case((state == COMPLETE, draft_area.c.record_count), else_=0)
    is_not_repeated = sa.and_(state == UNCONFIRMED, draft_area.c.failure_kind.is_(None))
    return (
        sa.select(
            draft_area.c.area,
            sa.func.count().label("attempted"),
            count_if(state == COMPLETE).label("complete"),
            sa.func.sum(records).label("records"),
            count_if(state == UNCONFIRMED).label("unconfirmed"),
            count_if(is_not_repeated).label("not_repeated"),
        )
        .where(draft_area.c.run_id == new.run_id)
        .group_by(draft_area.c.area)
    )


def count_persons(new: NewPublication) -> Query:
    """Count persons with a read, and persons with only complete reads."""
    # MIN over a person's areas is 1 only if all of them are complete.
    is_complete = sa.func.min(sa.case((draft_area.c.state == COMPLETE, 1), else_=0))
    by_person = (
        sa.select(is_complete.label("is_complete"))
        .where(draft_area.c.run_id == new.run_id)
        .group_by(draft_area.c.person_id)
        .subquery()
    )
    complete = count_if(by_person.c.is_complete == 1)
    return sa.select(sa.func.count().label("persons"), complete.label("complete")).select_from(
        by_person
    )


def is_newly_missing(new: NewPublication) -> sa.ColumnElement[bool]:
    """Whether a person is missing for the first time in this full run. Never true in a backfill."""
    if not new.is_sync:
        return sa.false()
    if new.marks_missed:
        return person.c.missed_no == new.number
    # A run with an unreadable roster line marks no persons, so the drafts decide. The person of the
    # line has none, and counts as missing. Drafts of an earlier attempt do not count, because their
    # persons may have left the roster since.
    was_seen = sa.exists().where(has_draft(new), draft.c.pass_no >= new.first_pass_no)
    is_first = sa.and_(person.c.missed_no.is_(None), person.c.departed_no.is_(None))
    return sa.and_(is_first, ~was_seen)


def count_newly_missing(new: NewPublication) -> Query:
    """Count the persons missing for the first time in this full run."""
    return sa.select(sa.func.count().label("missing")).where(is_newly_missing(new))


def count_all_missing(new: NewPublication) -> Query:
    """Count the persons missing after this publication: marked, and not on its roster."""
    # The marks of persons on the roster are cleared later (``unmark_missed_persons``).
    is_marked = sa.and_(person.c.missed_no.is_not(None), person.c.departed_no.is_(None))
    is_on_roster = sa.exists().where(has_draft(new))
    return sa.select(sa.func.count()).select_from(person).where(is_marked, ~is_on_roster)


def _changes_of(new: NewPublication, area: ResourceArea) -> tuple[Query, ...]:
    """The changes of an area, and the closings of its departing and missing persons.

    The guard counts a person once, when the person is first missing. Persons departing now were
    counted in that earlier run, so ``closes`` is false for them.
    """
    changes, versions = CHANGES[area.name].c, VERSIONS[area.name].c
    drafted = sa.select(
        changes.op, changes.person_id, changes.closes, changes.loses, changes.version_id
    ).where(changes.run_id == new.run_id)
    departing = (
        sa.select(
            sa.literal(Op.CLOSE.value),
            versions.person_id,
            sa.false(),
            sa.false(),
            versions.version_id,
        )
        .join(person, person.c.person_id == versions.person_id)
        .where(versions.closed_no.is_(None), person.c.departed_no == new.number)
    )
    missing = (
        sa.select(
            sa.literal(_MISSING), versions.person_id, sa.true(), sa.false(), versions.version_id
        )
        .join(person, person.c.person_id == versions.person_id)
        # Counted as closed already: after the next full roster it would be too late to withhold.
        .where(versions.closed_no.is_(None), is_newly_missing(new))
    )
    return drafted, departing, missing


def count_changes(new: NewPublication, *areas: ResourceArea) -> Query:
    """Count insertions, updates, closings and lost values of these areas, and their persons."""
    parts = [query for area in areas for query in _changes_of(new, area)]
    changed = sa.union_all(*parts).subquery("changed").c
    return sa.select(
        count_if(changed.op == Op.INSERT).label("rows_opened"),
        count_if(changed.op == Op.UPDATE).label("rows_changed"),
        count_if(changed.op == Op.CLOSE).label("rows_closed"),
        count_if(changed.closes).label("removed"),
        _persons_if(changed.closes, changed).label("persons_affected"),
        count_if(changed.op == _MISSING).label("removed_with_missing"),
        count_if(changed.loses).label("lost"),
        _persons_if(changed.loses, changed).label("persons_losing"),
    )


def pick_removed(new: NewPublication, area: ResourceArea) -> Query:
    """Select a few versions that are removed or lose a value, each of a different person."""
    changed = sa.union_all(*_changes_of(new, area)).subquery("changed").c
    return (
        sa.select(sa.func.min(changed.version_id))
        .where(sa.or_(changed.closes, changed.loses))
        # One restriction of each person, so that the examples show whether one person or many are
        # affected.
        .group_by(changed.person_id)
        .order_by(_spread(changed.person_id))
        .limit(_EXAMPLES)
    )


def pick_missing(new: NewPublication) -> Query:
    """Select a few persons missing for the first time in this full run."""
    missing = sa.select(person.c.person_id).where(is_newly_missing(new))
    return missing.order_by(_spread(person.c.person_id)).limit(_EXAMPLES)


def _spread(person_id: sa.ColumnElement[int]) -> sa.ColumnElement[int]:
    """An order that spreads neighbours, because the first lines of a roster may be one clinic."""
    # A fixed order, not a random one, so that equal runs show equal examples.
    return person_id * 7919 % 10007


def _persons_if(condition: sa.ColumnElement[bool], rows: Any) -> sa.ColumnElement[int]:
    return sa.func.count(sa.case((condition, rows.person_id)).distinct())


def count_open(area: ResourceArea) -> Query:
    """Count the open restrictions of an area before this publication."""
    return sa.select(sa.func.count()).where(VERSIONS[area.name].c.closed_no.is_(None))


def count_all_open() -> Query:
    """Count the open restrictions of all areas before this publication, and their persons."""
    return _count_rows_and_persons([_open_persons(area) for area in AREAS])


def count_read_open(new: NewPublication) -> Query:
    """Like ``count_all_open``, but only for the areas that this run has read of each person."""
    return _count_rows_and_persons(
        [
            _open_persons(area).where(
                sa.exists().where(
                    draft_area.c.run_id == new.run_id,
                    draft_area.c.person_id == VERSIONS[area.name].c.person_id,
                    draft_area.c.area == area.name,
                )
            )
            for area in AREAS
        ]
    )


def _open_persons(area: ResourceArea) -> Query:
    versions = VERSIONS[area.name].c
    return sa.select(versions.person_id).where(versions.closed_no.is_(None))


def _count_rows_and_persons(opened: Sequence[Query]) -> Query:
    rows = sa.union_all(*opened).subquery("opened")
    persons = sa.func.count(rows.c.person_id.distinct())
    return sa.select(
        sa.func.count().label("open_before"), persons.label("holders_before")
    ).select_from(rows)


def count_holders(new: NewPublication, area: ResourceArea) -> Query:
    """Count the requested persons with an open restriction in an area, and their complete reads."""
    complete = count_if(draft_area.c.state == COMPLETE)
    return sa.select(sa.func.count().label("holders"), complete.label("holders_complete")).where(
        draft_area.c.run_id == new.run_id,
        draft_area.c.area == area.name,
        draft_area.c.person_id.in_(_open_persons(area)),
    )


def count_persons_before(new: NewPublication) -> Query:
    """Count the persons before this publication, without departed ones."""
    # The departures of this publication are marked already.
    is_here = sa.or_(person.c.departed_no.is_(None), person.c.departed_no == new.number)
    return sa.select(sa.func.count()).select_from(person).where(is_here)


def count_syncs(area: ResourceArea) -> Query:
    """Count the published full runs of an area."""
    is_published_sync = sa.and_(run.c.kind == "sync", run.c.status == "published")
    return sa.select(sa.func.count()).where(is_published_sync, reads_area(area))
