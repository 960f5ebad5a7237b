"""The guard: withholds runs with too many removals, lost values or unread areas (promise 5).

A percentage alone would withhold ordinary runs on small rosters, where one restriction of three is
33 %. A count alone would publish a truncated roster. So the percentage applies only above a minimum
count, and closing more than half always exceeds the limit.
"""

import enum
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from worker.core.display import counted
from worker.core.guard_facts import AreaFacts, GuardFacts
from worker.core.value import Value

SMALL_RESTRICTIONS: Final = 5
"""Any run may close this many restrictions, unless they are more than half of all."""
SMALL_PERSONS: Final = 3
"""Any run may close restrictions of this many persons, unless these restrictions, or these persons,
are more than half of all."""
FIRST_PERSONS: Final = 100
"""If this many persons were read, the first publication of an area needs at least one record."""
_ACCEPTED_GROWTH: Final = 1.1
"""Accepted counts may grow by a tenth until the next run."""
_WARNING_DIVISOR: Final = 10
"""Figures above a tenth of a limit result in a warning."""
_NO_WARNING_MAX: Final = 3
"""This many restrictions may close, or persons depart, on any night without a warning."""
_READ_HINT: Final = (
    "fix the cause of the failures: `pts-worker failures list` shows them, and `pts-worker doctor "
    "--probe` shows why no request succeeds"
)
_ROSTER_HINT: Final = "correct the roster first: `pts-worker doctor` shows its first bad line"
_ROSTER: Final = "the roster (`pts-worker doctor` counts its persons)"
_ACCEPT: Final = "run `pts-worker sync --accept-removals`"
_ACCEPT_SUBSET: Final = "repeat the same `pts-worker backfill` with --accept-removals"


class GuardLimits(Value, frozen=True, kw_only=True):
    """The operator's limits.

    Attributes:
        max_removed_share: share of open restrictions (or of persons) that one run may close.
        min_completeness: share of persons that must be read in at least one area. Does not apply
            to a backfill.
        first_min_completeness: the same for person-areas of areas that were never published.
        accept_removals: the operator accepts the counts of the last withheld run, plus a tenth.
        accepted: these counts, loaded by the store.
    """

    max_removed_share: float
    min_completeness: float
    first_min_completeness: float = 0.95
    accept_removals: bool = False
    accepted: GuardFacts | None = None


class GuardDecision(Value, frozen=True, kw_only=True):
    """Whether a run may be published, and the reasons if not.

    Attributes:
        unread: reasons about too few complete reads.
        removals: reasons about too many removals. The operator may accept these.
        causes: the sources of these removals: the roster, or PTS and the contract.
        is_roster_unread: most missing reads or persons come from unreadable roster lines.
        is_subset: whether the run is a backfill. A `sync` cannot accept its removals.
    """

    unread: tuple[str, ...] = ()
    removals: tuple[str, ...] = ()
    causes: tuple[str, ...] = ()
    is_roster_unread: bool = False
    is_subset: bool = False

    @property
    def reasons(self) -> tuple[str, ...]:
        """All reasons. Empty if the run may be published."""
        return (*self.removals, *self.unread)

    @property
    def hint(self) -> str:
        """The remedy. Removals can be accepted only if enough was read."""
        if self.is_roster_unread:
            return _ROSTER_HINT
        if self.unread:
            return _READ_HINT
        accept = _ACCEPT_SUBSET if self.is_subset else _ACCEPT
        return f"check {' and '.join(self.causes)}; if all is correct, {accept}"


def judge(facts: GuardFacts, limits: GuardLimits) -> GuardDecision:
    """Decide whether a run may be published."""
    empty = tuple(_empty_areas(facts, limits))
    # A backfill often reads only persons with failed reads.
    unread = () if facts.is_subset else tuple(_unread(facts, limits))
    return GuardDecision(
        unread=unread,
        removals=(*_removals(facts, limits), *empty),
        causes=tuple(_causes(facts, limits, is_empty=bool(empty))),
        is_roster_unread=_is_roster_unread(facts, limits, is_unread=bool(unread)),
        is_subset=facts.is_subset,
    )


def _is_roster_unread(facts: GuardFacts, limits: GuardLimits, *, is_unread: bool) -> bool:
    # The hint names the roster only if most missing reads or persons are bad lines.
    if is_unread:
        unread_reads = max((area.attempted - area.complete for area in facts.areas), default=0)
        return facts.roster_faults > unread_reads / 2
    return _is_roster_a_cause(facts, limits) and facts.roster_faults > facts.missing / 2


