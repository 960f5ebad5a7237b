"""When a run must be withheld: by docs/architecture.md ("The guard"), not by the guard."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

FEW_RECORDLESS = 100
"""Persons of a first publication of whom an area may have no record."""
MANY_HOLDERS = 20


@dataclass(frozen=True, kw_only=True)
class Guard:
    """The operator's limits, and what they forbid."""

    max_removed_share: float
    min_completeness: float
    first_min_completeness: float = 0.95
    accept_removals: bool = False

    def withholds(
        self, facts: Mapping[str, Any], accepted: Mapping[str, Any] | None = None
    ) -> bool:
        """Whether a run with these facts must not be published.

        Args:
            accepted: the facts of the run before, if it was withheld.
        """
        return self.is_thin(facts) or self._is_too_much(
            facts, (accepted or {}) if self.accept_removals else {}
        )

    def is_thin(self, facts: Mapping[str, Any]) -> bool:
        """Whether too little could be read, which nobody can accept."""
        asked = {name: one for name, one in facts["areas"].items() if one["attempted"]}
        if facts["is_subset"] or not asked:
            return False
        first = [one for one in asked.values() if one["is_first"]]
        attempted = sum(one["attempted"] for one in first)
        read = sum(one["complete"] for one in first)
        if first and read / attempted < self.first_min_completeness:
            return True
        return all(map(self._is_area_thin, asked.values()))

    def _is_area_thin(self, area: Mapping[str, int]) -> bool:
        """Of all persons, or of those who hold a restriction if they are many."""
        of_holders = area["holders_complete"] / area["holders"] if area["holders"] else 1.0
        is_thin = area["complete"] / area["attempted"] < self.min_completeness
        return is_thin or (area["holders"] >= MANY_HOLDERS and of_holders < self.min_completeness)

    def _is_too_much(self, facts: Mapping[str, Any], accepted: Mapping[str, Any]) -> bool:
        known = facts["persons_before"]
        missing = max(
            self.max_removed_share * known, 1.0, min(3.0, known / 4), _more(accepted, "missing")
        )
        return (
            facts["missing"] > missing
            or self._is_total_too_much(facts, accepted)
            or any(
                self._is_area_too_much(facts, one, accepted.get("areas", {}).get(name, {}))
                for name, one in facts["areas"].items()
            )
        )

    def _is_total_too_much(self, facts: Mapping[str, Any], accepted: Mapping[str, Any]) -> bool:
        few, few_persons = 5.0, 3.0
        if not facts["is_subset"]:
            few = min(few, facts["open_before"] / 2)
            few_persons = min(few_persons, facts["holders_before"] / 2)
            if facts["removed"] > facts["open_before"] / 2:
                few_persons = 0
        most = max(self.max_removed_share * facts["open_before"], few, _more(accepted, "removed"))
        return bool(facts["removed"] > most and facts["persons_affected"] > few_persons)

    def _is_area_too_much(
        self, facts: Mapping[str, Any], area: Mapping[str, int], accepted: Mapping[str, int]
    ) -> bool:
        if area["is_first"] and area["complete"] >= FEW_RECORDLESS and not area["records"]:
            return not accepted
        removed, there, share = area["removed"], area["open_before"], self.max_removed_share
        is_all = removed == there and area["persons_affected"] > 1 and share < 1
        is_much = removed > max(share * there, 5.0) and area["persons_affected"] > 3
        is_over = is_much or (is_all and not facts["is_subset"])
        return is_over and removed > _more(accepted, "removed")


def _more(accepted: Mapping[str, Any], name: str) -> float:
    """What was accepted, and a tenth more."""
    return 1.1 * float(accepted.get(name, 0))
