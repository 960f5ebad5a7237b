"""When a run must be withheld: by docs/internals.md ("Guard"), not by the guard."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Guard:
    """The operator's limits, and what they forbid."""

    max_removed_share: float
    min_completeness: float
    accept_removals: bool = False

    def withholds(self, facts: Mapping[str, Any]) -> bool:
        """Whether a run with these facts must not be published."""
        read, asked = facts["areas_complete"], facts["areas_attempted"]
        is_thin = not facts["is_subset"] and asked > 0 and read / asked < self.min_completeness
        return is_thin or (not self.accept_removals and self._is_too_much(facts))

    def _is_too_much(self, facts: Mapping[str, Any]) -> bool:
        share = self.max_removed_share
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
        known = facts["persons_before"]
        few_departing = max(1.0, min(3.0, known / 4))
        return (
            any(areas)
            or facts["departing"] > max(share * known, few_departing)
            or (
                facts["removed"] > max(share * facts["open_before"], few)
                and facts["persons_affected"] > few_persons
            )
        )