def warnings(facts: GuardFacts, limits: GuardLimits) -> tuple[str, ...]:
    """Warnings about a published run: figures that are unusual but below the limits."""
    messages = []
    if limits.accept_removals and limits.accepted is None:
        messages.append("--accept-removals had no effect: the last run was not withheld")
    limit = _restrictions_limit(facts, limits) / _WARNING_DIVISOR
    if facts.removed > max(limit, _NO_WARNING_MAX):
        messages.append(
            f"{facts.removed} of {facts.open_before} open restrictions of "
            f"{counted(facts.persons_affected, 'person')} {_by_cause(facts, 'were closed')}"
        )
    if facts.lost > limit:
        messages.append(f"{counted(facts.lost, 'restriction')} lost a value")
    persons_limit = max(_missing_limit(facts, limits) / _WARNING_DIVISOR, _NO_WARNING_MAX)
    if facts.departing > persons_limit:
        messages.append(
            f"{counted(facts.departing, 'person')} departed: missing from two full rosters in a row"
        )
    if facts.missing > persons_limit:
        messages.append(
            f"{counted(facts.missing, 'person')} of the last roster missing from this one. Persons "
            "also missing from the next full roster will be marked as departed"
        )
    messages += [
        f"{_unread_in_area(area)}. The last published state is kept and is stale. `pts-worker "
        "failures list` shows the reasons"
        for area in facts.areas
        if area.attempted and _is_low(area, limits) and not facts.is_subset
    ]
    return tuple(messages)


def _is_low(area: AreaFacts, limits: GuardLimits) -> bool:
    return not area.complete or area.completeness < limits.min_completeness


def _unread_in_area(area: AreaFacts) -> str:
    if not area.complete:
        return f"no person could be read in {area.area}"
    complete, attempted, noun = area.complete, area.attempted, "persons"
    # Report the lower of the two shares, compared without division.
    if area.are_holders_judged and area.holders_complete * attempted < complete * area.holders:
        complete, attempted = area.holders_complete, area.holders
        noun = "persons with a restriction"
    return f"only {complete} of {attempted} {noun} could be read in {area.area}"


def _unread(facts: GuardFacts, limits: GuardLimits) -> Iterator[str]:
    attempted = [area for area in facts.areas if area.attempted]
    first = [area for area in attempted if area.is_first]
    # Readers have no earlier state to fall back on, so the first publication needs more.
    if first and _completeness(first) < limits.first_min_completeness:
        yield (
            f"{_unread_in(first)} ({_completeness(first):.0%}; sync.first_min_completeness is "
            f"{limits.first_min_completeness:.0%})"
        )
    # One complete area is worth publishing. The others keep their last state, marked as stale.
    elif attempted and all(area.completeness < limits.min_completeness for area in attempted):
        share, limit = _completeness(attempted), limits.min_completeness
        holders = "".join(
            f"; {area.holders_complete} of {area.holders} persons with a restriction in {area.area}"
            for area in attempted
            if area.are_holders_judged
        )
        yield (
            f"{_unread_in(attempted)}{holders} ({share:.0%}; sync.min_completeness is {limit:.0%})"
        )


def _completeness(areas: Sequence[AreaFacts]) -> float:
    return sum(area.complete for area in areas) / sum(area.attempted for area in areas)


def _unread_in(areas: Sequence[AreaFacts]) -> str:
    complete = sum(area.complete for area in areas)
    attempted = sum(area.attempted for area in areas)
    places = _places(f"{area.complete} of {area.attempted} in {area.area}" for area in areas)
    return f"only {complete} of {attempted} person-areas could be read{places}"


def _empty_areas(facts: GuardFacts, limits: GuardLimits) -> Iterator[str]:
    """Reasons for areas without any record in their first publication.

    Among 100 persons, some have a restriction. If none has, a wrong path or scope is likely.
    """
    for area in facts.areas:
        accepted = limits.accepted and limits.accepted.area(area.area)
        # Accepted only if the withheld run had read the area, and found it empty as well.
        is_accepted = accepted and accepted.complete and not accepted.records
        is_empty = area.complete >= FIRST_PERSONS and not area.records
        if area.is_first and is_empty and not is_accepted:
            yield f"{area.area} has no record of any of {area.complete} persons"


class _LossKind(enum.Enum):
    """The ways in which a run loses restrictions, or a part of them."""

    REMOVAL = enum.auto()
    LOST_VALUE = enum.auto()


class _Loss(NamedTuple):
    """The restrictions of a run or area with a kind of loss, their persons, and a verb for it."""

    restrictions: int
    persons: int
    verb: str


def _loss(facts: GuardFacts | AreaFacts, kind: _LossKind) -> _Loss:
    if kind is _LossKind.REMOVAL:
        return _Loss(facts.removed, facts.persons_affected, _by_cause(facts, "would close"))
    return _Loss(facts.lost, facts.persons_losing, "would lose a value")


def _removals(facts: GuardFacts, limits: GuardLimits) -> Iterator[str]:
    for kind in _LossKind:
        reasons = [*_in_total(facts, limits, kind)]
        # A reason about all areas already lists each area.
        yield from reasons or _in_areas(facts, limits, kind)
    if facts.missing > _missing_limit(facts, limits):
        bad = counted(facts.roster_faults, "line")
        unread = f", of which {bad} could not be read" if facts.roster_faults else ""
        yield (
            f"{facts.missing} of {facts.persons_before} persons are missing from the "
            f"roster{unread} ({_share(limits)})"
        )


