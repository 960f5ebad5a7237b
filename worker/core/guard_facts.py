"""The counts of a run that the guard judges, and that `status` shows of a withheld run."""

from collections.abc import Mapping
from typing import Final

from worker.core.value import Value

HOLDERS: Final = 20
"""If this many persons have an open restriction in an area, their completeness is judged, too. Most
persons have none, so an area may look complete although no restriction can be read."""


class AreaFacts(Value, frozen=True, kw_only=True):
    """The changes of a run in one area. Each area is judged, so that none can hide another.

    Attributes:
        open_before: published open restrictions. 0 if the run removes none.
        removed: restrictions that the run closes or takes out of effect, and all restrictions of
            persons missing from the roster.
        removed_with_missing: the restrictions of these missing persons.
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
        departing: persons missing from two full rosters in a row. The run with the first of these
            rosters counted them as ``missing``.
        missing: persons missing from this full roster for the first time, or with a roster error.
            Their restrictions count as removed.
        roster_faults: lines of the roster that could not be read.
        is_subset: the run is a backfill. A percentage of its persons is no evidence of an error.
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
