"""The cohorts of persons, as the facts of a publication name them."""

from collections.abc import Mapping
from typing import Final

from sqlalchemy import Connection, func, select

from worker.store.schema.fact_tables import publication_cohort
from worker.store.statements import OTHER

COHORTS_MAX: Final = 300
"""Maximum number of cohorts that facts name; persons of others are counted as ``OTHER``."""
_DIGITS_MAX: Final = 9
"""An organisation number has nine digits, an identifier eleven, and a pseudonym some forty."""
_CHARACTERS_MAX: Final = 200


def name_cohorts(connection: Connection, number: int, rosters: Mapping[str, int]) -> frozenset[str]:
    """Choose the cohorts that a publication names; it counts the others as ``OTHER``.

    A named cohort stays named as long as it has persons. New cohorts are added up to
    ``COHORTS_MAX``, the largest first.

    Args:
        rosters: persons on the roster by cohort.
    """
    last = select(func.max(publication_cohort.c.publication_no)).where(
        publication_cohort.c.publication_no < number
    )
    before = frozenset(
        connection.execute(
            select(publication_cohort.c.cohort).where(
                publication_cohort.c.publication_no == last.scalar_subquery()
            )
        ).scalars()
    )
    named = before - {"", OTHER}
    new = sorted(
        (cohort for cohort in rosters if cohort not in before and _may_be_named(cohort)),
        key=lambda cohort: (-rosters[cohort], cohort),
    )[: max(0, COHORTS_MAX - len(named))]
    return named | {"", *new}


def _may_be_named(cohort: str) -> bool:
    return (
        cohort not in ("", OTHER)
        and len(cohort) <= _CHARACTERS_MAX
        and sum(map(str.isdigit, cohort)) <= _DIGITS_MAX
    )
