"""Too good to be true is withheld: the guard over a run's removals and completeness (promise 5).

Shares alone would hold back an ordinary night on a small roster (one restriction of three lifted is
a third), and counts alone would let a cut roster through. So a share counts only when the number
behind it is not small; and closing everything is never small.
"""

from collections.abc import Sequence
from typing import Final

from worker.core.value import Value

SMALL_RESTRICTIONS: Final = 5
"""So many restrictions may close in any night, unless they are more than half of all."""
SMALL_PERSONS: Final = 3
"""Restrictions of so many persons may close in any night, unless they are more than half of all."""
EARLY_SLACK: Final = 10
"""Before the end, a removal may yet turn out to be a move; so stop early only well beyond."""
EVIDENCE_MIN: Final = 10
"""So many second reads must agree before what first reads claim to be gone counts."""


class GuardLimits(Value, frozen=True, kw_only=True):
    """What the operator allows.

    Attributes:
        max_removed_share: share of open restrictions (or of persons) that one run may close.
        min_completeness: share of person-areas that must have been read; not asked of a backfill,
            which is made for those who could not be read.
        accept_removals: a person has decided that the removals are right.
    """

    max_removed_share: float
    min_completeness: float
    accept_removals: bool = False


class AreaFacts(Value, frozen=True, kw_only=True):
    """What a run would do to one area: a broken area must not hide behind a large healthy one.

    Attributes:
        area: the area's name.
        open_before: its restrictions open as published.
        removed: of those, closed for good.
        persons_affected: persons that lose at least one of them.
    """

    area: str
    open_before: int
    removed: int
    persons_affected: int


class GuardFacts(Value, frozen=True, kw_only=True):
    """What a run would do if it were published.

    Attributes:
        open_before: restrictions open as published that the run could have closed.
        holders_before: persons with at least one of them.
        persons_before: persons in the store, not departed.
        removed: restrictions closed for good: not changed, not moved to another identifier.
        persons_affected: persons that lose at least one of them.
        departing: persons who are no longer on the roster.
        areas_attempted: person-areas that were asked for; a bad line of the roster counts for each.
        areas_complete: person-areas read to their last page.
        is_subset: a backfill; its base is a choice, so half of it is not a sign of anything.
        areas: the removals of each area by itself.
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
    """What the operator can do about reasons to withhold. Only removals can be accepted."""
    if all(reason.startswith(_TOO_LITTLE) for reason in reasons):
        return (
            "see what could not be read with `pts-worker failures list`, and check the address "
            "with `pts-worker doctor --probe`"
        )
    return "look at what changed; if it is right, run `pts-worker sync --accept-removals`"


def removal_limit(facts: GuardFacts, limits: GuardLimits) -> float:
    """How many restrictions the run may close before the number of persons is looked at."""
    small = (
        SMALL_RESTRICTIONS if facts.is_subset else min(SMALL_RESTRICTIONS, facts.open_before / 2)
    )
    return max(limits.max_removed_share * facts.open_before, small)


def departure_limit(facts: GuardFacts, limits: GuardLimits) -> float:
    """How many persons may leave the roster between two runs."""
    small = max(1.0, min(SMALL_PERSONS, facts.persons_before / 4))
    return max(limits.max_removed_share * facts.persons_before, small)


def reasons_to_withhold(facts: GuardFacts, limits: GuardLimits) -> tuple[str, ...]:
    """Why the run must not be published; empty if it may be."""
    found = []
    if not limits.accept_removals:
        found += _removals(facts, limits)
    if facts.areas_attempted and not facts.is_subset:
        share = facts.areas_complete / facts.areas_attempted
        if share < limits.min_completeness:
            found.append(
                f"{_TOO_LITTLE}{facts.areas_complete} of {facts.areas_attempted} person-areas "
                f"could be read ({share:.0%}; sync.min_completeness is "
                f"{limits.min_completeness:.0%})"
            )
    return tuple(found)


def _removals(facts: GuardFacts, limits: GuardLimits) -> list[str]:
    found = []
    persons_small = (
        SMALL_PERSONS if facts.is_subset else min(SMALL_PERSONS, facts.holders_before / 2)
    )
    if facts.removed > removal_limit(facts, limits) and facts.persons_affected > persons_small:
        found.append(
            f"{facts.removed} of {facts.open_before} open restrictions of "
            f"{facts.persons_affected} persons would close "
            f"(sync.max_removed_share is {limits.max_removed_share:.0%})"
        )
    else:
        found += _area_removals(facts.areas, limits)
    if facts.departing > departure_limit(facts, limits):
        found.append(
            f"{facts.departing} of {facts.persons_before} persons are no longer on the roster "
            f"(sync.max_removed_share is {limits.max_removed_share:.0%})"
        )
    return found


def _area_removals(areas: Sequence[AreaFacts], limits: GuardLimits) -> list[str]:
    """Areas that lose too much by themselves. Half of a small area is no sign of anything."""
    return [
        f"{one.removed} of {one.open_before} open restrictions of {one.area}, of "
        f"{one.persons_affected} persons, would close "
        f"(sync.max_removed_share is {limits.max_removed_share:.0%})"
        for one in areas
        if one.removed > max(limits.max_removed_share * one.open_before, SMALL_RESTRICTIONS)
        and one.persons_affected > SMALL_PERSONS
    ]


def stops_early(facts: GuardFacts, limits: GuardLimits) -> bool:
    """Whether so much has closed already that reading on would only burden PTS."""
    if limits.accept_removals or facts.is_subset:
        return False
    beyond = facts.removed > 2 * removal_limit(facts, limits) + EARLY_SLACK
    return beyond and bool(_removals(facts, limits))


def evidence_needed(contradicted: int) -> int:
    """How many second reads of a sample must agree before all that is claimed to be gone counts.

    Args:
        contradicted: those of the sample that contradicted the first read.
    """
    return EVIDENCE_MIN * max(1, contradicted)
