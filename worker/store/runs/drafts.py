"""The drafts of a run: finds and writes what it has read of persons, not published."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TypeVar

from sqlalchemy import (
    CompoundSelect,
    and_,
    bindparam,
    case,
    delete,
    false,
    func,
    insert,
    literal,
    null,
    select,
    true,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.core.area import ResourceArea
from worker.core.diff import StoredVersion, Unconfirmed
from worker.core.model import CompleteArea, FirstRead, PersonRead
from worker.core.record import LEDGER_DRIFT_MAX
from worker.core.run import RunHandle
from worker.core.value import Value
from worker.store.dialects import upsert
from worker.store.schema.tables import (
    CHANGES,
    COMPLETE,
    FAILED,
    UNCONFIRMED,
    VERSIONS,
    draft,
    draft_area,
    drift,
    person,
    person_area,
    run,
    store_identity,
)

_KEYS_MAX: Final = 1_000
"""Keys in one IN list. SQLite and PostgreSQL allow thirty times as many parameters."""

T = TypeVar("T")


class StoredPerson(Value, frozen=True, kw_only=True):
    """A person as published, and as the run has read them.

    Attributes:
        is_new: no publication has the person.
        local_ref, cohort: as published.
        attempt: the last attempt at the run that saw the person on the roster; None: no draft.
        digests: by area, the digest of the open restrictions.
        states: by area, the state of the run's read.
        unconfirmed: by area, the first read that waits for its second.
    """

    person_id: int
    is_new: bool = False
    local_ref: str | None = None
    cohort: str | None = None
    attempt: int | None = None
    digests: Mapping[str, str | None] = {}
    states: Mapping[str, str] = {}
    unconfirmed: Mapping[str, Unconfirmed] = {}

    def settled(self, attempt: int) -> frozenset[str]:
        """The areas that need no first read by this attempt."""
        is_own = self.attempt == attempt
        return frozenset(
            area
            for area, state in self.states.items()
            if state in {COMPLETE, UNCONFIRMED} or (state == FAILED and is_own)
        )


async def find_persons(
    connection: AsyncConnection,
    person_keys: Iterable[str],
    *,
    run_id: int,
    is_drafted: bool = False,
) -> dict[str, StoredPerson]:
    """The persons of a publication or of this run, by their key. Others are left out.

    Args:
        is_drafted: only persons whom this run has read or seen, without published digests.
    """
    rows = []
    for keys in parts(list(dict.fromkeys(person_keys))):
        rows += (await connection.execute(_persons(run_id, keys, is_drafted=is_drafted))).all()
    published = [] if is_drafted else [row.person_id for row in rows if not row.is_new]
    digests = await _published_digests(connection, published)
    reads = await _reads(connection, run_id, [row.person_id for row in rows if row.attempt])
    return {
        row.person_key: StoredPerson(
            person_id=row.person_id,
            is_new=row.is_new,
            local_ref=row.local_ref,
            cohort=row.cohort,
            attempt=row.attempt,
            digests=digests.get(row.person_id, {}),
            **reads.get(row.person_id, {}),
        )
        for row in rows
    }


def _persons(run_id: int, person_keys: Sequence[str], *, is_drafted: bool) -> CompoundSelect[Any]:
    """Published persons with their drafts, and persons whom only this run has read."""
    has_draft = and_(draft.c.run_id == run_id, draft.c.person_id == person.c.person_id)
    published = (
        select(
            person.c.person_key,
            person.c.person_id,
            false().label("is_new"),
            person.c.local_ref,
            person.c.cohort,
            draft.c.attempt,
        )
        .join_from(person, draft, has_draft, isouter=not is_drafted)
        .where(person.c.person_key.in_(person_keys))
    )
    unpublished = select(
        draft.c.person_key, draft.c.person_id, true(), null(), null(), draft.c.attempt
    ).where(draft.c.run_id == run_id, draft.c.is_new, draft.c.person_key.in_(person_keys))
    return published.union_all(unpublished)


async def _published_digests(
    connection: AsyncConnection, person_ids: Sequence[int]
) -> Mapping[int, Mapping[str, str | None]]:
    """The digest of each area's open restrictions, by person."""
    digests: dict[int, dict[str, str | None]] = defaultdict(dict)
    for ids in parts(person_ids):
        rows = select(person_area.c.person_id, person_area.c.area, person_area.c.digest)
        for row in await connection.execute(rows.where(person_area.c.person_id.in_(ids))):
            digests[row.person_id][row.area] = row.digest
    return digests


