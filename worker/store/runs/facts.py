"""Writes the facts of a publication. All figures come from one grouping of open restrictions.

The database counts the persons of each cohort with equal sets of restrictions (``fact_counts``).
There are few different sets (holdings), so they are added up here.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, TypeAlias

from sqlalchemy import Connection, Table, func, insert, select, update

from worker.core.area import AREAS
from worker.core.effect import Figure, RestrictionGroup
from worker.store.derived import OTHER
from worker.store.runs.fact_counts import (
    FIELD,
    RESTRICTION,
    Held,
    count_flows,
    count_holdings,
    count_joined,
    count_roster,
    count_stale,
    count_week,
)
from worker.store.runs.new_publication import NewPublication
from worker.store.schema.columns import PERSON_COUNTS
from worker.store.schema.tables import (
    publication_code,
    publication_cohort,
    publication_figure,
    run,
)

COHORTS_MAX: Final = 300
"""Maximum number of cohorts named in facts, in order. Other cohorts count as ``OTHER``."""
_DIGITS_MAX: Final = 9
"""Maximum number of digits in a cohort that facts name: those of an organisation number. A cohort
with more may be an identifier (eleven digits) or a pseudonym (about forty)."""
_CODES: Final = ("code", "level", "cause")
_ROWS_PER_READ: Final = 5_000
_UNSTATED: Final = "Undefined"
"""PTS's code for an unstated cause."""

_AREAS_WITH_CAUSE: Final = frozenset(area.name for area in AREAS if area.effect.cause)

Facts: TypeAlias = defaultdict[tuple[str, ...], Counter[str]]
"""The rows of a table of facts: for each key, the counts by column. A key has the texts of the key
columns, in their order."""


def write_facts(connection: Connection, new: NewPublication, *, week_ago: str) -> None:
    """Count and write the facts of a publication, in the caller's transaction.

    Args:
        week_ago: the day a week before the publication, YYYY-MM-DD.
    """
    persons = _count_persons(connection, new)
    names = _cohort_names(persons)
    codes, figures = Facts(Counter), Facts(Counter)
    first = select(func.min(run.c.publication_no)).where(run.c.day > week_ago)
    first_number = connection.execute(first).scalar_one()
    holdings = count_holdings(new, first_number, connection.dialect.name)
    # In parts, because memory must not grow with the number of persons.
    in_parts = connection.execute(holdings, execution_options={"yield_per": _ROWS_PER_READ})
    for cohort, holding, count in in_parts:
        held = [Held(*text.split(FIELD)) for text in holding.split(RESTRICTION)]
        # Cohorts beyond the limit, or with too many digits, are added up under one name.
        _add_holding(codes, figures, held, names.get(cohort, OTHER), count)
        if any(row.active for row in held):
            persons[cohort]["persons_in_effect"] += count
    _add_flows(connection, new, names, codes)
    _add_week(connection, names, figures, first_number)
    # After the loop, which counts `persons_in_effect`.
    _write_persons(connection, new, names, persons)
    _write(connection, new, publication_code, codes)
    _write(connection, new, publication_figure, figures)


def _count_persons(connection: Connection, new: NewPublication) -> defaultdict[str, Counter[str]]:
    """Counts of persons, by cohort."""
    persons = defaultdict[str, Counter[str]](Counter)
    # Three queries, because one join would count a person once for each area.
    for query in (count_roster(new), count_joined(new), count_stale()):
        for row in connection.execute(query).mappings():
            counts = {name: int(row[name]) for name in row if name != "cohort"}
            persons[row["cohort"]].update(counts)
    for counts in persons.values():
        counts["confirmed"] = counts["roster"] - counts["stale"]
    return persons


def _cohort_names(cohorts: Iterable[str]) -> Mapping[str, str]:
    """The cohort names used in facts, by cohort.

    Facts stay for ever, so a cohort that could identify a person is not named.
    """
    # Sorted, so that the same cohorts are named in each publication.
    first = sorted(cohorts)[:COHORTS_MAX]
    return {cohort: cohort for cohort in first if sum(map(str.isdigit, cohort)) <= _DIGITS_MAX}