def _in_total(facts: GuardFacts, limits: GuardLimits, kind: _LossKind) -> Iterator[str]:
    """A reason about all areas together, if the run loses too much."""
    count, persons, verb = _loss(facts, kind)
    few_persons = SMALL_PERSONS if facts.is_subset else min(SMALL_PERSONS, facts.holders_before / 2)
    # A backfill of one person may well close most of that person's restrictions.
    is_most = not facts.is_subset and count > facts.open_before / 2
    limit = max(_restrictions_limit(facts, limits), _accepted_loss(limits.accepted, kind))
    if count > limit and (is_most or persons > few_persons):
        counts = {area.area: _loss(area, kind).restrictions for area in facts.areas}
        places = _places(f"{lost} in {name}" for name, lost in counts.items() if lost)
        yield (
            f"{count} of {facts.open_before} open restrictions of "
            f"{counted(persons, 'person')} {verb}{places} ({_share(limits)})"
        )


def _in_areas(facts: GuardFacts, limits: GuardLimits, kind: _LossKind) -> Iterator[str]:
    """Reasons about single areas.

    In a small area, one person may have all restrictions, so two persons must be affected.
    """
    may_close_all = facts.is_subset or limits.max_removed_share >= 1
    for area in facts.areas:
        count, persons, verb = _loss(area, kind)
        accepted = limits.accepted and limits.accepted.area(area.area)
        # Otherwise an area below the minimum counts could lose all its restrictions.
        is_all = count == area.open_before and persons > 1 and not may_close_all
        limit = max(limits.max_removed_share * area.open_before, SMALL_RESTRICTIONS)
        is_much = count > limit and persons > SMALL_PERSONS
        if (is_all or is_much) and count > _accepted_loss(accepted, kind):
            yield (
                f"{count} of {area.open_before} open restrictions of {area.area}, of "
                f"{counted(persons, 'person')}, {verb} ({_share(limits)})"
            )


def _by_cause(facts: GuardFacts | AreaFacts, verb: str) -> str:
    """The verb for removals, with the number of those that belong to missing persons."""
    with_missing = facts.removed_with_missing
    of_missing = "belong to persons missing from the roster"
    if not with_missing:
        return verb
    if with_missing == facts.removed:
        return of_missing
    return f"{verb} ({facts.removed - with_missing}) or {of_missing} ({with_missing})"


def _causes(facts: GuardFacts, limits: GuardLimits, *, is_empty: bool) -> Iterator[str]:
    """The sources of most removals, for the hint."""
    if _is_roster_a_cause(facts, limits):
        yield _ROSTER
    is_by_reads = facts.removed and not _are_most_with_missing(facts)
    if is_by_reads or facts.lost or is_empty:
        yield "PTS and the contract"


def _is_roster_a_cause(facts: GuardFacts, limits: GuardLimits) -> bool:
    return facts.missing > _missing_limit(facts, limits) or _are_most_with_missing(facts)


def _are_most_with_missing(facts: GuardFacts) -> bool:
    """Whether most removed restrictions belong to persons missing from the roster."""
    return facts.removed_with_missing > facts.removed / 2


def _places(counts: Iterable[str]) -> str:
    """The counts by area, to be appended to a reason."""
    text = ", ".join(counts)
    return f": {text}" if text else ""


def _restrictions_limit(facts: GuardFacts, limits: GuardLimits) -> float:
    """The number of restrictions that the run may close, for any number of persons."""
    # At most half of all, or a store with six restrictions could lose five of them.
    few = SMALL_RESTRICTIONS if facts.is_subset else min(SMALL_RESTRICTIONS, facts.open_before / 2)
    return max(limits.max_removed_share * facts.open_before, few)


def _missing_limit(facts: GuardFacts, limits: GuardLimits) -> float:
    """The number of persons that may be missing from a roster for the first time."""
    # At most a quarter of a small roster, but always one person, who may have moved or died.
    few = max(1.0, min(SMALL_PERSONS, facts.persons_before / 4))
    # Accepted counts replace the limit only if they are higher.
    accepted = _accepted(limits.accepted.missing if limits.accepted else 0)
    return max(limits.max_removed_share * facts.persons_before, few, accepted)


def _accepted_loss(accepted: GuardFacts | AreaFacts | None, kind: _LossKind) -> float:
    return _accepted(_loss(accepted, kind).restrictions) if accepted else 0


def _accepted(count: int) -> float:
    return count * _ACCEPTED_GROWTH


def _share(limits: GuardLimits) -> str:
    return f"sync.max_removed_share is {limits.max_removed_share:.0%}"