async def _reads(
    connection: AsyncConnection, run_id: int, person_ids: Sequence[int]
) -> Mapping[int, Mapping[str, Mapping[str, Any]]]:
    """The states and unconfirmed reads of ``StoredPerson``, by person."""
    reads: dict[int, dict[str, dict[str, Any]]] = {}
    columns = draft_area.c["person_id", "area", "state", "read_at", "record_count", "digest"]
    for ids in parts(person_ids):
        rows = select(*columns, draft_area.c.ids_digest).where(
            draft_area.c.run_id == run_id, draft_area.c.person_id.in_(ids)
        )
        for row in await connection.execute(rows):
            read = reads.setdefault(row.person_id, {"states": {}, "unconfirmed": {}})
            read["states"][row.area] = row.state
            if row.state == UNCONFIRMED:
                first = FirstRead(
                    read_at=row.read_at,
                    record_count=row.record_count,
                    digest=bytes.fromhex(row.digest),
                )
                ids_digest = bytes.fromhex(row.ids_digest)
                read["unconfirmed"][row.area] = Unconfirmed(read=first, ids=ids_digest)
    return reads


async def open_versions(
    connection: AsyncConnection, area: ResourceArea, person_ids: Sequence[int]
) -> Mapping[int, Sequence[StoredVersion]]:
    """The open versions of an area, by person."""
    versions = VERSIONS[area.name].c
    stored: dict[int, list[StoredVersion]] = defaultdict(list)
    names = [column.name for column in area.columns]
    for ids in parts(person_ids):
        rows = select(*versions).where(versions.person_id.in_(ids), versions.closed_no.is_(None))
        for row in (await connection.execute(rows)).mappings():
            stored[row["person_id"]].append(
                StoredVersion(
                    version_id=row["version_id"],
                    key=row["restriction_id"],
                    content_hash=row["content_hash"],
                    first_seen_at=row["first_seen_at"],
                    columns=tuple(row[name] for name in names),
                    extra=row["extra"],
                )
            )
    return stored


async def find_holders(
    connection: AsyncConnection, area: ResourceArea, restriction_ids: Sequence[str]
) -> Mapping[str, frozenset[int]]:
    """The persons with a published open restriction of this id, by its id."""
    versions = VERSIONS[area.name].c
    holders: dict[str, set[int]] = defaultdict(set)
    for ids in parts(restriction_ids):
        rows = select(versions.restriction_id, versions.person_id).where(
            versions.restriction_id.in_(ids), versions.closed_no.is_(None)
        )
        for restriction_id, person_id in await connection.execute(rows):
            holders[restriction_id].add(person_id)
    return {restriction_id: frozenset(persons) for restriction_id, persons in holders.items()}


async def count_unconfirmed(connection: AsyncConnection, *, run_id: int) -> int:
    """The number of persons with an area that waits for a second read."""
    persons = select(func.count(draft_area.c.person_id.distinct())).where(
        draft_area.c.run_id == run_id, draft_area.c.state == UNCONFIRMED
    )
    return int((await connection.execute(persons)).scalar_one())


# Write


async def take_person_ids(connection: AsyncConnection, count: int) -> range:
    """Ids for persons who have none yet."""
    last_id = store_identity.c.last_person_id
    taken = update(store_identity).values(last_person_id=last_id + count).returning(last_id)
    last = (await connection.execute(taken)).scalar_one()
    return range(last - count + 1, last + 1)


async def write_drafts(
    connection: AsyncConnection, handle: RunHandle, rows: Sequence[Mapping[str, Any]]
) -> None:
    """Write the drafts of persons.

    A person who has one keeps its labels: of two roster lines with one person, the first counts.
    """
    last_no = select(func.coalesce(func.max(run.c.publication_no), 0)).scalar_subquery()
    added = upsert(connection.dialect.name, draft).values(
        run_id=handle.run_id, attempt=handle.attempt, compared_no=last_no
    )
    written = added.on_conflict_do_update(
        index_elements=[draft.c.run_id, draft.c.person_id],
        set_={"attempt": added.excluded.attempt},
    )
    await _execute_many(connection, written, rows)


