"""Everything that the store has about one person, as published (``explain``)."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.areas import AREAS
from worker.core.area import ResourceArea
from worker.core.value import Value
from worker.store.queries.failures import OpenFailure, failures_of
from worker.store.queries.status import Publication, publication_at
from worker.store.schema.tables import person, run
from worker.views import FRESHNESS, HISTORY


class Version(Value, frozen=True, kw_only=True):
    """One version of a restriction, visible to readers from ``valid_from`` until ``valid_to``.

    Attributes:
        restriction_id: the record's key.
        columns: the area's own columns that have a value.
        first_seen_at: when the worker first read the restriction.
        valid_to: None while it is current.
        opened_run: the run that published it.
        closed_run: the run whose publication ended it.
        is_shown: readers saw it at the time asked for.
    """

    restriction_id: str
    columns: Mapping[str, Any]
    first_seen_at: datetime
    valid_from: datetime
    valid_to: datetime | None
    opened_run: int
    closed_run: int | None
    is_shown: bool


class FirstProof(Value, frozen=True, kw_only=True):
    """The first of two reads, which the second one confirmed: it held the same restrictions."""

    read_at: datetime
    digest: str


class AreaStory(Value, frozen=True, kw_only=True):
    """One area of the person.

    The fields of the completeness proof are None if none is published, or the person departed.

    Attributes:
        last_confirmed_at: when the last published complete read was; None: there was none.
        digest: over keys and content of its records.
        first_read: the read before it, if two were needed.
        is_stale: whether the state shown is older than the last publication.
        restrictions: its versions; of an earlier time, those that were shown then.
    """

    area: str
    last_confirmed_at: datetime | None = None
    age_s: float | None = None
    pages: int | None = None
    records: int | None = None
    digest: str | None = None
    first_read: FirstProof | None = None
    is_stale: bool | None = None
    failure: OpenFailure | None
    restrictions: Sequence[Version]


class PersonStory(Value, frozen=True, kw_only=True):
    """One person whom the store knows.

    Attributes:
        person_key: None where it is not to be shown.
        local_ref: what the roster calls the person today; None if it has no word.
        cohort: the clinic or department, likewise.
        first_run_at: start of the first published run that saw the person.
        as_of: the time asked for; None: the state as it is published.
        publication: what readers saw at that time.
    """

    is_known: bool = True
    person_key: str | None
    local_ref: str | None
    cohort: str | None
    first_run: int
    first_run_at: datetime
    departed_at: datetime | None
    as_of: datetime | None
    areas: Sequence[AreaStory]
    publication: Publication | None


async def person_story(
    connection: AsyncConnection, person_key: str, *, now: datetime, as_of: datetime | None = None
) -> PersonStory | None:
    """Everything published about a person; None if the store does not have the key.

    Which publication counts is said by the store: no clock decides what is in force now.

    Args:
        now: the database's time, for the age of the last read.
        as_of: the restrictions of that time; None: those that are published, and what has ended.
    """
    row = await _person(connection, person_key)
    if row is None:
        return None
    proofs = await _proofs(connection, person_key, now)
    failures = {failure.area: failure for failure in await failures_of(connection, person_key)}
    publication = await publication_at(connection, as_of)
    number = publication.publication_no if publication else 0
    areas = [
        AreaStory(
            area=area.name,
            **proofs.get(area.name, {}),
            failure=failures.get(area.name),
            restrictions=[
                version
                for version in await _versions(connection, area, person_key, number)
                if as_of is None or version.is_shown
            ],
        )
        for area in AREAS
    ]
    return PersonStory(
        person_key=person_key,
        local_ref=row.local_ref,
        cohort=row.cohort,
        first_run=row.first_run,
        first_run_at=row.first_run_at,
        departed_at=row.departed_at,
        as_of=as_of,
        areas=areas,
        publication=publication,
    )


async def _person(connection: AsyncConnection, person_key: str) -> Any:
    """The person's row with the times of its runs; None if there is none."""
    first, departed = run.alias("first"), run.alias("departed")
    found = await connection.execute(
        select(
            person.c.local_ref,
            person.c.cohort,
            first.c.run_id.label("first_run"),
            first.c.started_at.label("first_run_at"),
            departed.c.published_at.label("departed_at"),
        )
        .join(first, first.c.publication_no == person.c.first_no)
        .outerjoin(departed, departed.c.publication_no == person.c.departed_no)
        .where(person.c.person_key == person_key)
    )
    return found.one_or_none()


async def _proofs(
    connection: AsyncConnection, person_key: str, now: datetime
) -> Mapping[str, Mapping[str, Any]]:
    """The fields of the completeness proof, by area."""
    view = FRESHNESS.table()
    rows = await connection.execute(select(view).where(view.c.person_key == person_key))
    return {
        row.area: {
            "last_confirmed_at": row.last_confirmed_at,
            "age_s": row.last_confirmed_at
            and max((now - row.last_confirmed_at).total_seconds(), 0.0),
            "pages": row.pages,
            "records": row.record_count,
            "is_stale": row.is_stale,
            "digest": row.digest,
            "first_read": row.first_read_at
            and FirstProof(read_at=row.first_read_at, digest=row.first_digest),
        }
        for row in rows
    }


_OF_A_VERSION: Final = (
    "restriction_id",
    "first_seen_at",
    "valid_from",
    "valid_to",
    "opened_run",
    "closed_run",
)
"""The fields of ``Version`` that are columns of the history view."""


async def _versions(
    connection: AsyncConnection, area: ResourceArea, person_key: str, number: int
) -> Sequence[Version]:
    """The person's rows of the history view, oldest first."""
    names = [declared.name for declared in area.columns]
    numbers = ("opened_publication", "closed_publication")
    view = HISTORY[area.name].table((*_OF_A_VERSION, *numbers, "person_key", *names))
    rows = await connection.execute(
        select(view)
        .where(view.c.person_key == person_key)
        .order_by(view.c.opened_publication, view.c.restriction_id)
    )
    return [
        Version(
            **{name: row[name] for name in _OF_A_VERSION},
            columns={name: row[name] for name in names if row[name] is not None},
            is_shown=_is_shown(row["opened_publication"], row["closed_publication"], number),
        )
        for row in rows.mappings()
    ]


def _is_shown(opened_no: int, closed_no: int | None, number: int) -> bool:
    """Whether readers saw a version at that publication."""
    return opened_no <= number and (closed_no is None or closed_no > number)
