"""Disclosure control: the counts that the report shows.

Small counts are hidden, and no table may reveal a small count of another table by subtraction.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Final, TypeVar

from worker.core.area import AREAS
from worker.core.display import MANY, ShownCount, SmallNumbers, reveals, whole, within
from worker.core.effect import RestrictionGroup
from worker.core.value import Value
from worker.report.figures import GROUPS, UNKNOWN, Amount, CodeKey, CohortFacts, ReportFacts
from worker.views import codes, systems_of

COHORTS_SHOWN: Final = 16
"""Rows that fit on a printed page."""
RATE_ROSTER_MIN: Final = 20
"""Minimum roster of a cohort with a rate. A rate of fewer persons is chance."""
_A_AFTER_Z: Final = str.maketrans("å", "\u00ff")
"""Sorts "å" after "æ" and "ø", as in Norwegian."""
_DIGITS_MAX: Final = 20
"""Numbers in names of cohorts are sorted up to this length."""
_NUMBER: Final = re.compile(r"\d+")
_FURTHER_COHORTS: Final = ShownCount(first=1, last=1, low=0, high=100)
"""The count of all cohorts beyond ``COHORTS_SHOWN``, which the table does not show.

Its bounds are so wide that it reveals no other count. They are finite, because
``SmallNumbers.total`` tries each total between them.
"""
_ADDED, _REMOVED = 0, 2
"""Places in a ``Week``."""
Key = TypeVar("Key")


class ShownNight(Value, frozen=True, kw_only=True):
    """The shown counts of ``NightFacts``. None: not counted."""

    total: ShownCount
    persons: ShownCount
    groups: Mapping[str, ShownCount]
    roster: ShownCount | None
    stale: ShownCount | None
    missing: ShownCount

    @property
    def has_rate(self) -> bool:
        """Whether the persons can be shown as a share of the roster."""
        # Persons with restrictions include missing persons, so they may outnumber the roster.
        if self.roster is None or self.persons.last > self.roster.last:
            return False
        # "Fewer than 15 of 10" is not a share.
        is_few_or_more = self.persons.is_few and self.persons.last > 0
        return not is_few_or_more

    def of(self, group: str) -> ShownCount:
        """Return the count of a group."""
        return self.groups.get(group, ShownCount(0, 0, 0, 0))


class ShownCohort(Value, frozen=True, kw_only=True):
    """The shown counts of ``CohortFacts``.

    Attributes:
        rate: persons with a restriction, as a share of the roster. None if they are few, or if the
            roster may be below ``RATE_ROSTER_MIN``.
        week: added, changed and removed.
    """

    name: str
    roster: ShownCount
    persons: ShownCount
    rate: float | None
    week: Sequence[ShownCount]


class ShownFacts:
    """The shown counts of ``ReportFacts``.

    They are computed bottom-up: codes, then groups, then all restrictions. A table that divides the
    same total in another way is None if the two tables together would reveal a count.
    """

    def __init__(self, facts: ReportFacts, small: SmallNumbers) -> None:
        self.facts = facts
        self.small = small
        self.codes: Mapping[CodeKey, ShownCount] = {
            key: _of_two_areas(count) if key.group == UNKNOWN else count
            for key, count in self._counts(facts.codes).items()
        }
        self.codes_then: Mapping[CodeKey, ShownCount] = self._counts(facts.codes_then)
        self.expired: Mapping[str, ShownCount] | None = self._counts(facts.expired)
        self.week: Mapping[str, Sequence[ShownCount]] = {
            group: self._each(week) for group, week in facts.week.items()
        }
        self.week_expired: Mapping[str, ShownCount] = self._counts(facts.week_expired)

    @cached_property
    def causes(self) -> Mapping[str, ShownCount] | None:
        """Restrictions by cause. Only some areas have a cause."""
        causes, total = self._counts(self.facts.causes), self.last.total
        divided = [self._by_area(group) for group in GROUPS if group in self.groups]
        with_cause = [count for counts, _ in divided for count in counts]
        without_cause = [count for _, counts in divided for count in counts]
        # A reader can compare the sum of all causes with the sum of the codes that have one.
        division = [whole([*causes.values()], with_cause), *without_cause]
        return None if reveals(total.divided([*total.divisions, division])) else causes

    def _by_area(self, group: str) -> tuple[Sequence[ShownCount], Sequence[ShownCount]]:
        """Divide the codes of a group: first those with a cause, then those without."""
        counts = {key: count for key, count in self.codes.items() if key.group == group}
        if group == UNKNOWN:
            parts = [count.divisions[0] for count in counts.values()]
            return [part[0] for part in parts], [part[1] for part in parts]
        never_have_cause = _codes_of_areas(has_cause=False) - _codes_of_areas(has_cause=True)
        with_cause = [count for key, count in counts.items() if key.code not in never_have_cause]
        without_cause = [count for key, count in counts.items() if key.code in never_have_cause]
        # If all codes are on one side, use the sum of the group. The page shows it, and its bounds
        # are narrower than those of the codes.
        if not without_cause:
            return [self.groups[group]], []
        if not with_cause:
            return [], [self.groups[group]]
        return with_cause, without_cause

    @cached_property
    def ends(self) -> Mapping[str, ShownCount] | None:
        """Delays by the time until their end."""
        return self._second_division(self.facts.ends, self._codes_of(RestrictionGroup.DELAYED))

    @cached_property
    def ages(self) -> Mapping[str, ShownCount] | None:
        """Restrictions by age."""
        return self._second_division(self.facts.ages, _restricting(self.groups))

    @cached_property
    def groups(self) -> Mapping[str, ShownCount]:
        """Restrictions of the last night by group. Each count is the total of its codes."""
        # Delays are divided twice, by code and by end, and neither table may reveal the other.
        ends = {str(RestrictionGroup.DELAYED): [*(self.ends or {}).values()]}
        return {
            group: self._total(amount, self._codes_of(group), ends.get(group, []))
            for group, amount in self.facts.last.groups.items()
        }

    @cached_property
    def cohorts(self) -> Sequence[ShownCohort]:
        """The cohorts with the highest rates, by name. Empty if they reveal a few stale persons."""
        cohorts = sorted(map(self._cohort, self.facts.cohorts), key=_rank)[:COHORTS_SHOWN]
        # Not by rate: one rounding step can move a cohort past several others.
        cohorts.sort(key=_name)
        # With further cohorts, the rosters in the table do not add up to a shown number.
        if self._has_further_cohorts:
            return cohorts
        rosters = whole([cohort.roster for cohort in cohorts], self._confirmation(-1))
        return [] if reveals(rosters) else cohorts

    @cached_property
    def has_cohort_weeks(self) -> bool:
        """Whether the changes of cohorts can be shown beside the changes of groups."""
        if self.facts.last.publication_no == 1:
            return False
        # With further cohorts, the changes in the table do not add up to those of the groups.
        if self._has_further_cohorts:
            return True
        # The table of cohorts has added and removed restrictions, but not changed ones.
        for place in (_ADDED, _REMOVED):
            by_cohort = [cohort.week[place] for cohort in self.cohorts]
            by_group = [week[place] for week in self.week.values()]
            if reveals(whole(by_cohort, by_group)):
                return False
        return True

    @cached_property
    def nights(self) -> Sequence[ShownNight]:
        """The nights in order. The last one has all tables, the others only groups."""
        facts, further = self.facts.nights, [_FURTHER_COHORTS] if self._has_further_cohorts else []
        earlier = [self._night(n, self._counts(facts[n].groups)) for n in range(len(facts) - 1)]
        rosters = [cohort.roster for cohort in self.cohorts]
        persons = [cohort.persons for cohort in self.cohorts]
        last = self._night(
            -1,
            self.groups,
            codes=[*self.codes.values()],
            ages=[*(self.ages or {}).values()],
            rosters=[*rosters, *further] if rosters else [],
            persons=[*persons, *further] if persons else [],
        )
        return [*earlier, last]

    @property
    def last(self) -> ShownNight:
        """The last night. Needs a publication."""
        return self.nights[-1]

    @property
    def then(self) -> ShownNight | None:
        """The night to compare the last one with."""
        then = self.facts.then
        return self.nights[list(self.facts.nights).index(then)] if then else None

    def _night(
        self,
        index: int,
        groups: Mapping[str, ShownCount],
        *,
        codes: Sequence[ShownCount] = (),
        ages: Sequence[ShownCount] = (),
        rosters: Sequence[ShownCount] = (),
        persons: Sequence[ShownCount] = (),
    ) -> ShownNight:
        night, small = self.facts.nights[index], self.small
        confirmation = self._confirmation(index)
        total = self._total(night.total, _restricting(groups), ages)
        rows = whole(_restricting(groups), codes, ages)
        return ShownNight(
            total=total,
            persons=_widened(self._persons(night.persons, persons, rows), total),
            groups=groups,
            roster=None
            if night.roster is None
            else small.total(night.roster, None, confirmation, rosters),
            stale=confirmation[-1] if confirmation else None,
            missing=small.count(night.missing),
        )

    def _persons(self, count: int, cohorts: Sequence[ShownCount], rows: ShownCount) -> ShownCount:
        """Return the shown number of persons with a restriction.

        If the number equalled the maximum that the rows allow, a reader would know that each hidden
        row has its maximum. So near the maximum, the number is shown as a range.
        """
        shown, top = self.small.total(count, None, cohorts), self.small.count(rows.most)
        below = self.small.count(max(top.first - self.small.step, 0))
        has_few = any(row.is_few for row in within([rows]))
        if has_few and top.first > rows.most and below.first <= shown.first <= top.first:
            return ShownCount(below.first, top.last, below.low, top.high)
        return shown

    def _confirmation(self, index: int) -> Sequence[ShownCount]:
        """Return confirmed and stale persons of a night. Empty if they were not counted."""
        night = self.facts.nights[index]
        if night.confirmed is None or night.stale is None:
            return ()
        return self.small.count(night.confirmed), self.small.count(night.stale)

    def _cohort(self, facts: CohortFacts) -> ShownCohort:
        roster, persons = self.small.count(facts.roster), self.small.count(facts.in_effect)
        # The smallest roster with this shown count: 18 is shown as 20.
        return ShownCohort(
            name=facts.cohort or "",
            roster=roster,
            persons=persons,
            rate=self.small.rate(persons, roster) if roster.low >= RATE_ROSTER_MIN else None,
            week=self._each(facts.week),
        )

    @property
    def _has_further_cohorts(self) -> bool:
        return len(self.facts.cohorts) > COHORTS_SHOWN

    def _codes_of(self, group: str) -> Sequence[ShownCount]:
        return [count for key, count in self.codes.items() if key.group == group]

    def _each(self, amounts: Iterable[Amount]) -> Sequence[ShownCount]:
        return [self._count(amount) for amount in amounts]

    def _counts(self, amounts: Mapping[Key, Amount]) -> Mapping[Key, ShownCount]:
        return {key: self._count(amount) for key, amount in amounts.items()}

    def _count(self, amount: Amount) -> ShownCount:
        return self.small.count(amount.restrictions, amount.persons)

    def _total(self, amount: Amount, *divisions: Sequence[ShownCount]) -> ShownCount:
        return self.small.total(amount.restrictions, amount.persons, *divisions)

    def _second_division(
        self, amounts: Mapping[Key, Amount], parts: Sequence[ShownCount]
    ) -> Mapping[Key, ShownCount] | None:
        """Return a second division of a total. None if both together would reveal a part."""
        counts = self._counts(amounts)
        return None if reveals(whole([*counts.values()], parts)) else counts


def _codes_of_areas(*, has_cause: bool) -> set[str]:
    """Return the codes of the areas with a cause, or of the areas without."""
    areas = [area for area in AREAS if bool(area.effect.cause) is has_cause]
    systems = {system for area in areas for system in systems_of(area.effect.code)}
    return {code.code for code in codes() if code.system in systems}


def _of_two_areas(count: ShownCount) -> ShownCount:
    """Divide the count of an unknown code between areas with a cause and areas without."""
    parts = [ShownCount(0, 0, 0, MANY), ShownCount(0, 0, 0, MANY)]
    return count.divided([parts])


def _restricting(groups: Mapping[str, ShownCount]) -> Sequence[ShownCount]:
    return [groups[group] for group in GROUPS if group in groups]


def _rank(cohort: ShownCohort) -> tuple[float, tuple[bool, str]]:
    return (1 if cohort.rate is None else -cohort.rate, _name(cohort))


def _name(cohort: ShownCohort) -> tuple[bool, str]:
    # With leading zeros, "Post 2" is before "Post 19".
    padded = _NUMBER.sub(lambda number: number[0].zfill(_DIGITS_MAX), cohort.name)
    return (not cohort.name, padded.casefold().translate(_A_AFTER_Z))


def _widened(persons: ShownCount, total: ShownCount) -> ShownCount:
    """Widen a number of persons, so that it does not narrow the range of their restrictions."""
    # Each person has at least one restriction: "20 persons" would turn "10 to 20" into 20.
    if total.number is not None or total.first == total.last or persons.last < total.first:
        return persons
    first, last = min(persons.first, total.first), max(persons.last, total.last)
    return ShownCount(first, last, min(persons.low, total.low), max(persons.high, total.high))
