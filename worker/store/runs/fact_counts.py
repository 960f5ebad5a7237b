"""The queries behind the facts of a publication, and the rule for stale areas."""

from datetime import timedelta
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Text,
    and_,
    case,
    func,
    literal,
    or_,
    select,
    union_all,
)

from worker.core.area import AREAS, ResourceArea
from worker.core.diff import Op
from worker.core.effect import RestrictionGroup
from worker.errors import FailureKind
from worker.store.derived import is_active
from worker.store.dialects import POSTGRESQL
from worker.store.runs.new_publication import (
    NewPublication,
    Query,
    count_if,
    is_in_feed_since,
    last_full_publication_no,
)
from worker.store.schema.tables import VERSIONS, change_feed, draft, person, person_area, run

FIELD, RESTRICTION = "|", "~"
"""The separators of a holding. Facts contain only known codes, and no code has these characters."""
_AGES: Final = (30, 182, 365)
"""The limits of the age groups in days: up to a month, half a year, a year, and more."""
_ENDS: Final = (7, 30, 90, 365)
"""The limits, in days, of the groups by time until an end."""
_COHORT: Final = func.coalesce(person.c.cohort, "").label("cohort")


class Held(NamedTuple):
    """One restriction of a holding, as facts count it. Empty texts mean that there is none.

    Attributes:
        age: the class of the time since PTS created it, for example ``age_30``.
        ends: the class of the time until its end, for example ``ends_7``.
        expired: the class of the time since its end. Empty if it has not ended.
        expired_since_last: not empty if it ended after the previous publication.
        expired_in_week: not empty if it ended in the seven days of ``count_week``.
        active: not empty if it is in effect.
    """

    area: str
    restriction_group: str
    code: str
    level: str
    cause: str
    age: str
    ends: str
    expired: str
    expired_since_last: str
    expired_in_week: str
    active: str


def is_stale(area: ResourceArea) -> ColumnElement[bool]:
    """Whether a row of ``person_area`` is stale.

    A row is stale if its read failed, or if the last full publication of its area did not confirm
    it. Facts and views both use this definition.
    """
    return or_(
        person_area.c.failure_kind.is_not(None),
        person_area.c.confirmed_no.is_(None),
        person_area.c.confirmed_no < last_full_publication_no(area),
    )


def count_holdings(new: NewPublication, first_number: int, dialect: str) -> Query:
    """Count the persons of each cohort with equal sets of restrictions (holdings).

    A holding is one text for each person, so that each person counts once in every figure.

    Args:
        first_number: the first publication of the week.
    """
    rows = union_all(*(_held(new, first_number, area) for area in AREAS)).subquery(
        "open_restriction"
    )
    if dialect == POSTGRESQL:
        # Grouped by the key of ``person``, the planner expects a group for each person. Grouped by
        # another column, it expects 200 groups, and looks up the persons one by one.
        is_holder = person.c.person_id == rows.c.person_id
        of_persons = select(person.c.person_id, rows.c.held).join_from(rows, person, is_holder)
        rows = of_persons.subquery("of_person")
    holding = func.aggregate_strings(rows.c.held, RESTRICTION).label("holding")
    by_person = select(rows.c.person_id, holding).group_by(rows.c.person_id).subquery("by_person")
    return (
        select(_COHORT, by_person.c.holding, func.count().label("persons"))
        .join_from(by_person, person, person.c.person_id == by_person.c.person_id)
        .group_by(_COHORT, by_person.c.holding)
    )


def _held(new: NewPublication, first_number: int, area: ResourceArea) -> Query:
    """The open restrictions of an area, each as the text of a ``Held``."""
    version: Any = VERSIONS[area.name].c
    until = version.effect_until
    group = func.coalesce(version.restriction_group, "")
    # CASE takes the first limit that fits, so the limits must increase.
    ends = [(until <= new.at + timedelta(days=days), f"ends_{days}") for days in _ENDS]
    has_expired = and_(until <= new.at, group != RestrictionGroup.NONE)
    before = _published_before(new.number)
    first_ever = select(func.min(run.c.published_at)).scalar_subquery()
    # In the first week there is no earlier publication, so the week starts with the first one.
    week_start = func.coalesce(_published_before(first_number), first_ever)
    # A restriction that arrives after its end was never in effect here.
    expired_since_last = and_(has_expired, until > before, version.first_seen_at <= before)
    expired_in_week = and_(has_expired, until > week_start, version.first_seen_at < until)
    fields = {
        "restriction_group": group,
        "code": version.fact_code,
        # Not every area has a level and a cause.
        "level": version.get("fact_level", ""),
        "cause": version.get("fact_cause", ""),
        "age": _age(new, version.source_created_at),
        "ends": case((until.is_(None), "ends_never"), *ends, else_="ends_later"),
        "expired": case((has_expired, _age(new, until)), else_=""),
        "expired_since_last": case((expired_since_last, "expired_since_last"), else_=""),
        "expired_in_week": case((expired_in_week, "expired_in_week"), else_=""),
        "active": case((is_active(version, new.at), "active"), else_=""),
    }
    held: Any = literal(area.name, Text)
    for name in Held._fields[1:]:
        held = held + FIELD + fields[name]
    return select(version.person_id, held.label("held")).where(version.closed_no.is_(None))


