"""The counts of a report as it shows them, so that no table reveals a small count of another."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Final, TypeVar

from worker.core.area import AREAS
from worker.core.display import ShownCount, SmallNumbers, reveals, whole
from worker.core.effect import RestrictionGroup
from worker.core.value import Value
from worker.report.figures import GROUPS, OTHER, Amount, CodeKey, CohortFacts, ReportFacts
from worker.views import codes, systems_of

COHORTS_SHOWN: Final = 16
"""As many as fit on a printed page."""
RANKED_MIN: Final = 20
"""Persons on a roster from which a rate is compared with others."""
_REST: Final = ShownCount(1, 1, 0, 100)
"""The cohorts that are not shown: none of their persons, or enough to hide the others."""
Key = TypeVar("Key")


class ShownNight(Value, frozen=True, kw_only=True):
    """The counts of ``NightFacts``; None: not counted."""

    total: ShownCount
    persons: ShownCount
    groups: Mapping[str, ShownCount]
    roster: ShownCount | None
    confirmed: ShownCount | None
    stale: ShownCount | None
    missing: ShownCount

    @property
    def has_rate(self) -> bool:
        """Whether the persons are a part of the roster. With missing persons they may be more."""
        return self.roster is not None and self.persons.last <= self.roster.last

    def of(self, group: str) -> ShownCount:
        """The count of a group."""
        return self.groups.get(group, ShownCount(0, 0, 0, 0))


class ShownCohort(Value, frozen=True, kw_only=True):
    """The counts of ``CohortFacts``.

    Attributes:
        rate: persons of one; None if they are few, or if the roster may be below ``RANKED_MIN``.
        week: added, changed and removed.
    """

    name: str
    roster: ShownCount
    persons: ShownCount
    rate: float | None
    week: Sequence[ShownCount]


class ShownFacts:
    """The counts of ``ReportFacts``.

    Counts are shown from the parts to the totals: codes, groups, all restrictions. A table that
    divides one of these in another way is None if both together would reveal a count.
    """

    def __init__(self, facts: ReportFacts, small: SmallNumbers) -> None:
        self.facts = facts
        self.small = small
        self.codes: Mapping[CodeKey, ShownCount] = self._counts(facts.codes)
        self.codes_then: Mapping[CodeKey, ShownCount] = self._counts(facts.codes_then)
        self.expired: Mapping[str, ShownCount] | None = self._counts(facts.expired)
        self.week: Mapping[str, Sequence[ShownCount]] = {
            group: self._each(week) for group, week in facts.week.items()
        }
        self.week_expired: Mapping[str, ShownCount] = self._counts(facts.week_expired)

    @cached_property
    def causes(self) -> Mapping[str, ShownCount] | None:
        """By cause, in the areas that state causes: their codes are in several groups."""
        without_cause = _codes_of_areas(has_cause=False) - _codes_of_areas(has_cause=True)
        with_cause = [
            # Any area may have the codes that no list has.
            ShownCount(count.last, count.last, 0, count.high) if key.code == OTHER else count
            for key, count in self.codes.items()
            if key.code not in without_cause
        ]
        causes = self._counts(self.facts.causes)
        return None if reveals(self.last.total, whole([*causes.values()], with_cause)) else causes

    @cached_property
    def ends(self) -> Mapping[str, ShownCount] | None:
        """Delays by the time until their end."""
        return self._beside(self.facts.ends, self._codes_of(RestrictionGroup.DELAYED))

    @cached_property
    def ages(self) -> Mapping[str, ShownCount] | None:
        """By age."""
        return self._beside(self.facts.ages, _restricting(self.groups))

    @cached_property
    def groups(self) -> Mapping[str, ShownCount]:
        """By group, of the last night; each is the total of its codes."""
        ends = {str(RestrictionGroup.DELAYED): [*(self.ends or {}).values()]}
        return {
            group: self.small.total(*_both(amount), self._codes_of(group), ends.get(group, []))
            for group, amount in self.facts.last.groups.items()
        }

    @cached_property
    def cohorts(self) -> Sequence[ShownCohort]:
        """The cohorts with the highest rates; none if they would reveal who is not confirmed."""
        cohorts = sorted(map(self._cohort, self.facts.cohorts), key=_rank)[:COHORTS_SHOWN]
        rosters = whole([cohort.roster for cohort in cohorts], self._confirmation(-1))
        return [] if not self._has_more and reveals(rosters) else cohorts

    @cached_property
    def has_cohort_weeks(self) -> bool:
        """Whether what cohorts added and removed can stand beside the same by group."""
        by_cohort = zip(*(cohort.week[::2] for cohort in self.cohorts), strict=True)
        by_group = zip(*(week[::2] for week in self.week.values()), strict=True)
        return self._has_more or not any(map(reveals, map(whole, by_cohort, by_group)))

    @cached_property
    def nights(self) -> Sequence[ShownNight]:
        """By day. The last one is shown with all tables, the others by group alone."""
        facts, rest = self.facts.nights, [_REST] if self._has_more else []
        earlier = [self._night(n, self._counts(facts[n].groups)) for n in range(len(facts) - 1)]
        rosters = [cohort.roster for cohort in self.cohorts]
        persons = [cohort.persons for cohort in self.cohorts]
        last = self._night(
            -1,
            self.groups,
            ages=[*(self.ages or {}).values()],
            rosters=[*rosters, *rest] if rosters else [],
            persons=[*persons, *rest] if persons else [],
        )
        return [*earlier, last]

    @property
    def last(self) -> ShownNight:
        """The last night; call it only if something is published."""
        return self.nights[-1]

    @property
    def then(self) -> ShownNight | None:
        """The night that the last one is compared with."""
        then = self.facts.then
        return self.nights[list(self.facts.nights).index(then)] if then else None

    def _night(
        self,
        number: int,
        groups: Mapping[str, ShownCount],
        *,
        ages: Sequence[ShownCount] = (),
        rosters: Sequence[ShownCount] = (),
        persons: Sequence[ShownCount] = (),
    ) -> ShownNight:
        night, small = self.facts.nights[number], self.small
        confirmed, stale = confirmation = self._confirmation(number) or (None, None)
        total = small.total(*_both(night.total), _restricting(groups), ages)
        parts = [count for count in confirmation if count]
        return ShownNight(
            total=total,
            persons=_beside_range(small.total(night.persons, None, persons), total),
            groups=groups,
            roster=None
            if night.roster is None
            else small.total(night.roster, None, parts, rosters),
            confirmed=confirmed,
            stale=stale,
            missing=small.count(night.missing),
        )

    def _confirmation(self, number: int) -> Sequence[ShownCount]:
        """Persons of a night who are confirmed, and who are not; none if they were not counted."""
        night = self.facts.nights[number]
        if night.confirmed is None or night.stale is None:
            return ()
        return self.small.count(night.confirmed), self.small.count(night.stale)

    def _cohort(self, facts: CohortFacts) -> ShownCohort:
        roster, persons = self.small.count(facts.roster), self.small.count(facts.in_effect)
        is_ranked = persons.number is not None and roster.low >= RANKED_MIN
        return ShownCohort(
            name=facts.cohort or "",
            roster=roster,
            persons=persons,
            rate=(persons.number or 0) / (roster.number or 1) if is_ranked else None,
            week=self._each(facts.week),
        )

    @property
    def _has_more(self) -> bool:
        return len(self.facts.cohorts) > COHORTS_SHOWN

    def _codes_of(self, group: str) -> Sequence[ShownCount]:
        return [count for key, count in self.codes.items() if key.group == group]

    def _each(self, amounts: Iterable[Amount]) -> Sequence[ShownCount]:
        return [self.small.count(*_both(amount)) for amount in amounts]

    def _counts(self, amounts: Mapping[Key, Amount]) -> Mapping[Key, ShownCount]:
        return {key: self.small.count(*_both(amount)) for key, amount in amounts.items()}

    def _beside(
        self, amounts: Mapping[Key, Amount], parts: Sequence[ShownCount]
    ) -> Mapping[Key, ShownCount] | None:
        """A table of a count that other parts add up to; None if both would reveal a part."""
        counts = self._counts(amounts)
        return None if reveals(whole([*counts.values()], parts)) else counts


def _codes_of_areas(*, has_cause: bool) -> set[str]:
    """The codes of the areas that state causes, or of those that do not."""
    areas = [area for area in AREAS if bool(area.effect.cause) is has_cause]
    systems = {system for area in areas for system in systems_of(area.effect.code)}
    return {code.code for code in codes() if code.system in systems}


def _both(amount: Amount) -> tuple[int, int]:
    return amount.restrictions, amount.persons


def _restricting(groups: Mapping[str, ShownCount]) -> Sequence[ShownCount]:
    return [groups[group] for group in GROUPS if group in groups]


def _rank(cohort: ShownCohort) -> tuple[float, str]:
    return (1 if cohort.rate is None else -cohort.rate, cohort.name)


def _beside_range(persons: ShownCount, total: ShownCount) -> ShownCount:
    """Persons, who are at most as many as their restrictions: they must not narrow a range."""
    if total.number is not None or total.first == total.last or persons.last < total.first:
        return persons
    first, last = min(persons.first, total.first), max(persons.last, total.last)
    return ShownCount(first, last, min(persons.low, total.low), max(persons.high, total.high))