async def write_draft_areas(connection: AsyncConnection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write reads of areas, in place of earlier reads of the same areas in the run."""
    added = upsert(connection.dialect.name, draft_area)
    key = draft_area.primary_key.columns
    replaced = {column.name: column for column in added.excluded if column.name not in key}
    written = added.on_conflict_do_update(index_elements=[*key], set_=replaced)
    await _execute_many(connection, written, rows)


async def replace_changes(
    connection: AsyncConnection,
    handle: RunHandle,
    area: ResourceArea,
    person_ids: Sequence[int],
    rows: Sequence[Mapping[str, Any]],
) -> None:
    """Write the changes of an area of these persons, in place of those of an earlier read."""
    changes = CHANGES[area.name]
    for ids in parts(person_ids):
        await connection.execute(
            delete(changes).where(changes.c.run_id == handle.run_id, changes.c.person_id.in_(ids))
        )
    await _execute_many(connection, insert(changes), rows)


async def mark_seen(
    connection: AsyncConnection, handle: RunHandle, persons: Sequence[Mapping[str, Any]]
) -> None:
    """Mark drafts as seen on the roster by this attempt, under today's labels.

    Args:
        persons: ``person_id``, ``local_ref`` and ``cohort`` of each.
    """
    seen = (
        update(draft)
        .where(draft.c.run_id == handle.run_id, draft.c.person_id == bindparam("seen_id"))
        .values(
            attempt=handle.attempt,
            local_ref=bindparam("seen_ref"),
            cohort=bindparam("seen_cohort"),
        )
    )
    rows = [
        {"seen_id": row["person_id"], "seen_ref": row["local_ref"], "seen_cohort": row["cohort"]}
        for row in persons
    ]
    await _execute_many(connection, seen, rows)


async def add_unread(
    connection: AsyncConnection, handle: RunHandle, person_ids: Sequence[int]
) -> None:
    """Add drafts without a read: the roster names these persons, and PTS is not asked."""
    names = ["person_id", "person_key", "local_ref", "cohort"]
    fixed = {"run_id": handle.run_id, "is_new": False, "attempt": handle.attempt, "compared_no": 0}
    for ids in parts(person_ids):
        named = select(*(person.c[name] for name in names), *map(literal, fixed.values()))
        added = upsert(connection.dialect.name, draft).from_select(
            [*names, *fixed], named.where(person.c.person_id.in_(ids))
        )
        await connection.execute(added.on_conflict_do_nothing())


async def count_drift(
    connection: AsyncConnection, reads: Sequence[PersonRead], *, run_id: int, now: datetime
) -> None:
    """Add up in how many records each undeclared field was seen.

    A field's count is that of the last run that saw it. It may be a batch too high, if a commit
    succeeded without an acknowledgement. Once an area has ``LEDGER_DRIFT_MAX`` fields, no further
    one is added.
    """
    records = Counter[tuple[str, str]]()
    for read in reads:
        for area in read.areas:
            if isinstance(area, CompleteArea):
                records.update({(area.area, field): n for field, n in area.drift.items()})
    if not records:
        return
    fields_stored = await connection.execute(select(drift.c.area, drift.c.field))
    stored = {(row.area, row.field) for row in fields_stored}
    fields = Counter(name for name, _ in stored)
    rows = []
    for (name, field), count in records.most_common(LEDGER_DRIFT_MAX):
        if (name, field) not in stored:
            fields[name] += 1
        if (name, field) in stored or fields[name] <= LEDGER_DRIFT_MAX:
            rows.append({"area": name, "field": field, "records": count})
    added = upsert(connection.dialect.name, drift).values(
        run_id=run_id, first_run=run_id, first_seen_at=now
    )
    before = case((drift.c.run_id == run_id, drift.c.records), else_=0)
    counted = added.on_conflict_do_update(
        index_elements=[drift.c.area, drift.c.field],
        set_={"run_id": run_id, "records": added.excluded.records + before},
    )
    await _execute_many(connection, counted, rows)


async def _execute_many(
    connection: AsyncConnection, statement: Any, rows: Sequence[Mapping[str, Any]]
) -> None:
    if rows:
        await connection.execute(statement, rows)


def parts(keys: Sequence[T]) -> Iterator[Sequence[T]]:
    """The keys in lists that fit into one statement."""
    for start in range(0, len(keys), _KEYS_MAX):
        yield keys[start : start + _KEYS_MAX]
