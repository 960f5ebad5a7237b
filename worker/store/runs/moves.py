"""Restrictions that move to another identifier of the same person (D-number to fødselsnummer)."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

from sqlalchemy import Select, Table, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.core.confirmation import Removed
from worker.store.dialects import member, members
from worker.store.queries.published import is_anything_published, open_as_published
from worker.store.runs.run_versions import RunVersions
from worker.store.runs.undo import undo_persons
from worker.store.schema.tables import VERSIONS, alias_of, area_key, person, person_area, run

_HOLDERS_OF_ONE: Final = 2
"""A person has two identifiers at most: a D-number, and then a fødselsnummer."""


async def versions_of_run(connection: AsyncConnection, run_id: int) -> Sequence[RunVersions]:
    """The versions of each area, and whether any restriction may have moved.

    A key that three persons hold at once in the published state begins anew for each of them. A key
    of several parts names a thing, which two persons may have (a requisition of mother and child).
    In a usual night the run shows no key that another person has or had: nothing has moved then,
    and no keys need be counted.
    """
    of_parts = select(area_key.c.area).where(area_key.c.key_path.contains("+"))
    named_by_parts = set((await connection.execute(of_parts)).scalars())
    is_compared = await is_anything_published(connection)
    found = []
    for area, table in VERSIONS.items():
        are_shared, may_move = area in named_by_parts, False
        if is_compared and not are_shared and await _is_any_of_another(connection, table, run_id):
            are_shared = await _is_any_of_three(connection, table)
            may_move = not are_shared
        found.append(
            RunVersions(area=area, run_id=run_id, may_move=may_move, are_keys_shared=are_shared)
        )
    return found


async def _is_any_of_another(connection: AsyncConnection, table: Table, run_id: int) -> bool:
    """Whether the run shows a restriction for a person under the key of another's, open or not."""
    new, old = alias_of(table, "new"), alias_of(table, "old")
    pair = (
        select(new.c.version_id)
        .join(old, old.c.restriction_id == new.c.restriction_id)
        .where(new.c.opened_run == run_id, old.c.person_id != new.c.person_id)
    )
    return (await connection.execute(pair.limit(1))).first() is not None


async def _is_any_of_three(connection: AsyncConnection, table: Table) -> bool:
    """Whether three persons hold a restriction under one key, as published."""
    key = table.c.restriction_id
    held = open_as_published(table).with_only_columns(key).group_by(key)
    held = held.having(func.count() > _HOLDERS_OF_ONE)
    # Counted: for the first alone, PostgreSQL would read all rows in the order of an index.
    counted = select(func.count()).select_from(held.subquery())
    return (await connection.execute(counted)).scalar_one() > 0


async def close_moved(
    connection: AsyncConnection, versions: RunVersions, others: Sequence[int]
) -> None:
    """Close under the old identifier what this run opened under another.

    It is closed only if this run asked for the old person's area and could not read it. If the area
    was read completely, that read's own proof decides, so the order in which the two persons are
    read does not matter; if the area was not asked for, as in a backfill of others, nothing is
    known; if its two reads contradicted each other, one of them still had it. What the new person
    must look like says ``is_taken_over``.

    Args:
        others: other open runs. What they wrote for persons that lose a restriction here is undone,
            as for every person that this run decides on.
    """
    table, moved = versions.table, _moved(versions, others)
    old = alias_of(table, "old")
    if others:
        persons = sorted({row.person_id for row in await connection.execute(moved)})
        for other in others if persons else ():
            await undo_persons(connection, other, persons)
    await _forget_digests(connection, versions.area, moved.with_only_columns(old.c.person_id))
    ids = moved.with_only_columns(old.c.version_id)
    await connection.execute(
        update(table).where(table.c.version_id.in_(ids)).values(closed_run=versions.run_id)
    )
    await _carry_first_seen(connection, versions)


def _moved(versions: RunVersions, others: Sequence[int]) -> Select[tuple[int, int]]:
    """The published versions that ``close_moved`` closes, with their persons."""
    new, old = alias_of(versions.table, "new"), alias_of(versions.table, "old")
    opened = alias_of(run, "opened")
    return (
        select(old.c.version_id, old.c.person_id)
        .join(new, new.c.restriction_id == old.c.restriction_id)
        .join(opened, opened.c.run_id == old.c.opened_run)
        .where(
            versions.is_taken_over(new),
            or_(old.c.closed_run.is_(None), old.c.closed_run.in_(others)),
            old.c.person_id != new.c.person_id,
            opened.c.publication_no.is_not(None),
            versions.has_failed(old),
            ~versions.is_unstable(old),
        )
    )


async def _forget_digests(
    connection: AsyncConnection, area: str, persons: Select[tuple[int]]
) -> None:
    """Clear the digests: the open rows no longer equal the last complete read."""
    await connection.execute(
        update(person_area)
        .where(person_area.c.area == area, person_area.c.person_id.in_(persons))
        .values(digest=None)
    )


async def _carry_first_seen(connection: AsyncConnection, versions: RunVersions) -> None:
    """Give a moved restriction the time when it was first seen under the old identifier."""
    table, old = versions.table, alias_of(versions.table, "old")
    removed = select(old.c.restriction_id).where(versions.is_removed(old))
    since = (
        select(func.min(old.c.first_seen_at))
        .where(
            versions.is_removed(old),
            old.c.restriction_id == table.c.restriction_id,
            old.c.person_id != table.c.person_id,
        )
        .scalar_subquery()
    )
    await connection.execute(
        update(table)
        .where(
            versions.is_added(table),
            table.c.restriction_id.in_(removed),
            since < table.c.first_seen_at,
        )
        .values(first_seen_at=since)
    )


async def gone_claims(
    connection: AsyncConnection, claimed: Mapping[str, Removed], areas: Sequence[RunVersions]
) -> Mapping[str, int]:
    """By person key, how many restrictions to be closed no other person has taken over.

    Args:
        claimed: by person key, published restrictions that the person is about to lose.
    """
    holders: dict[tuple[str, str], set[str]] = defaultdict(set)
    for versions in areas:
        name, table = versions.area, versions.table
        keys = sorted({key for gone in claimed.values() for area, key in gone if area == name})
        if not keys or not versions.may_move:
            continue
        rows = await connection.execute(
            select(table.c.restriction_id, person.c.person_key)
            .join(person, person.c.person_id == table.c.person_id)
            .where(
                member(table.c.restriction_id),
                versions.is_taken_over(table, by_key=True),
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
