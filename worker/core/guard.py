"""The guard: withholds runs with too many removals, lost values or unread areas (promise 5).

A limit on shares alone would withhold ordinary runs on small rosters (one restriction of three is a
third); a limit on counts alone would publish a truncated roster. So a share applies only above a
small absolute number, and closing more than half always exceeds it.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from worker.core.display import counted
from worker.core.value import Value

SMALL_RESTRICTIONS: Final = 5
"""Restrictions that may close in any run, unless they are more than half of all."""
SMALL_PERSONS: Final = 3
"""Persons whose restrictions may close in any run, unless the restrictions, or the persons who
lose one, are more than half of all."""
FIRST_PERSONS: Final = 100
"""The first publication of an area needs a record of this many persons."""
HOLDERS: Final = 20
"""Persons who hold an open restriction in an area, from which on their completeness is judged, too:
most persons hold none, so an area may look complete although no restriction can be read."""
_MORE: Final = 1.1
"""What a person has accepted may have grown by a tenth until the next run."""
_UNUSUAL: Final = 10
"""A tenth of a limit is worth a warning."""
_READ_HINT: Final = (
    "correct what is named; `pts-worker failures list` has everyone who could not be read, and "
    "`pts-worker doctor --probe` says why nobody is read"
)
_ACCEPT_HINT: Final = (
    "check PTS and the contract; if all is correct, run `pts-worker sync --accept-removals`"
)


class AreaFacts(Value, frozen=True, kw_only=True):
    """What a run would change in one area, so that a large area cannot hide a broken small one.

    Attributes:
        open_before: its open restrictions, as published; 0 if nothing goes.
        removed: those that the run closes, or takes out of effect.
        persons_affected: persons who have those.
        lost: those that lose a value.
        persons_losing: persons who have those.
        attempted: persons asked for; a line of the roster that cannot be read counts, too.
        complete: persons read to the last page.
        records: what they showed.
        holders: persons asked for who hold an open restriction in it, as published.
        holders_complete: how many of them were read to the last page.
        is_first: no full run that was published before had it.
    """

    area: str
    open_before: int = 0
    removed: int = 0
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
        """Whether there are enough of them."""
        return self.holders >= HOLDERS

    @property
    def completeness(self) -> float:
        """The share of persons read, of all or of those who hold a restriction: the lower one."""
        of_all = self.complete / self.attempted
        return min(of_all, self._of_holders) if self.are_holders_judged else of_all

    @property
    def _of_holders(self) -> float:
        return self.holders_complete / self.holders


class GuardFacts(Value, frozen=True, kw_only=True):
    """What publication of a run would change.

    Attributes:
        open_before: open restrictions, as published, in the scope of the run.
        holders_before: persons with at least one of them.
        persons_before: persons in the store who have not departed.
        removed, persons_affected, lost, persons_losing: as of an area, of all together.
        departing: persons whom two full rosters in a row do not name. They were judged as missing.
        missing: persons whom the roster of this full run is the first not to name, or whose line
            could not be read. Their restrictions count as removed.
        is_subset: a backfill; shares of an arbitrary subset are no sign of an error.
    """

    open_before: int = 0
    holders_before: int = 0
    persons_before: int = 0
    removed: int = 0
    persons_affected: int = 0
    lost: int = 0
    persons_losing: int = 0
    departing: int = 0
    missing: int = 0
    is_subset: bool = False
    areas: tuple[AreaFacts, ...] = ()

    def area(self, name: str) -> AreaFacts:
        """What it would change in an area; nothing, if it did not read it."""
        found = (area for area in self.areas if area.area == name)
        return next(found, AreaFacts(area=name))


class GuardLimits(Value, frozen=True, kw_only=True):
    """The operator's limits.

    Attributes:
        max_removed_share: share of open restrictions (or of persons) that one run may close.
        min_completeness: share of persons that must be read in one of the areas; does not apply to
            a backfill.
        first_min_completeness: share of person-areas that the first publication needs, of areas
            that none had before.
        accept_removals: a person accepts what the last withheld run counted, and a tenth more.
        accepted: what that is, once the store has looked it up.
    """

    max_removed_share: float
    min_completeness: float
    first_min_completeness: float = 0.95
    accept_removals: bool = False
    accepted: GuardFacts | None = None


class Verdict(Value, frozen=True, kw_only=True):
    """Why a run must not be published.

    Attributes:
        unread: too little could be read.
        removals: too much would go; a person may accept that.
    """

    unread: tuple[str, ...] = ()
    removals: tuple[str, ...] = ()

    @property
    def reasons(self) -> tuple[str, ...]:
        """All of them; empty if it may be published."""
        return (*self.removals, *self.unread)

    @property
    def hint(self) -> str:
        """What to do. Removals can be accepted, unless too little was read."""
        return _READ_HINT if self.unread else _ACCEPT_HINT


def judge(facts: GuardFacts, limits: GuardLimits) -> Verdict:
    """Whether a run may be published."""
    return Verdict(
        unread=() if facts.is_subset else tuple(_unread(facts, limits)),
        removals=(*_going(facts, limits), *_empty_areas(facts, limits)),
    )


def warnings(facts: GuardFacts, limits: GuardLimits) -> tuple[str, ...]:
    """What a published run did that is below the limits and unusual all the same."""
    found = []
    if limits.accept_removals and limits.accepted is None:
        found.append("--accept-removals accepted nothing: the last run was not withheld")
    limit = _restrictions_limit(facts, limits) / _UNUSUAL
    if facts.removed > limit:
        found.append(
            f"{facts.removed} of {facts.open_before} open restrictions of "
            f"{counted(facts.persons_affected, 'person')} were closed, are no longer in effect, "
            "or belong to persons missing from the roster"
        )
    if facts.lost > limit:
        found.append(f"{counted(facts.lost, 'restriction')} lost a value")
    if facts.departing:
        found.append(
            f"{counted(facts.departing, 'person')} departed: not on two full rosters in a row"
        )
    if facts.missing:
        found.append(
            f"not on this roster: {counted(facts.missing, 'person')} of the last one; any who "
            "are also missing from the next full roster will be marked as departed"
        )
    found += [
        f"{_unread_in_area(area)}; their last state stands and is stale. `failures list` has the "
        "reasons; leave out an area that this client may not read with sync.areas"
        for area in facts.areas
        if area.attempted and _is_low(area, limits) and not facts.is_subset
    ]
    return tuple(found)


def _is_low(area: AreaFacts, limits: GuardLimits) -> bool:
    return not area.complete or area.completeness < limits.min_completeness


def _unread_in_area(area: AreaFacts) -> str:
    if not area.complete:
        return f"no person could be read in {area.area}"
    read, asked, who = area.complete, area.attempted, "persons"
    if area.are_holders_judged and area.holders_complete * asked < read * area.holders:
        read, asked, who = area.holders_complete, area.holders, "persons with a restriction"
    return f"only {read} of {asked} {who} could be read in {area.area}"


def _unread(facts: GuardFacts, limits: GuardLimits) -> Iterator[str]:
    asked = [area for area in facts.areas if area.attempted]
    first = [area for area in asked if area.is_first]
    if first and _completeness(first) < limits.first_min_completeness:
        yield (
            f"{_unread_in(first)} ({_completeness(first):.0%}; sync.first_min_completeness is "
            f"{limits.first_min_completeness:.0%})"
        )
    elif asked and all(area.completeness < limits.min_completeness for area in asked):
        share, least = _completeness(asked), limits.min_completeness
        holders = "".join(
            f"; {area.holders_complete} of {area.holders} persons with a restriction in {area.area}"
            for area in asked
            if area.are_holders_judged
        )
        yield f"{_unread_in(asked)}{holders} ({share:.0%}; sync.min_completeness is {least:.0%})"


def _completeness(areas: Sequence[AreaFacts]) -> float:
    return sum(area.complete for area in areas) / sum(area.attempted for area in areas)


def _unread_in(areas: Sequence[AreaFacts]) -> str:
    complete = sum(area.complete for area in areas)
    attempted = sum(area.attempted for area in areas)
    places = _places(f"{area.complete} of {area.attempted} in {area.area}" for area in areas)
    return f"only {complete} of {attempted} person-areas could be read{places}"


def _empty_areas(facts: GuardFacts, limits: GuardLimits) -> Iterator[str]:
    """The first publication of an area with many persons has a record."""
    for area in facts.areas:
        accepted = limits.accepted and limits.accepted.area(area.area)
        is_accepted = accepted and accepted.complete and not accepted.records
        is_empty = area.complete >= FIRST_PERSONS and not area.records
        if area.is_first and is_empty and not is_accepted:
            yield f"{area.area} has no record of any of {area.complete} persons"


_CLOSES: Final = ("removed", "persons_affected", "would close")
_LOSES: Final = ("lost", "persons_losing", "would lose a value")
"""What can go: its count and its persons in the facts, and how that is said."""


def _going(facts: GuardFacts, limits: GuardLimits) -> Iterator[str]:
    for what in (_CLOSES, _LOSES):
        yield from (*_too_many(facts, limits, *what),) or _in_areas(facts, limits, *what)
    if facts.missing > _missing_limit(facts, limits):
        yield (
            f"{facts.missing} of {facts.persons_before} persons are missing from the roster, or "
            f"their line could not be read ({_share(limits)})"
        )


def _too_many(
    facts: GuardFacts, limits: GuardLimits, name: str, persons_name: str, verb: str
) -> Iterator[str]:
    count, persons = getattr(facts, name), getattr(facts, persons_name)
    small = SMALL_PERSONS if facts.is_subset else min(SMALL_PERSONS, facts.holders_before / 2)
    is_most = not facts.is_subset and count > facts.open_before / 2
    limit = max(_restrictions_limit(facts, limits), _accepted(getattr(limits.accepted, name, 0)))
    if count > limit and (is_most or persons > small):
        going = [area for area in facts.areas if getattr(area, name)]
        places = _places(f"{getattr(area, name)} in {area.area}" for area in going)
        yield (
            f"{count} of {facts.open_before} open restrictions of "
            f"{counted(persons, 'person')} {verb}{places} ({_share(limits)})"
        )


def _in_areas(
    facts: GuardFacts, limits: GuardLimits, name: str, persons_name: str, verb: str
) -> Iterator[str]:
    """Reasons of single areas. All that one person has in a small area is no sign of an error."""
    all_may_go = facts.is_subset or limits.max_removed_share >= 1
    for area in facts.areas:
        count, persons = getattr(area, name), getattr(area, persons_name)
        accepted = getattr(limits.accepted.area(area.area), name) if limits.accepted else 0
        is_all = count == area.open_before and persons > 1 and not all_may_go
        limit = max(limits.max_removed_share * area.open_before, SMALL_RESTRICTIONS)
        is_much = count > limit and persons > SMALL_PERSONS
        if (is_all or is_much) and count > _accepted(accepted):
            yield (
                f"{count} of {area.open_before} open restrictions of {area.area}, of "
                f"{counted(persons, 'person')}, {verb} ({_share(limits)})"
            )


def _places(counts: Iterable[str]) -> str:
    """In which areas that is."""
    listed = ", ".join(counts)
    return f": {listed}" if listed else ""


def _restrictions_limit(facts: GuardFacts, limits: GuardLimits) -> float:
    """How many restrictions the run may close, whatever the number of persons."""
    small = (
        SMALL_RESTRICTIONS if facts.is_subset else min(SMALL_RESTRICTIONS, facts.open_before / 2)
    )
    return max(limits.max_removed_share * facts.open_before, small)


def _missing_limit(facts: GuardFacts, limits: GuardLimits) -> float:
    """How many persons may be missing from one roster for the first time."""
    small = max(1.0, min(SMALL_PERSONS, facts.persons_before / 4))
    accepted = _accepted(limits.accepted.missing if limits.accepted else 0)
    return max(limits.max_removed_share * facts.persons_before, small, accepted)


def _accepted(count: int) -> float:
    return count * _MORE


def _share(limits: GuardLimits) -> str:
    return f"sync.max_removed_share is {limits.max_removed_share:.0%}"
