"""Queries for the drafts of a run, and for the published state that reads are compared with."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.core.area import AREAS, ResourceArea
from worker.core.diff import StoredVersion, Unconfirmed
from worker.core.model import FirstRead
from worker.core.run import AreaDraft, FailureCount, Pass, PersonDraft
from worker.core.value import Value
from worker.errors import FailureKind
from worker.store.dialects import is_any_of
from worker.store.schema.tables import UNCONFIRMED, VERSIONS, draft, draft_area, person, person_area


class StoredPerson(Value, frozen=True, kw_only=True):
    """A person as published, and as the run has read them.

    Attributes:
        is_new: no publication has the person.
        local_ref, cohort: as published.
        digests: by area, the digest of the open restrictions.
        draft: the reads of this run.
    """

    person_id: int
    is_new: bool = False
    local_ref: str | None = None
    cohort: str | None = None
    digests: Mapping[str, str | None] = {}
    draft: PersonDraft | None = None


async def find_persons(
    connection: AsyncConnection,
    person_keys: Iterable[str],
    *,
    run_id: int,
    only_drafted: bool = False,
) -> dict[str, StoredPerson]:
    """The persons of a publication or of this run, by their key. Unknown keys are omitted.

    Args:
        only_drafted: only persons read or seen by this run, without published digests.
    """
    areas = () if only_drafted else AREAS
    persons = _persons(connection.dialect.name, areas, only_drafted=only_drafted)
    parameters = {"in_run": run_id, "person_keys": [*frozenset(person_keys)]}
    rows = (await connection.execute(persons, parameters)).all()
    # The outer join leaves `pass_no` NULL for a person that this run has not seen yet.
    drafted = {row.person_id: row for row in rows if row.pass_no is not None}
    drafts = await _drafts(connection, run_id, drafted)
    return {
        row.person_key: StoredPerson(
            person_id=row.person_id,
            is_new=row.is_new,
            local_ref=row.local_ref,
            cohort=row.cohort,
            digests={area.name: getattr(row, area.table) for area in areas},
            draft=drafts.get(row.person_id),
        )
        for row in rows
    }


@cache
def _persons(
    dialect: str, areas: tuple[ResourceArea, ...], *, only_drafted: bool
) -> sa.CompoundSelect[Any]:
    """Published persons with their drafts, and persons read only by the run.

    Each area has a column with its published digest. One statement reads them all, because a
    statement costs more than its rows.
    """
    is_of_run = draft.c.run_id == sa.bindparam("in_run")
    has_draft = sa.and_(is_of_run, draft.c.person_id == person.c.person_id)
    rows = person.join(draft, has_draft, isouter=not only_drafted)
    digests = []
    for area in areas:
        # One alias for each area, so that the digests of all areas are in the person's row.
        row = person_area.alias()
        is_of_area = sa.and_(row.c.person_id == person.c.person_id, row.c.area == area.name)
        rows = rows.outerjoin(row, is_of_area)
        digests.append(row.c.digest.label(area.table))
    published = (
        sa.select(
            person.c.person_key,
            person.c.person_id,
            sa.false().label("is_new"),
            person.c.local_ref,
            person.c.cohort,
            draft.c.pass_no,
            draft.c.cohort.label("drafted_cohort"),
            *digests,
        )
        .select_from(rows)
        .where(is_any_of(dialect, person.c.person_key, "person_keys"))
    )
    unpublished = sa.select(
        draft.c.person_key,
        draft.c.person_id,
        sa.true(),
        sa.null(),
        sa.null(),
        draft.c.pass_no,
        draft.c.cohort,
        *(sa.null() for _ in digests),
    ).where(is_of_run, draft.c.is_new, is_any_of(dialect, draft.c.person_key, "person_keys"))
    # No duplicates: a new person has no row in ``person`` before this run is published.
    return published.union_all(unpublished)


async def _drafts(
    connection: AsyncConnection, run_id: int, drafted: Mapping[int, Any]
) -> Mapping[int, PersonDraft]:
    """The drafts of persons.

    Args:
        drafted: rows of ``_persons`` by person.
    """
    areas: dict[int, dict[str, AreaDraft]] = defaultdict(dict)
    if drafted:
        parameters = {"in_run": run_id, "person_ids": [*drafted]}
        for row in await connection.execute(_draft_areas(connection.dialect.name), parameters):
            areas[row.person_id][row.area] = _area_draft(row)
    return {
        person_id: PersonDraft(
            pass_no=row.pass_no, cohort=row.drafted_cohort, areas=areas[person_id]
        )
        for person_id, row in drafted.items()
    }


@cache
def _draft_areas(dialect: str) -> sa.Select[Any]:
    names = ("person_id", "area", "state", "read_at", "record_count", "digest", "ids_digest")
    columns = [draft_area.c[name] for name in (*names, "failure_kind", "retry_at")]
    is_requested = is_any_of(dialect, draft_area.c.person_id, "person_ids")
    return sa.select(*columns).where(draft_area.c.run_id == sa.bindparam("in_run"), is_requested)


def _area_draft(row: Any) -> AreaDraft:
    first = None
    # A failed second read changes only the failure columns, so the first read can still be
    # confirmed.
    if row.state == UNCONFIRMED:
        digest, ids_digest = bytes.fromhex(row.digest), bytes.fromhex(row.ids_digest)
        read = FirstRead(read_at=row.read_at, record_count=row.record_count, digest=digest)
        first = Unconfirmed(read=read, ids=ids_digest)
    failure = FailureKind(row.failure_kind) if row.failure_kind else None
    return AreaDraft(
        records=row.record_count or 0, first=first, failure=failure, retry_at=row.retry_at
    )


async def open_versions(
    connection: AsyncConnection, area: ResourceArea, person_ids: Sequence[int]
) -> Mapping[int, Sequence[StoredVersion]]:
    """The open versions of an area, by person."""
    stored: dict[int, list[StoredVersion]] = defaultdict(list)
    names = [column.name for column in area.columns]
    if person_ids:
        rows = await connection.execute(
            _open_versions(connection.dialect.name, area.name), {"person_ids": person_ids}
        )
        for row in rows.mappings():
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


@cache
def _open_versions(dialect: str, area: str) -> sa.Select[Any]:
    versions = VERSIONS[area].c
    is_requested = is_any_of(dialect, versions.person_id, "person_ids")
    return sa.select(*versions).where(is_requested, versions.closed_no.is_(None))


async def find_open_ids(
    connection: AsyncConnection, area: ResourceArea, restriction_ids: Sequence[str]
) -> frozenset[str]:
    """The requested restriction ids that are open in the published state, of any person."""
    if not restriction_ids:
        return frozenset()
    statement = _open_ids(connection.dialect.name, area.name)
    rows = await connection.execute(statement, {"restriction_ids": restriction_ids})
    return frozenset(rows.scalars())


@cache
def _open_ids(dialect: str, area: str) -> sa.Select[Any]:
    versions = VERSIONS[area].c
    is_requested = is_any_of(dialect, versions.restriction_id, "restriction_ids")
    return sa.select(versions.restriction_id).where(is_requested, versions.closed_no.is_(None))


async def count_due(connection: AsyncConnection, run_id: int, pass_: Pass) -> int:
    """The number of persons with an area that a second or third pass reads (``Pass.due``)."""
    read = draft_area.c
    # The conditions of `Pass.due` in SQL, so that a pass without work does not stream the roster.
    is_unconfirmed = sa.and_(read.state == UNCONFIRMED, read.failure_kind.is_(None))
    is_over = sa.or_(read.retry_at.is_(None), read.retry_at <= pass_.begins_at)
    is_repeated = sa.or_(read.area.in_(sorted(pass_.outages)), is_over)
    is_failed = sa.and_(read.failure_kind != FailureKind.UNSTABLE, is_repeated)
    has_draft = sa.and_(draft.c.run_id == read.run_id, draft.c.person_id == read.person_id)
    persons = (
        sa.select(sa.func.count(read.person_id.distinct()))
        .join(draft, has_draft)
        .where(
            read.run_id == run_id,
            read.area.in_(pass_.areas),
            # The pass itself raises this number, so that it reads each person once.
            draft.c.pass_no < pass_.pass_no,
            sa.or_(is_unconfirmed, is_failed),
        )
    )
    return int((await connection.execute(persons)).scalar_one())


async def count_failures(connection: AsyncConnection, *, run_id: int) -> Sequence[FailureCount]:
    """The failed reads of a run by area, kind and reason, most frequent first."""
    read = draft_area.c
    persons = sa.func.count().label("persons")
    key = (read.area, read.failure_kind.label("kind"), read.failure_reason.label("reason"))
    counts = (
        sa.select(*key, persons)
        .where(read.run_id == run_id, read.failure_kind.is_not(None))
        .group_by(read.area, read.failure_kind, read.failure_reason)
        .order_by(persons.desc(), read.area, read.failure_reason)
    )
    rows = (await connection.execute(counts)).mappings()
    return [FailureCount(**{**row, "kind": FailureKind(row["kind"])}) for row in rows]


async def answered_areas(
    connection: AsyncConnection, *, run_id: int
) -> tuple[frozenset[str], frozenset[str]]:
    """The areas with a complete read, in a publication or in this run.

    Returns:
        The areas with any complete read, and the areas with a read that contained a record.
    """
    answered, with_record = set[str](), set[str]()
    for name, version in VERSIONS.items():
        is_drafted = sa.and_(draft_area.c.run_id == run_id, draft_area.c.area == name)
        is_confirmed = sa.and_(person_area.c.area == name, person_area.c.confirmed_no.is_not(None))
        # EXISTS stops at the first row: the tables have one for each person.
        evidence = sa.select(
            sa.or_(
                sa.exists().where(is_confirmed),
                sa.exists().where(is_drafted, draft_area.c.pages.is_not(None)),
            ),
            sa.or_(
                # A closed version counts, too, because an earlier response contained it.
                sa.exists(sa.select(version.c.version_id)),
                sa.exists().where(is_drafted, draft_area.c.record_count > 0),
            ),
        )
        is_answered, has_record = (await connection.execute(evidence)).one()
        if is_answered:
            answered.add(name)
        if has_record:
            with_record.add(name)
    return frozenset(answered), frozenset(with_record)
