"""The effect of a restriction: what it does, from when and until when.

``effect_of`` computes it once, when a record is read. The store keeps the result in columns of its
own, so that every statement asks the same short question: does it restrict, has it begun, is it
not over yet?

An unknown code restricts, because a count must not leave it out. It has no group.

A delay in days without a time restricts nothing yet. It is a rule of a requisition for a result to
come (PTS reference, 3.1). The result gets a restriction of its own, with the time that PTS has
computed. Counting the rule as well would count the delay twice.
"""

import enum
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from worker.core.times import END_OF_TIME
from worker.core.value import Value


class RestrictionGroup(enum.StrEnum):
    """What a restriction does, for those who count."""

    DENIED = "denied"
    """The citizen does not see it."""
    DELAYED = "delayed"
    """The citizen sees it later."""
    BLOCKED = "blocked"
    """The citizen keeps it from health personnel."""
    SHIELDED = "shielded"
    """Staff keep it from health personnel, for the citizen."""
    PENDING = "pending"
    """A rule for a result to come: the delay starts with the result, so its end is unknown."""
    NONE = "none"
    """Nothing is restricted."""


class Figure(enum.StrEnum):
    """The dimension of a published figure. Without another word it counts active restrictions."""

    GROUP = "group"
    """By group, pending restrictions included."""
    CODE = "code"
    """By group, code and level."""
    CAUSE = "cause"
    """By cause, in the areas that have one."""
    AGE = "age"
    """By the time since PTS created them."""
    ENDS = "ends"
    """Delays, by the time until they end."""
    EXPIRED = "expired"
    """Restrictions that PTS lists after their end, by the time since then."""
    WEEK = "week"
    """Restrictions that came, changed or went in seven days."""
    WEEK_GROUP = "week_group"
    """``WEEK`` by group."""
    WEEK_EXPIRED = "week_expired"
    """Restrictions that PTS still lists and whose end passed in seven days, by group."""


class DelayRule(Value, frozen=True, kw_only=True):
    """The columns that tell a delay from a rule for a result to come.

    Attributes:
        days: the column with the days of the delay.
        since: the column with the time from which the days count, if it is known.
        about: the column with the kind of document.
        results: kinds of documents that are results themselves: their delay restricts.
    """

    days: str
    since: str
    about: str
    results: tuple[str, ...]


class EffectRule(Value, frozen=True, kw_only=True):
    """The columns of an area that decide the effect of a restriction.

    Attributes:
        code: the column whose value names the group.
        groups: codes by group.
        prefixes: beginnings of codes that PTS may add, by group.
        ends: the column with the end. No value, or the year 9999, is indefinite.
        begins: the column with the beginning, if there is one.
        level: the column that divides a code, for counts.
        cause: the column with the cause, for counts.
        rule: how to tell a delay from a rule for a result to come.
        ranges: a column of JSON. With several ranges no beginning or end counts: the columns hold
            the first range alone, and the worker does not claim that the others are over.
    """

    code: str
    groups: tuple[tuple[RestrictionGroup, tuple[str, ...]], ...]
    prefixes: tuple[tuple[RestrictionGroup, str], ...] = ()
    ends: str
    begins: str = ""
    level: str = ""
    cause: str = ""
    ranges: str = ""
    rule: DelayRule | None = None

    @property
    def deciding(self) -> frozenset[str]:
        """The columns that decide whether a restriction is in effect, and how much it restricts."""
        rule = (self.rule.days, self.rule.since, self.rule.about) if self.rule else ()
        return frozenset({self.code, self.level, self.begins, self.ends, self.ranges, *rule})


class Effect(NamedTuple):
    """The effect of one restriction, as the store keeps it.

    Attributes:
        restriction_group: None for an unknown code.
        restricts: false for a code that restricts nothing, and for a rule for a result to come.
        effect_from: None if it has always been in effect.
        effect_until: None if it is indefinite, or not known.
    """

    restriction_group: RestrictionGroup | None
    restricts: bool
    effect_from: datetime | None
    effect_until: datetime | None

    def is_active(self, at: datetime) -> bool:
        """Whether it is in effect at an instant: from its beginning until before its end."""
        has_begun = self.effect_from is None or self.effect_from <= at
        is_over = self.effect_until is not None and self.effect_until <= at
        return self.restricts and has_begun and not is_over


def effect_of(rule: EffectRule, values: Mapping[str, Any]) -> Effect:
    """The effect of a restriction.

    Args:
        values: the area's typed columns by name; all of ``rule.deciding`` are there.
    """
    group = group_of(rule, values[rule.code] or "")
    if group == RestrictionGroup.DELAYED and _awaits_result(rule, values):
        group = RestrictionGroup.PENDING
    restricts = group not in {RestrictionGroup.NONE, RestrictionGroup.PENDING}
    if rule.ranges and _is_several(values[rule.ranges]):
        return Effect(group, restricts, None, None)
    begins = values[rule.begins] if rule.begins else None
    ends = values[rule.ends]
    # PTS writes "never" as the year 9999 (PTS reference, section 0, point 5).
    is_endless = ends is None or ends >= END_OF_TIME
    return Effect(group, restricts, begins, None if is_endless else ends)


def group_of(rule: EffectRule, code: str) -> RestrictionGroup | None:
    """The group of a code; None for an unknown code."""
    for group, codes in rule.groups:
        if code in codes:
            return group
    for group, prefix in rule.prefixes:
        if code.startswith(prefix):
            return group
    return None


def _awaits_result(rule: EffectRule, values: Mapping[str, Any]) -> bool:
    """Whether a restriction with a delaying code is a rule for a result to come."""
    delay = rule.rule
    if delay is None or values[delay.days] is None:
        return False
    has_time = values[rule.ends] is not None or values[delay.since] is not None
    return not has_time and values[delay.about] not in delay.results


def _is_several(ranges: str | None) -> bool:
    """Whether canonical JSON holds more than one range."""
    return ranges is not None and "},{" in ranges
