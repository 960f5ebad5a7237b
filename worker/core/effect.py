"""Whether a restriction is in effect: the one definition, as SQL that both databases read.

A restriction counts from its beginning until before its end, unless its code restricts nothing. A
code that the worker does not know restricts: it has no group, but is never left out of a count.

A delay in days without a time restricts nothing yet: it is a rule of a requisition for the result
that will come (PTS reference, 3.1). The result gets a restriction of its own, with the time that
PTS has computed, and that one counts; with the rule it would be counted twice.
The same SQL makes the reporting views, the facts of a publication and the report.
"""

import enum
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from worker.core.value import Value

_NEVER_FROM: Final = "'9999-01-01T00:00:00+00:00'"
"""PTS's "never" is the year 9999 (pts reference, section 0, point 5)."""


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
    """A rule for a result to come: its delay is counted from then, so its end is not known."""
    NONE = "none"
    """Nothing is restricted."""


class Figure(enum.StrEnum):
    """In which way a figure of a publication divides restrictions; those in effect, if not said."""

    GROUP = "group"
    """By group; of ``RestrictionGroup.PENDING`` those that stand."""
    CODE = "code"
    """By group, code and level."""
    CAUSE = "cause"
    """By how they came about, in the areas that say so."""
    AGE = "age"
    """By the time since PTS made them."""
    ENDS = "ends"
    """Delays, by the time until they end."""
    EXPIRED = "expired"
    """What PTS lists after its end, by the time since then."""
    WEEK = "week"
    """What restricts and came, changed or went in seven days."""
    WEEK_GROUP = "week_group"
    """The same by group."""


class DelayRule(Value, frozen=True, kw_only=True):
    """By which columns a delay is a rule for a result to come.

    Attributes:
        days: the column with the days of the delay.
        since: the column of the time from which they count, if it is known.
        about: the column of the kind of document.
        results: kinds that are results themselves: their delay restricts.
    """

    days: str
    since: str
    about: str
    results: tuple[str, ...]


class Effect(Value, frozen=True, kw_only=True):
    """By which columns of an area a restriction is in effect.

    Attributes:
        code: the column whose value says what the restriction does.
        groups: codes by group.
        prefixes: beginnings of codes that PTS may add, by group.
        ends: the column of its end; none, or the year 9999, is indefinite.
        begins: the column of its beginning, if there is one.
        level: the column that divides a code, for counts.
        cause: the column that says how a restriction came about, for counts.
        rule: how to tell a delay that is a rule for a result to come.
        ranges: a column of JSON. With several ranges in it no beginning or end counts: the columns
            hold the first range alone, and the worker does not claim that the others are over.
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


def group_of(effect: Effect, code: str) -> str | None:
    """The restriction's group by its code; None for a code that is not known."""
    for group, known in effect.groups:
        if code in known:
            return group
    for group, prefix in effect.prefixes:
        if code.startswith(prefix):
            return group
    return None


def group_sql(effect: Effect, row: str) -> str:
    """The restriction's group in SQL: NULL for a code that is not known.

    Args:
        row: the name of the table or view in the query.
    """
    code = f"{row}.{effect.code}"
    cases = [f"WHEN {rule} THEN '{RestrictionGroup.PENDING}'" for rule in _rule(effect, row)]
    cases += [f"WHEN {code} IN ({_texts(codes)}) THEN '{group}'" for group, codes in effect.groups]
    cases += [
        f"WHEN substr({code}, 1, {len(prefix)}) = '{prefix}' THEN '{group}'"
        for group, prefix in effect.prefixes
    ]
    return f"CASE {' '.join(cases)} END"


def ends_at_sql(effect: Effect, row: str) -> str:
    """When it ends; NULL if that is indefinite, and never the year 9999."""
    column = f"{row}.{effect.ends}"
    return f"CASE WHEN {column} < {_NEVER_FROM}{_single(effect, row)} THEN {column} END"


def in_effect_sql(effect: Effect, row: str, now: str) -> str:
    """A condition: whether it is in effect at an instant. It is never NULL.

    Args:
        row: the name of the table or view in the query.
        now: an expression for the instant, or what ``instant_sql`` gives.
    """
    single = _single(effect, row)
    code = f"{row}.{effect.code}"
    nothing = [code for group, codes in effect.groups if group == "none" for code in codes]
    cases = [f"WHEN {code} IN ({_texts(nothing)}) THEN 0"] if nothing else []
    cases += [f"WHEN {rule} THEN 0" for rule in _rule(effect, row)]
    cases.append(f"WHEN {row}.{effect.ends} <= {now}{single} THEN 0")
    if effect.begins:
        cases.append(f"WHEN {row}.{effect.begins} > {now}{single} THEN 0")
    return f"CASE {' '.join(cases)} ELSE 1 END = 1"


def is_in_effect(effect: Effect, values: Mapping[str, Any], now: datetime) -> bool:
    """``in_effect_sql`` for the columns of one restriction."""
    group = group_of(effect, values[effect.code] or "")
    if group == RestrictionGroup.NONE:
        return False
    if group == RestrictionGroup.DELAYED and _is_rule(effect, values):
        return False
    if effect.ranges and (values[effect.ranges] or "").count("},{"):
        return True
    ends, begins = values[effect.ends], values[effect.begins] if effect.begins else None
    return not (ends is not None and ends <= now) and not (begins is not None and begins > now)


def _rule(effect: Effect, row: str) -> list[str]:
    """The condition that a row is a rule for a result to come, if the area has such rules."""
    if effect.rule is None:
        return []
    rule, delayed = effect.rule, dict(effect.groups)[RestrictionGroup.DELAYED]
    about = f"{row}.{rule.about}"
    is_delay = f"{row}.{effect.code} IN ({_texts(delayed)}) AND {row}.{rule.days} IS NOT NULL"
    has_no_time = f"{row}.{effect.ends} IS NULL AND {row}.{rule.since} IS NULL"
    is_no_result = f"({about} IS NULL OR {about} NOT IN ({_texts(rule.results)}))"
    return [f"{is_delay} AND {has_no_time} AND {is_no_result}"]


def _is_rule(effect: Effect, values: Mapping[str, Any]) -> bool:
    """``_rule`` for a restriction with a code that delays."""
    rule = effect.rule
    return (
        rule is not None
        and values[rule.days] is not None
        and values[effect.ends] is None
        and values[rule.since] is None
        and values[rule.about] not in rule.results
    )


def instant_sql(at: datetime) -> str:
    """An instant as a literal that compares with a time column of either database."""
    return f"'{at.astimezone(UTC).isoformat(timespec='microseconds')}'"


def _single(effect: Effect, row: str) -> str:
    """That there is one range at most. The texts are canonical JSON."""
    if not effect.ranges:
        return ""
    column = f"{row}.{effect.ranges}"
    return f" AND ({column} IS NULL OR {column} NOT LIKE '[%}},{{%')"


def _texts(codes: Iterable[str]) -> str:
    return ", ".join(f"'{code}'" for code in codes)
