"""A source that answers the second time as it did the first, for tests that write to the store."""

from collections.abc import Awaitable, Callable, Sequence

from worker.core.confirmation import Unconfirmed, compared
from worker.core.model import CompleteArea, PersonRead
from worker.core.run import BatchResult


def read_again(found: Unconfirmed) -> PersonRead:
    """The person after a second read that holds what the first held."""
    areas = [
        compared(found.published[area.area], area, area, found.confirm)
        if isinstance(area, CompleteArea) and area.area in found.published
        else area
        for area in found.read.areas
    ]
    return PersonRead(person=found.read.person, areas=tuple(areas))


async def apply_confirmed(
    apply: Callable[[Sequence[PersonRead]], Awaitable[BatchResult]], reads: Sequence[PersonRead]
) -> None:
    """Write persons, those that need a second read after it."""
    result = await apply(reads)
    if result.unconfirmed:
        again = await apply([read_again(found) for found in result.unconfirmed])
        assert not again.unconfirmed
