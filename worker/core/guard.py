"""The guard: withholds runs with too many removals or too many unread areas (promise 5).

A limit on shares alone would withhold ordinary runs on small rosters (one restriction of three is a
third); a limit on counts alone would publish a truncated roster. So a share applies only above a
small absolute number, and closing more than half always exceeds it.
"""

from collections.abc import Sequence
from typing import Final

from worker.core.value import Value

SMALL_RESTRICTIONS: Final = 5
"""Restrictions that may close in any run, unless they are more than half of all."""
SMALL_PERSONS: Final = 3
"""Persons whose restrictions may close in any run, unless the restrictions, or the persons who
lose one, are more than half of all."""
EARLY_SLACK: Final = 10
"""Margin of the early stop: a second read may contradict removals that count before it."""
EVIDENCE_MIN: Final = 10
"""Second reads that must agree before the removals claimed by first reads count."""


class GuardLimits(Value, frozen=True, kw_only=True):
    """The operator's limits.

    Attributes:
        max_removed_share: share of open restrictions (or of persons) that one run may close.
        min_completeness: share of person-areas that must be read; does not apply to a backfill.
        accept_removals: the operator has confirmed that the removals are correct.
    """

    max_removed_share: float
    min_completeness: float
    accept_removals: bool = False


class AreaFacts(Value, frozen=True, kw_only=True):
    """The removals of a run in one area, so that a large area cannot hide a broken small one.

    Attributes:
        open_before: its open restrictions, as published.
        removed: those that the run removes.
        persons_affected: persons who lose at least one.
    """

    area: str
    open_before: int
    removed: int
    persons_affected: int


class GuardFacts(Value, frozen=True, kw_only=True):
    """What publication of a run would change.

    Attributes:
        open_before: open restrictions, as published, in the scope of the run.
        holders_before: persons with at least one of them.
        persons_before: persons in the store who have not departed.
        removed: restrictions removed; changed ones do not count.
        persons_affected: persons who lose at least one.
        departing: persons who are no longer on the roster.
        areas_attempted: person-areas requested; a roster error counts once per area.
        areas_complete: person-areas read to their last page.
        is_subset: a backfill; shares of an arbitrary subset are no sign of an error.
        areas: the removals per area.
    """

    open_before: int
    holders_before: int
    persons_before: int
    removed: int
    persons_affected: int
    departing: int
    areas_attempted: int
    areas_complete: int
    is_subset: bool = False
    areas: tuple[AreaFacts, ...] = ()


_TOO_LITTLE: Final = "only "


def advice(reasons: Sequence[str]) -> str:
    """The hint for a withheld run. Removals can be accepted, unless too little was read."""
    if any(reason.startswith(_TOO_LITTLE) for reason in reasons):
        return (
            "see what could not be read with `pts-worker failures list` and, of the roster, in the "
            "log; check the address with `pts-worker doctor --probe`"
        )
    return "check what changed; if it is correct, run `pts-worker sync --accept-removals`"


def removal_limit(facts: GuardFacts, limits: GuardLimits) -> float:
    """How many restrictions the run may remove, whatever the number of persons."""
    small = (
        SMALL_RESTRICTIONS if facts.is_subset else min(SMALL_RESTRICTIONS, facts.open_before / 2)
    )
    return max(limits.max_removed_share * facts.open_before, small)


def departure_limit(facts: GuardFacts, limits: GuardLimits) -> float:
    """How many persons may depart in one run."""
    small = max(1.0, min(SMALL_PERSONS, facts.persons_before / 4))
    return max(limits.max_removed_share * facts.persons_before, small)


def reasons_to_withhold(facts: GuardFacts, limits: GuardLimits) -> tuple[str, ...]:
    """Why the run must not be published; empty if it may be."""
    reasons = []
    if not limits.accept_removals:
        reasons += _removals(facts, limits)
    if facts.areas_attempted and not facts.is_subset:
        share = facts.areas_complete / facts.areas_attempted
        if share < limits.min_completeness:
            reasons.append(
                f"{_TOO_LITTLE}{facts.areas_complete} of {facts.areas_attempted} person-areas "
                f"could be read ({share:.0%}; sync.min_completeness is "
                f"{limits.min_completeness:.0%})"
            )
    return tuple(reasons)


def _removals(facts: GuardFacts, limits: GuardLimits) -> list[str]:
    reasons = []
    persons_small = (
        SMALL_PERSONS if facts.is_subset else min(SMALL_PERSONS, facts.holders_before / 2)
    )
    is_most = not facts.is_subset and facts.removed > facts.open_before / 2
    if facts.removed > removal_limit(facts, limits) and (
        is_most or facts.persons_affected > persons_small
    ):
        reasons.append(
            f"{facts.removed} of {facts.open_before} open restrictions of "
            f"{facts.persons_affected} persons would close "
            f"(sync.max_removed_share is {limits.max_removed_share:.0%})"
        )
    else:
        reasons += _area_removals(facts, limits)
    if facts.departing > departure_limit(facts, limits):
        reasons.append(
            f"{facts.departing} of {facts.persons_before} persons are no longer on the roster "
            f"(sync.max_removed_share is {limits.max_removed_share:.0%})"
        )
    return reasons


def _area_removals(facts: GuardFacts, limits: GuardLimits) -> list[str]:
    """Reasons of single areas. All that one person has in a small area is no sign of an error."""
    all_may_close = facts.is_subset or limits.max_removed_share >= 1
    return [
        f"{area.removed} of {area.open_before} open restrictions of {area.area}, of "
        f"{area.persons_affected} persons, would close "
        f"(sync.max_removed_share is {limits.max_removed_share:.0%})"
        for area in facts.areas
        if (area.persons_affected > 1 and area.removed == area.open_before and not all_may_close)
        or (
            area.removed > max(limits.max_removed_share * area.open_before, SMALL_RESTRICTIONS)
            and area.persons_affected > SMALL_PERSONS
        )
    ]


def stops_early(facts: GuardFacts, limits: GuardLimits) -> bool:
    """Whether so much has been removed that the run should stop before the end."""
    if limits.accept_removals or facts.is_subset:
        return False
    beyond = facts.removed > 2 * removal_limit(facts, limits) + EARLY_SLACK
    return beyond and bool(_removals(facts, limits))


def evidence_needed(contradicted: int) -> int:
    """How many second reads must confirm removals before all claimed removals count."""
    return EVIDENCE_MIN * max(1, contradicted)
