"""The guard: withholds runs with too many removals, lost values or unread areas (promise 5).

A percentage alone would withhold ordinary runs on small rosters, where one restriction of three is
33 %. A count alone would publish a truncated roster. So the percentage applies only above a minimum
count, and closing more than half always exceeds the limit.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from worker.core.display import counted
from worker.core.value import Value

SMALL_RESTRICTIONS: Final = 5
"""Any run may close this many restrictions, unless they are more than half of all."""
SMALL_PERSONS: Final = 3
"""Any run may close restrictions of this many persons, unless these restrictions, or these persons,
are more than half of all."""
FIRST_PERSONS: Final = 100
"""If this many persons were read, the first publication of an area needs at least one record."""
HOLDERS: Final = 20
"""If this many persons have an open restriction in an area, their completeness is judged, too. Most
persons have none, so an area may look complete although no restriction can be read."""
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


class AreaFacts(Value, frozen=True, kw_only=True):
    """The changes of a run in one area. Each area is judged, so that none can hide another.

    Attributes:
        open_before: published open restrictions. 0 if the run removes none.
        removed: restrictions that the run closes or takes out of effect, and of missing persons.
        removed_with_missing: those of missing persons.
        persons_affected: persons with a removed restriction.
        lost: restrictions that lose a value.
        persons_losing: persons with such a restriction.
        attempted: persons requested. Roster errors count, too.
        complete: persons read to the last page.
        records: records of these persons.
        holders: requested persons with a published open restriction in this area.
        holders_complete: holders read to the last page.
        is_first: no full run with this area has been published before.
    """

    area: str
    open_before: int = 0
    removed: int = 0
    removed_with_missing: int = 0
    persons_affected: int = 0
    lost: int = 0
    persons_losing: int = 0
    attempted: int = 0
    complete: int = 0
    records: int = 0
    holders: int = 0
    holders_complete: int = 0
    is_first: bool = False

    @property
    def are_holders_judged(self) -> bool:
        """Whether there are enough holders to judge their completeness."""
        return self.holders >= HOLDERS

    @property
    def completeness(self) -> float:
        """The share of persons read: of all, or of holders if that is lower."""
        of_all = self.complete / self.attempted
        return min(of_all, self._of_holders) if self.are_holders_judged else of_all

    @property
    def _of_holders(self) -> float:
        return self.holders_complete / self.holders


class GuardFacts(Value, frozen=True, kw_only=True):
    """The changes that publication of a run would make.

    Attributes:
        open_before: published open restrictions in the scope of the run.
        holders_before: persons with at least one of these restrictions.
        persons_before: persons in the store, without departed ones.
        removed, removed_with_missing, persons_affected, lost, persons_losing: totals of areas.
        departing: persons missing from two full rosters in a row. The first counted them, too.
        missing: persons missing from this full roster for the first time, or with a roster error.
            Their restrictions count as removed.
        roster_faults: lines of the roster that could not be read.
        is_subset: the run is a backfill. A share of an arbitrary subset indicates no error.
    """

    open_before: int = 0
    holders_before: int = 0
    persons_before: int = 0
    removed: int = 0
    removed_with_missing: int = 0
    persons_affected: int = 0
    lost: int = 0
    persons_losing: int = 0
    departing: int = 0
    missing: int = 0
    roster_faults: int = 0
    is_subset: bool = False
    areas: tuple[AreaFacts, ...] = ()

    def area(self, name: str) -> AreaFacts:
        """The changes in an area. All zero if the run did not read the area."""
        matching = (area for area in self.areas if area.area == name)
        return next(matching, AreaFacts(area=name))


class WithheldFacts(GuardFacts, frozen=True, kw_only=True):
    """The facts of a withheld run, with examples as row ids. After an erasure they match no row.

    Attributes:
        examples: by area, the versions of a few restrictions that are removed or lose a value,
            each of another person.
        missing_examples: a few of the missing persons.
    """

    examples: Mapping[str, tuple[int, ...]]
    missing_examples: tuple[int, ...]


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


class Verdict(Value, frozen=True, kw_only=True):
    """The reasons why a run must not be published.

    Attributes:
        unread: reasons about too few complete reads.
        removals: reasons about too many removals. The operator may accept these.
        causes: where these removals come from.
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


def judge(facts: GuardFacts, limits: GuardLimits) -> Verdict:
    """Whether a run may be published."""
    empty = tuple(_empty_areas(facts, limits))
    # A backfill often reads only persons with failed reads.
    unread = () if facts.is_subset else tuple(_unread(facts, limits))
    causes = tuple(_causes(facts, limits, is_empty=bool(empty)))
    return Verdict(
        unread=unread,
        removals=(*_removals(facts, limits), *empty),
        causes=causes,
        is_roster_unread=_is_roster_unread(facts, causes, is_unread=bool(unread)),
        is_subset=facts.is_subset,
    )


def _is_roster_unread(facts: GuardFacts, causes: Sequence[str], *, is_unread: bool) -> bool:
    if not is_unread:
        return _ROSTER in causes and facts.roster_faults > facts.missing / 2
    unread = max((area.attempted - area.complete for area in facts.areas), default=0)
    # The hint names the roster only if most of the missing reads are bad lines.
    return facts.roster_faults > unread / 2


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


