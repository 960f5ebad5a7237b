"""When a run must be withheld: by docs/internals.md ("Guard"), not by the guard."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from worker.core.guard import GuardLimits


@dataclass(frozen=True, kw_only=True)
class Judge:
    """Who decides whether a run is published.

    Attributes:
        limits: those of the guard.
    """

    limits: GuardLimits

    def withholds(self, facts: Mapping[str, Any]) -> bool:
        """What must come of it, by the model's own facts."""
        read, asked = facts["areas_complete"], facts["areas_attempted"]
        is_thin = (
            not facts["is_subset"] and asked > 0 and read / asked < self.limits.min_completeness
        )
        return is_thin or (not self.limits.accept_removals and self._is_too_much(facts))

    def _is_too_much(self, facts: Mapping[str, Any]) -> bool:
        share = self.limits.max_removed_share
        few, few_persons = 5.0, 3.0
        areas = [
            (removed > max(share * there, few) and persons > few_persons)
            or (not facts["is_subset"] and persons > 1 and removed == there and share < 1)
            for there, removed, persons in facts["areas"].values()
        ]
        if not facts["is_subset"]:
            few = min(few, facts["open_before"] / 2)
            few_persons = min(few_persons, facts["holders_before"] / 2)
            if facts["removed"] > facts["open_before"] / 2:
                few_persons = 0
        moved = facts["doubtful_moves"]
        moves_most = not facts["is_subset"] and moved > facts["open_before"] / 2
        known = facts["persons_before"]
        few_departing = max(1.0, min(3.0, known / 4))
        return (
            any(areas)
            or (
                moved > max(share * facts["open_before"], 5.0)
                and (moves_most or facts["persons_moved_in_doubt"] > 3)
            )
            or facts["departing"] > max(share * known, few_departing)
            or (
                facts["removed"] > max(share * facts["open_before"], few)
                and facts["persons_affected"] > few_persons
            )
        )


PUBLISHES = Judge(
    limits=GuardLimits(max_removed_share=1.0, min_completeness=0.0, accept_removals=True)
)
WITHHOLDS = Judge(limits=GuardLimits(max_removed_share=0.0, min_completeness=2.0))
"""Any run but a backfill that removes little."""
guards = st.builds(
    lambda share, completeness, accepts: Judge(
        limits=GuardLimits(
            max_removed_share=share, min_completeness=completeness, accept_removals=accepts
        )
    ),
    st.sampled_from([0.0, 0.1, 0.4]),
    st.sampled_from([0.0, 0.5, 0.9, 1.0]),
    st.booleans(),
)
judges = st.one_of(st.just(PUBLISHES), st.just(PUBLISHES), guards, st.just(WITHHOLDS))
