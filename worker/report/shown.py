"""The counts of a report as it shows them, so that no table reveals a small count of another."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Final, TypeVar

from worker.core.display import ShownCount, SmallNumbers, reveals, whole
from worker.core.effect import RestrictionGroup
from worker.core.value import Value
from worker.report.figures import GROUPS, OTHER, Amount, CodeKey, CohortFacts, Movement, ReportFacts
from worker.views import codes

COHORTS_SHOWN: Final = 16
"""As many as fit on a printed page."""
RANKED_MIN: Final = 20
"""Persons on a roster from which a rate is compared with others."""
_MANY: Final = 10**9
_NONE: Final = ShownCount(0, 0, 0, 0)
Key = TypeVar("Key")


class ShownNight(Value, frozen=True, kw_only=True):
    """The counts of ``NightFacts``; None: not counted."""

    total: ShownCount
    persons: ShownCount
    groups: Mapping[str, ShownCount]
    roster: ShownCount | None
    confirmed: ShownCount | None
    stale: ShownCount | None

    def of(self, group: str) -> ShownCount:
        """The count of a group."""
        return self.groups.get(group, _NONE)


class ShownMovement(Value, frozen=True):
    """The counts of ``Movement``."""

    added: ShownCount
    changed: ShownCount
    removed: ShownCount


class ShownCohort(Value, frozen=True, kw_only=True):
    """The counts of ``CohortFacts``. ``rate``: persons of 1; None for few or a small cohort."""

    name: str | None
    roster: ShownCount
    persons: ShownCount
    rate: float | None
    week: ShownMovement


class ShownFacts:
    """The counts of ``ReportFacts``.

    Counts are shown from the parts to the totals: codes, groups, all restrictions. A table that
    divides one of these in another way is None if both together would reveal a count.
    """

    def __init__(self, facts: ReportFacts, small: SmallNumbers) -> None:
        self.facts = facts
        self.small = small

    @cached_property
    def codes(self) -> Mapping[CodeKey, ShownCount]:
        """By code, of the last night."""
        return self._counts(self.facts.codes)

    @cached_property
    def codes_then(self) -> Mapping[CodeKey, ShownCount]:
        """By code, of the night that the last one is compared with."""
        return self._counts(self.facts.codes_then)

    @cached_property
    def causes(self) -> Mapping[str, ShownCount] | None:
        """By cause, in the area that states causes: its codes are in several groups."""
        privacy = {code.code for code in codes() if code.system == "privacy_type"}
        safety = [count for key, count in self.codes.items() if key.code not in {*privacy, OTHER}]
        unknown = [count for key, count in self.codes.items() if key.code == OTHER]
        safety += [ShownCount(count.last, count.last, 0, count.high) for count in unknown]
        causes = self._counts(self.facts.causes)
        return None if reveals(self.last.total, whole([*causes.values()], safety)) else causes

    @cached_property
    def ends(self) -> Mapping[str, ShownCount] | None:
        """Delays by the time until their end."""
        return self._beside(self.facts.ends, self._codes_of(RestrictionGroup.DELAYED))

    @cached_property
    def ages(self) -> Mapping[str, ShownCount] | None:
        """By age."""
        return self._beside(self.facts.ages, _restricting(self.groups))

    @cached_property
    def expired(self) -> Mapping[str, ShownCount]:
        """Past their end, by the time since then."""
        return self._counts(self.facts.expired)

    @cached_property
    def failed(self) -> Mapping[str, ShownCount]:
        """Persons that could not be read, by kind of failure."""
        return {kind: self.small.count(n) for kind, n in self.facts.last.failed.items()}

    @cached_property
    def groups(self) -> Mapping[str, ShownCount]:
        """By group, of the last night; each is the total of its codes."""
        ends = list((self.ends or {}).values())
        return {
            group: self.small.total(
                amount.restrictions,
                amount.persons,
                self._codes_of(group),
                ends if group == RestrictionGroup.DELAYED else (),
            )
            for group, amount in self.facts.last.groups.items()
        }

    @cached_property
    def week(self) -> Mapping[str, ShownMovement]:
        """Movements by group."""
        return {group: self._moved(week) for group, week in self.facts.week.items()}

    @cached_property
    def cohorts(self) -> Sequence[ShownCohort]:
        """The cohorts with the highest rates; none if they would reveal who is not confirmed."""
        shown = sorted(map(self._cohort, self.facts.cohorts), key=_rank)[:COHORTS_SHOWN]
        rosters = whole([cohort.roster for cohort in shown], self._confirmation(-1))
        if not self._has_more and reveals(rosters):
            return ()
        return shown

    @cached_property
    def has_cohort_weeks(self) -> bool:
        """Whether the movements of cohorts can stand beside those of groups."""
        by_cohort = [cohort.week for cohort in self.cohorts]
        by_group = list(self.week.values())
        added = whole([week.added for week in by_cohort], [week.added for week in by_group])
        removed = whole([week.removed for week in by_cohort], [week.removed for week in by_group])
        return self._has_more or not (reveals(added) or reveals(removed))

    @cached_property
    def nights(self) -> Sequence[ShownNight]:
        """By day. The last one is shown with all tables, the others by group alone."""
        facts = self.facts.nights
        earlier = [self._night(n, self._counts(facts[n].groups)) for n in range(len(facts) - 1)]
        last = self._night(
            -1,
            self.groups,
            ages=(self.ages or {}).values(),
            rosters=self._divided([cohort.roster for cohort in self.cohorts]),
            persons=self._divided([cohort.persons for cohort in self.cohorts]),
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
        ages: Iterable[ShownCount] = (),
        rosters: Sequence[ShownCount] = (),
        persons: Sequence[ShownCount] = (),
    ) -> ShownNight:
        night, small = self.facts.nights[number], self.small
        confirmation = self._confirmation(number)
        amount = night.total
        total = small.total(amount.restrictions, amount.persons, _restricting(groups), list(ages))
        confirmed, stale = confirmation or (None, None)
        roster = night.roster
        return ShownNight(
            total=total,
            persons=_at_most(small.total(night.persons, None, persons), total),
            groups=groups,
            roster=None if roster is None else small.total(roster, None, confirmation, rosters),
            confirmed=confirmed,
            stale=stale,
        )

    def _confirmation(self, number: int) -> Sequence[ShownCount]:
        """Persons of a night who are confirmed, and who are not; none if they were not counted."""
        night = self.facts.nights[number]
        if night.confirmed is None or night.stale is None:
            return ()
        return [self.small.count(night.confirmed), self.small.count(night.stale)]

    def _cohort(self, facts: CohortFacts) -> ShownCohort:
        roster, persons = self.small.count(facts.roster), self.small.count(facts.in_effect)
        rate = None
        if persons.number is not None and (roster.number or 0) >= RANKED_MIN:
            rate = persons.number / (roster.number or 1)
        return ShownCohort(
            name=facts.cohort,
            roster=roster,
            persons=persons,
            rate=rate,
            week=self._moved(facts.week),
        )

    @property
    def _has_more(self) -> bool:
        return len(self.facts.cohorts) > COHORTS_SHOWN

    def _divided(self, parts: list[ShownCount]) -> Sequence[ShownCount]:
        """The parts of a total by cohort, with those that are not shown."""
        if not parts or not self._has_more:
            return parts
        return [*parts, ShownCount(1, 1, 0, _MANY)]

    def _codes_of(self, group: str) -> Sequence[ShownCount]:
        return [count for key, count in self.codes.items() if key.group == group]

    def _moved(self, moved: Movement) -> ShownMovement:
        return ShownMovement(*map(self._count, (moved.added, moved.changed, moved.removed)))

    def _count(self, amount: Amount) -> ShownCount:
        return self.small.count(amount.restrictions, amount.persons)

    def _counts(self, amounts: Mapping[Key, Amount]) -> Mapping[Key, ShownCount]:
        return {key: self._count(amount) for key, amount in amounts.items()}

    def _beside(
        self, amounts: Mapping[Key, Amount], parts: Sequence[ShownCount]
    ) -> Mapping[Key, ShownCount] | None:
        """A table of a count that other parts add up to; None if both would reveal a part."""
        counts = self._counts(amounts)
        return None if reveals(whole([*counts.values()], parts)) else counts


def _restricting(groups: Mapping[str, ShownCount]) -> Sequence[ShownCount]:
    return [groups[group] for group in GROUPS if group in groups]


def _rank(cohort: ShownCohort) -> tuple[float, str]:
    return (1 if cohort.rate is None else -cohort.rate, cohort.name or "")


def _at_most(persons: ShownCount, restrictions: ShownCount) -> ShownCount:
    """Persons beside their restrictions: inside the range of a total they would narrow it."""
    is_range = restrictions.first < restrictions.last
    if not is_range or persons.last < restrictions.first:
        return persons
    return ShownCount(
        min(persons.first, restrictions.first),
        max(persons.last, restrictions.last),
        min(persons.low, restrictions.low),
        max(persons.high, restrictions.high),
    )