def _add_holding(
    codes: Facts, figures: Facts, held: Sequence[Held], cohort: str, persons: int
) -> None:
    """Add a number of persons of a cohort, all with the same restrictions."""
    keys = [_code_key(row, cohort) for row in held]
    _add(codes, keys, persons, "open", "persons")
    for row, key in zip(held, keys, strict=True):
        if row.expired_since_last:
            codes[key]["expired"] += persons
    active_keys = [key for row, key in zip(held, keys, strict=True) if row.active]
    _add(codes, active_keys, persons, "in_effect", "persons_in_effect")
    figure_keys = ((*key, cohort) for row in held for key in _figures_of(row))
    _add(figures, figure_keys, persons, "restrictions", "persons")


def _add(
    facts: Facts,
    keys: Iterable[tuple[str, ...]],
    persons: int,
    restrictions_column: str,
    persons_column: str,
) -> None:
    """Add the restrictions of a number of persons, all with a restriction at each of these keys.

    A person with several restrictions at a key counts once there.
    """
    for key, restrictions in Counter(keys).items():
        facts[key][restrictions_column] += restrictions * persons
        facts[key][persons_column] += persons


def _code_key(held: Held, cohort: str) -> tuple[str, ...]:
    return (held.area, held.code, held.level, held.cause, held.restriction_group, cohort)


def _figures_of(held: Held) -> Iterator[tuple[str, str, str, str]]:
    """The figures in which a restriction counts: figure, group, code, level."""
    group = held.restriction_group
    if held.active or group == RestrictionGroup.PENDING:
        yield Figure.GROUP, group, "", ""
    if held.expired:
        yield Figure.EXPIRED, "", held.expired, ""
    if held.expired_in_week:
        yield Figure.WEEK_EXPIRED, group, "", ""
    if not held.active:
        return
    # A person with two unknown codes counts once, so their levels are not a dimension.
    yield Figure.CODE, group, held.code, "" if held.code == OTHER else held.level
    yield Figure.AGE, "", held.age, ""
    if held.area in _AREAS_WITH_CAUSE:
        yield Figure.CAUSE, "", held.cause or _UNSTATED, ""
    if group == RestrictionGroup.DELAYED:
        yield Figure.ENDS, "", held.ends, ""


def _add_flows(
    connection: Connection, new: NewPublication, names: Mapping[str, str], codes: Facts
) -> None:
    """Add the restrictions that this publication opened, changed and closed."""
    for area in AREAS:
        for row in connection.execute(count_flows(new, area)).mappings():
            code, level, cause = (row.get(f"fact_{name}", "") for name in _CODES)
            group, cohort = row["restriction_group"] or "", names.get(row["cohort"], OTHER)
            key = (area.name, code, level, cause, group, cohort)
            codes[key][row["flow"]] += row["restrictions"]


def _add_week(
    connection: Connection, names: Mapping[str, str], figures: Facts, first_number: int
) -> None:
    """Add the restrictions that were added, changed and removed at PTS in seven days."""
    for group, op, cohort, restrictions, persons in connection.execute(count_week(first_number)):
        figure = Figure.WEEK if group is None else Figure.WEEK_GROUP
        counts = figures[figure, group or "", op, "", names.get(cohort, OTHER)]
        counts.update(restrictions=restrictions, persons=persons)


def _write_persons(
    connection: Connection,
    new: NewPublication,
    names: Mapping[str, str],
    persons: Mapping[str, Counter[str]],
) -> None:
    """Write the counts of persons by cohort, and their sums to the ledger."""
    cohorts, total = Facts(Counter), Counter[str]()
    for cohort, counts in persons.items():
        cohorts[(names.get(cohort, OTHER),)].update(counts)
        total.update(counts)
    _write(connection, new, publication_cohort, cohorts)
    totals = {name: total[name] for name in PERSON_COUNTS}
    connection.execute(update(run).where(run.c.run_id == new.run_id).values(totals))


def _write(connection: Connection, new: NewPublication, table: Table, facts: Facts) -> None:
    keys = [column.name for column in table.primary_key][1:]
    counts = [column.name for column in table.c if not column.primary_key]
    rows = [
        {"publication_no": new.number}
        | dict(zip(keys, key, strict=True))
        | {name: row[name] for name in counts}
        for key, row in facts.items()
    ]
    # SQLAlchemy inserts a row of defaults for an empty list.
    if rows:
        connection.execute(insert(table), rows)
