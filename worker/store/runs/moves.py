"""Restrictions that move to another identifier of the same person (D-number to fødselsnummer)."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Select, Table, and_, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.elements import ColumnElement

from worker.core.confirmation import Removed
from worker.core.model import FailureKind
from worker.store.dialects import member, members
from worker.store.queries.published import is_anything_published, open_as_published
from worker.store.runs.undo import undo_persons
from worker.store.schema.tables import (
    VERSIONS,
    alias_of,
    area_key,
    failure,
    person,
    person_area,
    run,
)

_HOLDERS_OF_ONE: Final = 2
"""A person has two identifiers at most: a D-number, and then a fødselsnummer."""


async def unmoved_areas(connection: AsyncConnection, run_id: int) -> Mapping[str, bool]:
    """Areas in which nothing can have moved; True: because their keys do not name one restriction.

    A key that three persons hold at once in the published state begins anew for each of them. A key
    of several parts names a thing, which two persons may have (a requisition of mother and child).
    In a usual night the run shows no key that another person has or had: nothing has moved then,
    and no keys need be counted.
    """
    of_parts = select(area_key.c.area).where(area_key.c.key_path.contains("+"))
    unmoved = dict.fromkeys((await connection.execute(of_parts)).scalars(), True)
    if not await is_anything_published(connection):
        return unmoved
    for name, table in VERSIONS.items():
        if name in unmoved:
            continue
        if not await _is_any_key_of_another(connection, table, run_id):
            unmoved[name] = False
            continue
        key = table.c.restriction_id
        held = open_as_published(table).with_only_columns(key).group_by(key)
        held = held.having(func.count() > _HOLDERS_OF_ONE)
        # Counted: for the first alone, PostgreSQL would read all rows in the order of an index.
        counted = select(func.count()).select_from(held.subquery())
        if (await connection.execute(counted)).scalar_one():
            unmoved[name] = True
    return unmoved


async def _is_any_key_of_another(connection: AsyncConnection, table: Table, run_id: int) -> bool:
    """Whether the run shows a restriction for a person under the key of another's, open or not."""
    new, old = alias_of(table, "new"), alias_of(table, "old")
    pair = (
        select(new.c.version_id)
        .join(old, old.c.restriction_id == new.c.restriction_id)
        .where(new.c.opened_run == run_id, old.c.person_id != new.c.person_id)
    )
    return (await connection.execute(pair.limit(1))).first() is not None


async def close_moved(
    connection: AsyncConnection,
    run_id: int,
    others: Sequence[int],
    unmoved: Collection[str],
) -> None:
    """Close under the old identifier what this run opened under another.

    It is closed only if this run asked for the old person's area and could not read it. If the area
    was read completely, that read's own proof decides, so the order in which the two persons are
    read does not matter; if the area was not asked for, as in a backfill of others, nothing is
    known; if its two reads contradicted each other, one of them still had it. What the new person
    must look like says ``is_taken_over``.

    Args:
        unmoved: areas in which nothing has moved (``unmoved_areas``).
        others: other open runs. What they wrote for persons that lose a restriction here is undone,
            as for every person that this run decides on.
    """
    if not await is_anything_published(connection):
        return  # a first run opens millions of rows, and nothing can have moved
    for name, table in VERSIONS.items():
        if name in unmoved:
            continue
        new, old, opened = alias_of(table, "new"), alias_of(table, "old"), alias_of(run, "opened")
        moved = (
            select(old.c.version_id, old.c.person_id)
            .join(new, new.c.restriction_id == old.c.restriction_id)
            .join(opened, opened.c.run_id == old.c.opened_run)
            .where(
                is_taken_over(table, new, run_id),
                or_(old.c.closed_run.is_(None), old.c.closed_run.in_(others)),
                old.c.person_id != new.c.person_id,
                opened.c.publication_no.is_not(None),
                has_failed(old, name, run_id),
                ~_is_unstable(old, name, run_id),
            )
        )
        if others:
            persons = sorted({row.person_id for row in await connection.execute(moved)})
            for other in others if persons else ():
                await undo_persons(connection, other, persons)
        await _forget_digests(connection, name, moved.with_only_columns(old.c.person_id))
        ids = moved.with_only_columns(old.c.version_id)
        await connection.execute(
            update(table).where(table.c.version_id.in_(ids)).values(closed_run=run_id)
        )
        await _carry_first_seen(connection, table, run_id)


async def gone_claims(
    connection: AsyncConnection,
    claimed: Mapping[str, Removed],
    *,
    run_id: int,
    unmoved: Collection[str],
) -> Mapping[str, int]:
    """By person key, how many restrictions to be closed no other person has taken over.

    Args:
        claimed: by person key, published restrictions that the person is about to lose.
        unmoved: areas in which nothing has moved (``unmoved_areas``).
    """
    holders: dict[tuple[str, str], set[str]] = defaultdict(set)
    for name, table in VERSIONS.items():
        keys = sorted({key for gone in claimed.values() for area, key in gone if area == name})
        if not keys or name in unmoved:
            continue
        rows = await connection.execute(
            select(table.c.restriction_id, person.c.person_key)
            .join(person, person.c.person_id == table.c.person_id)
            .where(
                member(table.c.restriction_id),
                is_taken_over(table, table, run_id, by_key=True),
            ),
            members(keys),
        )
        for key, person_key in rows:
            holders[name, key].add(person_key)
    left = {
        person_key: sum(not holders[restriction] - {person_key} for restriction in gone)
        for person_key, gone in claimed.items()
    }
    return {person_key: count for person_key, count in left.items() if count}


