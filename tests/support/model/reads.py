"""When one read is not enough, and when two agree (docs/guarantees.md, promise 1)."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.support.model.values import PersonArea, Row

Records = Mapping[str, Any]
"""What each restriction of one answer says, by its key."""


@dataclass(frozen=True, kw_only=True)
class Confirmation:
    """What needs a second read, by what is published.

    Attributes:
        records: by person-area.
        holders: the persons who have a restriction, by its area and key.
        of_changes: every difference needs a second read, and not removals alone.
    """

    records: Mapping[PersonArea, Records]
    holders: Mapping[tuple[str, str], set[str]]
    of_changes: bool = False

    def lacking(self, of: PersonArea, read: Records) -> set[str]:
        """Published restrictions that the read does not hold."""
        return self.records.get(of, {}).keys() - read.keys()

    def is_needed(self, of: PersonArea, first: Records) -> bool:
        """Whether the read would close something, or take something from another person."""
        person, area = of
        published = self.records.get(of, {})
        if self.of_changes:
            return first != published
        taken = (
            self.holders.get((area, key), set()) - {person} for key in first.keys() - published
        )
        return bool(self.lacking(of, first)) or any(taken)

    def agree(self, first: Records, second: Records) -> bool:
        """Whether the second read may be written."""
        return first == second if self.of_changes else first.keys() == second.keys()


def confirmation(published: Mapping[Row, Any], *, of_changes: bool = False) -> Confirmation:
    """What needs a second read while these restrictions are published."""
    records: dict[PersonArea, dict[str, Any]] = defaultdict(dict)
    holders: dict[tuple[str, str], set[str]] = defaultdict(set)
    for (area, person, key), said in published.items():
        records[person, area][key] = said
        holders[area, key].add(person)
    return Confirmation(records=records, holders=holders, of_changes=of_changes)