_CLOSES: Final = ("removed", "persons_affected", "would close")
_LOSES: Final = ("lost", "persons_losing", "would lose a value")
"""The facts' counts of restrictions and persons for each kind of loss, and the verb for it."""


def _removals(facts: GuardFacts, limits: GuardLimits) -> Iterator[str]:
    for loss in (_CLOSES, _LOSES):
        reasons = [*_too_many(facts, limits, *loss)]
        # A reason about all areas already lists each area.
        yield from reasons or _in_areas(facts, limits, *loss)
    if facts.missing > _missing_limit(facts, limits):
        bad = counted(facts.roster_faults, "line")
        unread = f", of which {bad} could not be read" if facts.roster_faults else ""
        yield (
            f"{facts.missing} of {facts.persons_before} persons are missing from the "
            f"roster{unread} ({_share(limits)})"
        )


def _too_many(
    facts: GuardFacts, limits: GuardLimits, name: str, persons_name: str, verb: str
) -> Iterator[str]:
    count, persons = getattr(facts, name), getattr(facts, persons_name)
    small = SMALL_PERSONS if facts.is_subset else min(SMALL_PERSONS, facts.holders_before / 2)
    # A backfill of one person may well close most of that person's restrictions.
    is_most = not facts.is_subset and count > facts.open_before / 2
    limit = max(_restrictions_limit(facts, limits), _accepted(getattr(limits.accepted, name, 0)))
    if count > limit and (is_most or persons > small):
        affected = [area for area in facts.areas if getattr(area, name)]
        places = _places(f"{getattr(area, name)} in {area.area}" for area in affected)
        yield (
            f"{count} of {facts.open_before} open restrictions of "
            f"{counted(persons, 'person')} {_by_cause(facts, verb)}{places} ({_share(limits)})"
        )


def _in_areas(
    facts: GuardFacts, limits: GuardLimits, name: str, persons_name: str, verb: str
) -> Iterator[str]:
    """Reasons about single areas.

    In a small area, one person may have all restrictions, so two persons must be affected.
    """
    may_close_all = facts.is_subset or limits.max_removed_share >= 1
    for area in facts.areas:
        count, persons = getattr(area, name), getattr(area, persons_name)
        accepted = getattr(limits.accepted.area(area.area), name) if limits.accepted else 0
        # Otherwise an area below the minimum counts could lose all its restrictions.
        is_all = count == area.open_before and persons > 1 and not may_close_all
        limit = max(limits.max_removed_share * area.open_before, SMALL_RESTRICTIONS)
        is_much = count > limit and persons > SMALL_PERSONS
        if (is_all or is_much) and count > _accepted(accepted):
            yield (
                f"{count} of {area.open_before} open restrictions of {area.area}, of "
                f"{counted(persons, 'person')}, {_by_cause(area, verb)} ({_share(limits)})"
            )


def _by_cause(facts: GuardFacts | AreaFacts, verb: str) -> str:
    """The verb of a loss, or of missing persons if their restrictions are the loss."""
    missing = 0 if verb == _LOSES[-1] else facts.removed_with_missing
    of_missing = "belong to persons missing from the roster"
    if not missing:
        return verb
    if missing == facts.removed:
        return of_missing
    return f"{verb} ({facts.removed - missing}) or {of_missing} ({missing})"


def _causes(facts: GuardFacts, limits: GuardLimits, *, is_empty: bool) -> Iterator[str]:
    """Where most removals come from, for the hint."""
    by_reads = facts.removed - facts.removed_with_missing
    if facts.missing > _missing_limit(facts, limits) or facts.removed_with_missing > by_reads:
        yield _ROSTER
    if (facts.removed and by_reads >= facts.removed_with_missing) or facts.lost or is_empty:
        yield "PTS and the contract"


def _places(counts: Iterable[str]) -> str:
    """The counts by area as a suffix."""
    listed = ", ".join(counts)
    return f": {listed}" if listed else ""


def _restrictions_limit(facts: GuardFacts, limits: GuardLimits) -> float:
    """The number of restrictions that the run may close, for any number of persons."""
    # At most half of all, or a store with six restrictions could lose five of them.
    small = (
        SMALL_RESTRICTIONS if facts.is_subset else min(SMALL_RESTRICTIONS, facts.open_before / 2)
    )
    return max(limits.max_removed_share * facts.open_before, small)


def _missing_limit(facts: GuardFacts, limits: GuardLimits) -> float:
    """The number of persons that may be missing from a roster for the first time."""
    small = max(1.0, min(SMALL_PERSONS, facts.persons_before / 4))
    # Accepted counts replace the limit only if they are higher.
    accepted = _accepted(limits.accepted.missing if limits.accepted else 0)
    return max(limits.max_removed_share * facts.persons_before, small, accepted)


def _accepted(count: int) -> float:
    return count * _ACCEPTED_GROWTH


def _share(limits: GuardLimits) -> str:
    return f"sync.max_removed_share is {limits.max_removed_share:.0%}"
