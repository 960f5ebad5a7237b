"""Labels of persons (local reference and cohort), as each publication showed them.

The person's row holds the label of the latest read and the published one. ``person_label`` holds
earlier labels, each for the publications from ``since_no`` until before ``until_no``.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, func, insert, literal, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.store.dialects import member, members
from worker.store.runs.statements import relabelled_sql
from worker.store.schema.fact_tables import publication
from worker.store.schema.tables import VERSIONS, alias_of, person, person_label, run

_WRITTEN: Final = (person.c.local_ref, person.c.cohort)
_SHOWN: Final = (person.c.prev_local_ref, person.c.prev_cohort)


def archive_labels(connection: Connection, *, run_id: int, number: int) -> None:
    """Archive the labels that this publication changes."""
    found, earlier = alias_of(person, "p"), alias_of(person_label, "earlier")
    since = select(func.max(earlier.c.until_no)).where(earlier.c.person_id == found.c.person_id)
    connection.execute(
        insert(person_label).from_select(
            ("person_id", "since_no", "until_no", "local_ref", "cohort"),
            select(
                found.c.person_id,
                func.coalesce(since.scalar_subquery(), 0),
                literal(number),
                found.c.prev_local_ref,
                found.c.prev_cohort,
            ).where(text(relabelled_sql(run_id))),
        )
    )


def publish_labels(connection: Connection, *, run_id: int) -> None:
    """Publish the labels that this run wrote, after everything was counted by the earlier ones."""
    is_new = (new.is_distinct_from(old) for new, old in zip(_WRITTEN, _SHOWN, strict=True))
    connection.execute(
        update(person)
        .where(person.c.local_ref_run == run_id, or_(*is_new))
        .values(dict(zip(_SHOWN, _WRITTEN, strict=True)))
    )


async def clear_old_labels(connection: AsyncConnection, before: datetime, limit: int) -> int:
    """Clear labels that ended before a time and that no version in the history needs.

    The rows stay, so that no later label is taken for the one of that time.

    Returns:
        The number of labels.
    """
    last = select(func.max(publication.c.publication_no)).where(publication.c.published_at < before)
    label = person_label.c
    opened = alias_of(run, "opened")
    needed = [
        select(table.c.version_id)
        .join(opened, opened.c.run_id == table.c.opened_run)
        .where(
            table.c.person_id == label.person_id,
            opened.c.publication_no >= label.since_no,
            opened.c.publication_no < label.until_no,
        )
        .correlate(person_label)
        .exists()
        for table in VERSIONS.values()
    ]
    found = await connection.execute(
        select(label.label_id)
        .where(
            label.until_no <= last.scalar_subquery(),
            or_(label.local_ref.is_not(None), label.cohort.is_not(None)),
            *(~is_needed for is_needed in needed),
        )
        .limit(limit)
    )
    rows: Sequence[int] = list(found.scalars())
    if rows:
        await connection.execute(
            update(person_label).where(member(label.label_id)).values(local_ref=None, cohort=None),
            members(rows),
        )
    return len(rows)
