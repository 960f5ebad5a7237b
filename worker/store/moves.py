"""Restrictions that moved to another identifier of the same person (D-number to fødselsnummer)."""

from typing import Any

from sqlalchemy import Table, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.elements import ColumnElement

from worker.store.tables import VERSIONS, person, person_area, run


async def close_moved(connection: AsyncConnection, run_id: int) -> None:
    """Close under the old identifier what this run opened under another.

    Only where the old person's area was not read whole in this run: if it was, its own proof
    has decided. So the order in which the two persons are read makes no difference.
    """
    for name, table in VERSIONS.items():
        new, old = table.alias("new"), table.alias("old")
        opened = run.alias("opened")
        confirmed = (
            select(person_area.c.person_id)
            .where(
                person_area.c.person_id == old.c.person_id,
                person_area.c.area == name,
                person_area.c.run_id == run_id,
                person_area.c.is_complete,
            )
            .exists()
        )
        # A change of what the new person has held all along takes nothing from anybody.
        before = table.alias("before")
        held = (
            select(before.c.version_id)
            .where(
                before.c.closed_run == run_id,
                before.c.restriction_id == new.c.restriction_id,
                before.c.person_id == new.c.person_id,
            )
            .exists()
        )
        moved = (
            select(old.c.version_id)
            .join(new, new.c.restriction_id == old.c.restriction_id)
            .join(opened, opened.c.run_id == old.c.opened_run)
            .where(
                new.c.opened_run == run_id,
                new.c.closed_run.is_(None),
                old.c.closed_run.is_(None),
                old.c.person_id != new.c.person_id,
                opened.c.publication_no.is_not(None),
                same_tenant(old, new),
                ~confirmed,
                ~held,
            )
        )
        await connection.execute(
            update(table).where(table.c.version_id.in_(moved)).values(closed_run=run_id)
        )
        await _carry_first_seen(connection, table, run_id)


async def _carry_first_seen(connection: AsyncConnection, table: Table, run_id: int) -> None:
    """A moved restriction keeps the time when it was first seen."""
    old = table.alias("old")
    since = (
        select(func.min(old.c.first_seen_at))
        .where(
            old.c.closed_run == run_id,
            old.c.restriction_id == table.c.restriction_id,
            old.c.person_id != table.c.person_id,
            same_tenant(old, table),
        )
        .scalar_subquery()
    )
    await connection.execute(
        update(table)
        .where(
            table.c.opened_run == run_id,
            table.c.restriction_id.in_(
                select(old.c.restriction_id).where(old.c.closed_run == run_id)
            ),
            since.is_not(None),
            since < table.c.first_seen_at,
        )
        .values(first_seen_at=since)
    )


def same_tenant(one: Any, other: Any) -> ColumnElement[bool]:
    """Both rows' persons belong to one tenant."""
    p, q = person.alias(), person.alias()
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
