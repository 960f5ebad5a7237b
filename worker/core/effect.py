"""The effect of a restriction: its group, its beginning and its end.

``effect_of`` computes the effect once, when a record is read. The store saves it in separate
columns, so that SQL can test with one short condition whether it restricts now
(``store.derived.is_active``).

A restriction with an unknown code counts as active, so that no count omits it. It has no group.

A delay in days without a time restricts nothing yet. It is a rule on a requisition, for a result
that does not exist yet (PTS reference, 3.1). The result gets a restriction of its own, with a time
computed by PTS, so counting the rule as well would count the delay twice.
"""

import enum
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from worker.core.times import END_OF_TIME
from worker.core.value import Value


class RestrictionGroup(enum.StrEnum):
    """The kind of effect of a restriction, for counting."""

    DENIED = "denied"
    """The citizen cannot see the information."""
    DELAYED = "delayed"
    """The citizen can see the information later."""
    BLOCKED = "blocked"
    """The citizen has blocked access by health personnel."""
    SHIELDED = "shielded"
    """Staff have blocked access by health personnel on the citizen's behalf."""
    PENDING = "pending"
    """A rule for a future result: the delay starts with the result, so its end is unknown."""
    NONE = "none"
    """The code restricts nothing."""


class Figure(enum.StrEnum):
    """The dimension of a published figure. Figures count active restrictions, unless noted."""

    GROUP = "group"
    """By group. Includes pending restrictions."""
    CODE = "code"
    """By group, code and level. Unknown codes of a group count together, without a level."""
    CAUSE = "cause"
    """By cause, in the areas that have one. A missing cause counts as ``Undefined``."""
    AGE = "age"
    """By the time since PTS created them."""
    ENDS = "ends"
    """Delays, by the time until they end."""
    EXPIRED = "expired"
    """Expired restrictions that PTS still lists, by the time since their end."""
    WEEK = "week"
    """Restrictions that were added, changed or removed in seven days."""
    WEEK_GROUP = "week_group"
    """``WEEK`` by group."""
    WEEK_EXPIRED = "week_expired"
    """Restrictions that expired in seven days and are still in PTS, by group."""


class DelayRule(Value, frozen=True, kw_only=True):
    """The columns that distinguish a delay from a rule for a future result.

    Attributes:
        days: the column with the days of the delay.
        since: the column with the start of these days, if it is known.
        about: the column with the kind of document.
        results: the kinds of documents that are results. A delay of a result is never a rule.
    """

    days: str
    since: str
    about: str
    results: tuple[str, ...]


class EffectRule(Value, frozen=True, kw_only=True):
    """The columns of an area that decide the effect of a restriction.

    Attributes:
        code: the column with the code, which decides the group.
        groups: codes by group.
        prefixes: prefixes of codes that PTS may add, by group.
        ends: the column with the end. No value, or the year 9999, means indefinite.
        begins: the column with the beginning, if there is one.
        level: the column that subdivides a code, for counts.
        cause: the column with the cause, for counts.
        delay: the columns that distinguish a delay from a rule for a future result.
        ranges: a column with a JSON list of time ranges, if there is one. With several ranges,
            beginning and end are ignored, because their columns contain the first range only.
    """

    code: str
    groups: tuple[tuple[RestrictionGroup, tuple[str, ...]], ...]
    prefixes: tuple[tuple[RestrictionGroup, str], ...] = ()
    ends: str
    begins: str = ""
    level: str = ""
    cause: str = ""
    ranges: str = ""
    delay: DelayRule | None = None

    @property
    def deciding(self) -> frozenset[str]:
        """The columns that decide whether a restriction is in effect, and its group and level."""
        delay = (self.delay.days, self.delay.since, self.delay.about) if self.delay else ()
        return frozenset({self.code, self.level, self.begins, self.ends, self.ranges, *delay})


class Effect(NamedTuple):
    """The effect of one restriction, as stored.

    Attributes:
        restriction_group: None for an unknown code.
        restricts: false for a code that restricts nothing, and for a rule for a future result.
        effect_from: None if it has always been in effect.
        effect_until: None if it is indefinite or unknown.
    """

    restriction_group: RestrictionGroup | None
    restricts: bool
    effect_from: datetime | None
    effect_until: datetime | None

    def is_active(self, at: datetime) -> bool:
        """Whether it is in effect at a time. The beginning is inclusive, the end exclusive."""
        has_begun = self.effect_from is None or self.effect_from <= at
        is_over = self.effect_until is not None and self.effect_until <= at
        return self.restricts and has_begun and not is_over


def effect_of(rule: EffectRule, values: Mapping[str, Any]) -> Effect:
    """The effect of a restriction.

    Args:
        values: typed columns by name, at least all of ``rule.deciding``.
    """
    group = group_of(rule, values[rule.code] or "")
    if group == RestrictionGroup.DELAYED and _awaits_result(rule, values):
        group = RestrictionGroup.PENDING
    restricts = group not in {RestrictionGroup.NONE, RestrictionGroup.PENDING}
    # An end taken from the first range would hide a second range that is still to come.
    if rule.ranges and _has_several(values[rule.ranges]):
        return Effect(group, restricts, None, None)
    begins = values[rule.begins] if rule.begins else None
    ends = values[rule.ends]
    # PTS writes "never" as the year 9999 (PTS reference, section 0, point 5).
    is_endless = ends is None or ends >= END_OF_TIME
    return Effect(group, restricts, begins, None if is_endless else ends)


def group_of(rule: EffectRule, code: str) -> RestrictionGroup | None:
    """The group of a code. None for an unknown code."""
    # Whole codes first, because a known code may begin with a prefix of another group.
    for group, codes in rule.groups:
        if code in codes:
            return group
    for group, prefix in rule.prefixes:
        if code.startswith(prefix):
            return group
    return None


def _awaits_result(rule: EffectRule, values: Mapping[str, Any]) -> bool:
    """Whether a restriction with a code of a delay is a rule for a future result."""
    # Only a delay without any time is a rule: a time shows that the result exists.
    delay = rule.delay
    if delay is None or values[delay.days] is None:
        return False
    has_time = values[rule.ends] is not None or values[delay.since] is not None
    return not has_time and values[delay.about] not in delay.results


def _has_several(ranges: str | None) -> bool:
    """Whether a list of ranges in canonical JSON has more than one element."""
    # Canonical JSON has no spaces, so the text need not be parsed for each record.
    return ranges is not None and "},{" in ranges
