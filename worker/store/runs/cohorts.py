"""The cohorts of persons, as the facts of a publication name them."""

from collections.abc import Mapping
from typing import Final

from sqlalchemy import Connection, func, select

from worker.core.value import Value
from worker.store.schema.fact_tables import publication_cohort

COHORTS_MAX: Final = 300
"""Maximum number of cohorts that facts name; persons of others are counted as ``OTHER``."""
OTHER: Final = "other"
"""All cohorts that facts do not name: a text that may name a person must not be kept for ever."""

_DIGITS_MAX: Final = 9
"""An organisation number has nine digits, an identifier eleven, and a pseudonym some forty."""
_CHARACTERS_MAX: Final = 200


class CohortNames(Value, frozen=True, kw_only=True):
    """The cohorts that a publication names.

    Attributes:
        named: their names.
        is_other_divided: one of them may have been counted as ``OTHER`` in the last publication.
    """

    named: frozenset[str]
    is_other_divided: bool

    def of(self, cohort: str) -> str:
        """The cohort's name in the facts; empty for persons without one."""
        return cohort if not cohort or cohort in self.named else OTHER


def name_cohorts(
    connection: Connection, number: int, rosters: Mapping[str, int | None]
) -> CohortNames:
    """Choose the cohorts that a publication names.

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
        key=lambda cohort: (-(rosters[cohort] or 0), cohort),
    )[: max(0, COHORTS_MAX - len(named))]
    return CohortNames(named=named | {*new}, is_other_divided=bool(new) and OTHER in before)


def _may_be_named(cohort: str) -> bool:
    return (
        cohort not in ("", OTHER)
        and len(cohort) <= _CHARACTERS_MAX
        and sum(map(str.isdigit, cohort)) <= _DIGITS_MAX
    )