async def _forget_digests(
    connection: AsyncConnection, area: str, persons: Select[tuple[int]]
) -> None:
    """Clear the digests: the open rows no longer equal the last complete read."""
    await connection.execute(
        update(person_area)
        .where(person_area.c.area == area, person_area.c.person_id.in_(persons))
        .values(digest=None)
    )


def counterpart(table: Table, version: Any, column: str, run_id: int) -> ColumnElement[bool]:
    """Whether the run opened or closed another version of the same restriction and person.

    With ``closed_run``, the version replaces one; with ``opened_run``, it was replaced.
    """
    other = alias_of(table, "counterpart")
    return (
        select(other.c.version_id)
        .where(
            other.c[column] == run_id,
            other.c.restriction_id == version.c.restriction_id,
            other.c.person_id == version.c.person_id,
        )
        .correlate(version)
        .exists()
    )


def is_taken_over(
    table: Table, version: Any, run_id: int, *, by_key: bool = False
) -> ColumnElement[bool]:
    """Whether this version shows that a restriction came to its person from one other.

    The run opened it for a person who did not have it, for nobody else besides, and the person got
    nothing that a second one held. One answer with restrictions of many, or an id that comes up in
    two places at once, was not about one person.

    Args:
        by_key: the query names the restriction, so that its few rows are to be looked at and not
            all that the run opened.
    """
    rival = alias_of(table, "rival")
    comes_up_twice = (
        select(rival.c.version_id)
        .where(
            rival.c.restriction_id == version.c.restriction_id,
            rival.c.person_id != version.c.person_id,
            _opened_by(rival, run_id),
            rival.c.closed_run.is_(None),
            ~counterpart(table, rival, "closed_run", run_id),
        )
        .correlate(version)
        .exists()
    )
    return and_(
        _opened_by(version, run_id) if by_key else version.c.opened_run == run_id,
        version.c.closed_run.is_(None),
        ~counterpart(table, version, "closed_run", run_id),
        ~comes_up_twice,
        version.c.person_id.not_in(takers(table, run_id, of_at_least=2)),
    )


def _opened_by(version: Any, run_id: int) -> ColumnElement[bool]:
    """The run opened it; a condition that no index serves.

    SQLite takes the index of the run for no worse than that of the key, and looks through all that
    the run opened for each row that it opened.
    """
    found: ColumnElement[bool] = version.c.opened_run + 0 == run_id
    return found


def takers(table: Table, run_id: int, *, of_at_least: int) -> Select[tuple[int]]:
    """Persons who got, in this run, restrictions that so many others held before it."""
    new, old, opened = alias_of(table, "taken"), alias_of(table, "held"), alias_of(run, "first")
    return (
        select(new.c.person_id)
        .join(old, old.c.restriction_id == new.c.restriction_id)
        .join(opened, opened.c.run_id == old.c.opened_run)
        .where(
            new.c.opened_run == run_id,
            new.c.closed_run.is_(None),
            old.c.person_id != new.c.person_id,
            opened.c.publication_no.is_not(None),
            or_(old.c.closed_run.is_(None), old.c.closed_run.in_(_unpublished_runs())),
            ~counterpart(table, new, "closed_run", run_id),
        )
        .group_by(new.c.person_id)
        .having(func.count(old.c.person_id.distinct()) >= of_at_least)
    )


def _unpublished_runs() -> Select[tuple[int]]:
    return select(run.c.run_id).where(run.c.publication_no.is_(None))


def has_failed(row: Any, area: str, run_id: int) -> ColumnElement[bool]:
    """Whether the run asked for this row's person and area, and could not read it."""
    return (
        select(person_area.c.person_id)
        .where(
            person_area.c.person_id == row.c.person_id,
            person_area.c.area == area,
            person_area.c.run_id == run_id,
            ~person_area.c.is_complete,
        )
        .exists()
    )


def _is_unstable(row: Any, area: str, run_id: int) -> ColumnElement[bool]:
    return (
        select(failure.c.person_id)
        .where(
            failure.c.person_id == row.c.person_id,
            failure.c.area == area,
            failure.c.last_run == run_id,
            failure.c.kind == FailureKind.UNSTABLE,
        )
        .exists()
    )


async def _carry_first_seen(connection: AsyncConnection, table: Table, run_id: int) -> None:
    """Give a moved restriction the time when it was first seen under the old identifier."""
    old = alias_of(table, "old")
    is_removed = (old.c.closed_run == run_id, ~counterpart(table, old, "opened_run", run_id))
    since = (
        select(func.min(old.c.first_seen_at))
        .where(
            *is_removed,
            old.c.restriction_id == table.c.restriction_id,
            old.c.person_id != table.c.person_id,
        )
        .scalar_subquery()
    )
    await connection.execute(
        update(table)
        .where(
            table.c.opened_run == run_id,
            table.c.restriction_id.in_(select(old.c.restriction_id).where(*is_removed)),
            ~counterpart(table, table, "closed_run", run_id),
            since < table.c.first_seen_at,
        )
        .values(first_seen_at=since)
    )