def _published_before(number: int) -> Any:
    """The time of the previous publication. NULL before the first one."""
    last = select(func.max(run.c.published_at)).where(run.c.publication_no < number)
    return last.scalar_subquery()


def _age(new: NewPublication, since: ColumnElement[Any]) -> ColumnElement[str]:
    ages = [(since > new.at - timedelta(days=days), f"age_{days}") for days in _AGES]
    return case((since.is_(None), "age_unknown"), *ages, else_="age_more")


def count_roster(new: NewPublication) -> Query:
    """Count the persons of each cohort: on the roster, missing from it, and departing now."""
    is_here, departs = person.c.departed_no.is_(None), person.c.departed_no == new.number
    is_missing = and_(is_here, person.c.missed_no.is_not(None))
    counts = {
        "roster": count_if(_is_on_roster()),
        "missing": count_if(is_missing),
        "departed": count_if(departs),
    }
    columns = (count.label(name) for name, count in counts.items())
    return select(_COHORT, *columns).where(or_(is_here, departs)).group_by(_COHORT)


def _is_on_roster() -> ColumnElement[bool]:
    return and_(person.c.departed_no.is_(None), person.c.missed_no.is_(None))


def count_joined(new: NewPublication) -> Query:
    """Count the new and returned persons of each cohort."""
    return (
        select(_COHORT, func.count().label("joined"))
        .join_from(person, draft, draft.c.person_id == person.c.person_id)
        # `mark_returned_persons` has set `is_new` for returned persons.
        .where(draft.c.run_id == new.run_id, draft.c.is_new)
        .group_by(_COHORT)
    )


def count_stale() -> Query:
    """Count the stale persons of each cohort on the roster, and those with each kind of failure."""
    failed = [
        func.max(case((person_area.c.failure_kind == kind, 1), else_=0)).label(f"failed_{kind}")
        for kind in FailureKind
    ]
    stale = or_(*(and_(person_area.c.area == area.name, is_stale(area)) for area in AREAS))
    # First by person, because a person with two stale areas counts once.
    by_person = (
        select(person_area.c.person_id, *failed)
        .where(stale)
        .group_by(person_area.c.person_id)
        .subquery("by_person")
    )
    sums = [func.sum(by_person.c[column.name]).label(column.name) for column in failed]
    return (
        select(_COHORT, func.count().label("stale"), *sums)
        .join_from(by_person, person, person.c.person_id == by_person.c.person_id)
        .where(_is_on_roster())
        .group_by(_COHORT)
    )


def count_flows(new: NewPublication, area: ResourceArea) -> Query:
    """Count the restrictions opened, changed and closed by this publication, by code and reason."""
    version, op = VERSIONS[area.name].c, change_feed.c.op
    codes = [column for column in version if column.name.startswith("fact_")]
    flow = case(
        (op == Op.UPDATE, "changed"),
        # The restriction came with a new person or a first read, so PTS may have had it for years.
        (and_(op == Op.INSERT, version.is_left_censored), "joined_with"),
        (op == Op.INSERT, "added"),
        (version.closed_because == "departed", "departed_with"),
        else_="removed",
    )
    key = (*codes, version.restriction_group, _COHORT, flow.label("flow"))
    moved = _feed_since(area, new.number).with_only_columns(
        *key, func.count().label("restrictions")
    )
    return moved.group_by(*key)


def count_week(first_number: int) -> CompoundSelect[*tuple[Any, ...]]:
    """Count the restrictions that were added, changed or removed at PTS since a publication.

    By group, and in all groups (NULL). Left-censored restrictions, and restrictions closed by a
    departure, are not changes at PTS, so they do not count.
    """
    # A CTE, because both parts of the UNION below read it.
    rows = union_all(*(_week(area, first_number) for area in AREAS)).cte("week")
    by = rows.c.op, rows.c.cohort
    counts = (
        func.count().label("restrictions"),
        func.count(rows.c.person_id.distinct()).label("persons"),
    )
    by_group = select(rows.c.restriction_group, *by, *counts)
    total = select(literal(None, Text), *by, *counts)
    return by_group.group_by(rows.c.restriction_group, *by).union_all(total.group_by(*by))


def _week(area: ResourceArea, first_number: int) -> Query:
    version, op = VERSIONS[area.name].c, change_feed.c.op
    group = func.coalesce(version.restriction_group, "")
    is_change_at_pts = or_(
        op == Op.UPDATE,
        and_(op == Op.INSERT, ~version.is_left_censored),
        and_(op == Op.CLOSE, version.closed_because != "departed"),
    )
    rows = _feed_since(area, first_number).where(is_change_at_pts, group != RestrictionGroup.NONE)
    return rows.with_only_columns(group.label("restriction_group"), op, _COHORT, version.person_id)


def _feed_since(area: ResourceArea, first_number: int) -> Query:
    """The feed's rows since a publication, joined with an area's versions and their persons."""
    version = VERSIONS[area.name]
    return (
        select(change_feed.c.op)
        .join_from(change_feed, version, version.c.version_id == change_feed.c.version_id)
        .join(person, person.c.person_id == version.c.person_id)
        .where(is_in_feed_since(first_number), change_feed.c.area == area.name)
    )
