"""The new publication of a run, and the conditions that its statements share."""

from datetime import datetime
from typing import Any, TypeAlias

import sqlalchemy as sa

from worker.core.area import ResourceArea
from worker.core.value import Value
from worker.store.schema.tables import change_feed, draft, person, run

Query: TypeAlias = sa.Select[*tuple[Any, ...]]


class NewPublication(Value, frozen=True, kw_only=True):
    """The publication that a run is about to make from its drafts.

    Attributes:
        first_pass_no: the first pass of the attempt that has read the roster to its end.
        is_sync: the run reads the whole roster, so persons not on it are missing.
        marks_missed: ``mark_missed_persons`` marks missing persons before the counts are made.
        number: the publication's number.
        at: the publication's time.
    """

    run_id: int
    first_pass_no: int
    is_sync: bool
    marks_missed: bool
    number: int
    at: datetime

    @property
    def number_column(self) -> sa.ColumnElement[int]:
        """The number as a column of a SELECT."""
        # With a type, because PostgreSQL cannot infer the type of a parameter in a SELECT list.
        return sa.literal(self.number, sa.BigInteger)


def has_draft(new: NewPublication) -> sa.ColumnElement[bool]:
    """Whether a row of ``draft`` is the run's draft of a row of ``person``."""
    return sa.and_(draft.c.run_id == new.run_id, draft.c.person_id == person.c.person_id)


def count_if(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
    """The number of rows that meet a condition."""
    # SUM over no rows is NULL.
    return sa.func.coalesce(sa.func.sum(sa.case((condition, 1), else_=0)), 0)


def reads_area(area: ResourceArea) -> sa.ColumnElement[bool]:
    """Whether a run reads an area: ``run.areas`` is a JSON list of names."""
    # With the quotes, so that the name of an area never matches a part of a longer one.
    return run.c.areas.contains(f'"{area.name}"')


def last_full_publication_no(area: ResourceArea) -> Any:
    """The number of an area's last publication by a full run. 0 before the first."""
    number = sa.func.coalesce(sa.func.max(run.c.publication_no), 0)
    return sa.select(number).where(run.c.kind == "sync", reads_area(area)).scalar_subquery()


def is_in_feed_since(number: int) -> sa.ColumnElement[bool]:
    """Whether a row of the feed is from this publication or a later one."""
    # A range of the primary key, because the feed has no index by publication.
    last_before = sa.select(sa.func.coalesce(sa.func.max(change_feed.c.seq), 0)).where(
        change_feed.c.publication_no < number
    )
    return change_feed.c.seq > last_before.scalar_subquery()
