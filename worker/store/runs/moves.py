"""Restrictions that moved to another identifier of the same person (D-number to fødselsnummer)."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Select, Table, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.elements import ColumnElement

from worker.core.confirmation import Removed
from worker.core.model import FailureKind
from worker.store.dialects import StoreDialect
from worker.store.runs.undo import undo_persons
from worker.store.schema.tables import VERSIONS, alias_of, failure, person, person_area, run


async def close_moved(
    connection: AsyncConnection, dialect: StoreDialect, run_id: int, others: Sequence[int]
) -> None:
    """Close under the old identifier what this run opened under another.

    Only where the old person's area was not read whole in this run: if it was, its own proof
    has decided. So the order in which the two persons are read makes no difference. Nor where its
    two reads contradicted each other: one of them still held the restriction.

    Args:
        connection: the transaction that publishes the run.
        dialect: of its database.
        run_id: the run.
        others: other open runs; what they wrote of those from whom something moves is taken back,
            as of everybody on whom this run decides.
    """
    if not await _is_anything_published(connection):
        return  # a first run opens millions of rows, and there is nothing that could have moved
    for name, table in VERSIONS.items():
        new, old, opened = alias_of(table, "new"), alias_of(table, "old"), alias_of(run, "opened")
        moved = (
            select(old.c.version_id, old.c.person_id)
            .join(new, new.c.restriction_id == old.c.restriction_id)
            .join(opened, opened.c.run_id == old.c.opened_run)
            .where(
                new.c.opened_run == run_id,
                new.c.closed_run.is_(None),
                or_(old.c.closed_run.is_(None), old.c.closed_run.in_(others)),
                old.c.person_id != new.c.person_id,
                opened.c.publication_no.is_not(None),
                same_tenant(old, new),
                ~_is_read_whole(old, name, run_id),
                ~_is_unstable(old, name, run_id),
                # A change of what the new person has held all along takes nothing from anybody.
                ~counterpart(table, new, "closed_run", run_id),
            )
        )
        if others:
            persons = sorted({row.person_id for row in await connection.execute(moved)})
            for other in others if persons else ():
                await undo_persons(connection, dialect, other, persons)
        await _forget_digests(connection, name, moved.with_only_columns(old.c.person_id))
        ids = moved.with_only_columns(old.c.version_id)
        await connection.execute(
            update(table).where(table.c.version_id.in_(ids)).values(closed_run=run_id)
        )
        await _carry_first_seen(connection, table, run_id)


async def gone_claims(
    connection: AsyncConnection,
    dialect: StoreDialect,
    claimed: Mapping[str, Removed],
    *,
    tenant_id: int,
    run_id: int,
) -> Mapping[str, int]:
    """By person key, how many of the restrictions that are to close nobody else holds by now.

    Args:
        connection: of the store.
        dialect: of its database.
        claimed: by person key, published restrictions that the person is about to lose.
        tenant_id: whose persons.
        run_id: the run that is to close them; what it has opened counts, and what is published.
    """
    holders: dict[tuple[str, str], set[str]] = defaultdict(set)
    for name, table in VERSIONS.items():
        keys = sorted({key for gone in claimed.values() for area, key in gone if area == name})
        if not keys:
            continue
        rows = await connection.execute(
            select(table.c.restriction_id, person.c.person_key)
            .join(person, person.c.person_id == table.c.person_id)
            .join(run, run.c.run_id == table.c.opened_run)
            .where(
                dialect.member(table.c.restriction_id),
                table.c.closed_run.is_(None),
                person.c.tenant_id == tenant_id,
                or_(run.c.run_id == run_id, run.c.publication_no.is_not(None)),
            ),
            dialect.members(keys),
        )
        for key, person_key in rows:
            holders[name, key].add(person_key)
    left = {
        person_key: sum(not holders[one] - {person_key} for one in gone)
        for person_key, gone in claimed.items()
    }
    return {person_key: count for person_key, count in left.items() if count}


async def _is_anything_published(connection: AsyncConnection) -> bool:
    published = select(run.c.run_id).where(run.c.publication_no.is_not(None))
    return (await connection.execute(published.limit(1))).first() is not None


async def _forget_digests(
    connection: AsyncConnection, area: str, persons: Select[tuple[int]]
) -> None:
    """What their last whole reading found is not what is open any more: ``published_digests``."""
    await connection.execute(
        update(person_area)
        .where(person_area.c.area == area, person_area.c.person_id.in_(persons))
        .values(digest=None)
    )


def counterpart(table: Table, one: Any, column: str, run_id: int) -> ColumnElement[bool]:
    """Whether the run has opened, or closed, another content of a row's restriction and person.

    With ``closed_run`` the row is a change of what was there; with ``opened_run`` it was replaced.
    """
    other = alias_of(table, "twin")
    return (
        select(other.c.version_id)
        .where(
            other.c[column] == run_id,
            other.c.restriction_id == one.c.restriction_id,
            other.c.person_id == one.c.person_id,
        )
        .correlate(one)
        .exists()
    )


def _is_read_whole(row: Any, area: str, run_id: int) -> ColumnElement[bool]:
    return (
        select(person_area.c.person_id)
        .where(
            person_area.c.person_id == row.c.person_id,
            person_area.c.area == area,
            person_area.c.run_id == run_id,
            person_area.c.is_complete,
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
    """A moved restriction keeps the time when it was first seen."""
    old = alias_of(table, "old")
    gone = (old.c.closed_run == run_id, ~counterpart(table, old, "opened_run", run_id))
    since = (
        select(func.min(old.c.first_seen_at))
        .where(
            *gone,
            old.c.restriction_id == table.c.restriction_id,
            old.c.person_id != table.c.person_id,
        )
        .scalar_subquery()
    )
    await connection.execute(
        update(table)
        .where(
            table.c.opened_run == run_id,
            table.c.restriction_id.in_(select(old.c.restriction_id).where(*gone)),
            ~counterpart(table, table, "closed_run", run_id),
            since < table.c.first_seen_at,
        )
        .values(first_seen_at=since)
    )


def same_tenant(one: Any, other: Any) -> ColumnElement[bool]:
    """Both rows' persons belong to one tenant."""
    p, q = alias_of(person, "p"), alias_of(person, "q")
    return (
        select(p.c.tenant_id)
        .where(
            p.c.person_id == one.c.person_id,
            q.c.person_id == other.c.person_id,
            p.c.tenant_id == q.c.tenant_id,
        )
        # By itself it would only look at the SELECT around it, and take a row from farther out for
        # any row of its table.
        .correlate(one, other)
        .exists()
    )
