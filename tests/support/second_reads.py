"""A source that answers the second time as it did the first, for tests that write to the store."""

from collections.abc import Sequence

from worker.areas import area_named
from worker.core.confirmation import Unconfirmed, compared
from worker.core.model import CompleteArea, PersonRead
from worker.store.runs.run_store import RunStore


def read_again(store: RunStore, read: PersonRead, first: dict[str, Unconfirmed]) -> PersonRead:
    """The areas that wait, after a second read that holds what the first held."""
    areas = [
        compared(area_named(area.area), first[area.area], area, store.confirm)
        for area in read.areas
        if isinstance(area, CompleteArea) and area.area in first
    ]
    return PersonRead(person=read.person, areas=tuple(areas))


async def apply_confirmed(store: RunStore, reads: Sequence[PersonRead]) -> None:
    """Write persons, those that need a second read after it."""
    waiting = await store.apply(reads)
    if waiting:
        first = await store.unconfirmed(sorted(waiting))
        again = [
            read_again(store, read, dict(first[read.person.person_key]))
            for read in reads
            if read.person.person_key in waiting
        ]
        assert not await store.apply(again)
