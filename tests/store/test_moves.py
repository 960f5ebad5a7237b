"""What is no evidence that a restriction moved from one person to another (ADR 0011)."""

from collections.abc import Sequence

import pytest

from tests.support.store_world import World, failed, read, world_on
from worker.core.model import PersonRead, RunKind
from worker.errors import WithheldError

pytestmark = pytest.mark.promise("1")

PERSONS = tuple("abcdefghijklmnopqrst")


def having(world: World, names: Sequence[str], whose: Sequence[str] = ()) -> list[PersonRead]:
    """Each of these persons with one restriction: their own, or that of somebody else."""
    return [
        read(world, name, f"of-{other}") for name, other in zip(names, whose or names, strict=True)
    ]


def all_of(names: Sequence[str]) -> list[str]:
    return [f"of-{name}" for name in names]


async def holders(world: World) -> set[tuple[str, str]]:
    """Each person and restriction of the current view."""
    return {(key, restriction) for key, restriction, *_ in await world.current()}


OWN = {(name, f"of-{name}") for name in PERSONS}


def swapped(world: World) -> list[PersonRead]:
    """Each answer is the neighbour's, in both reads."""
    return having(world, PERSONS, (*PERSONS[1:], PERSONS[0]))


def everything_to_one(world: World) -> list[PersonRead]:
    """One person gets everybody's, all others nothing, in both reads."""
    return [read(world, "a", *all_of(PERSONS)), *(read(world, name) for name in PERSONS[1:])]


def of_who_fail_to_others(world: World) -> list[PersonRead]:
    """A cache gives the answers of those who fail to somebody new."""
    failing = PERSONS[:8]
    return [
        *(failed(world, name) for name in failing),
        *having(world, PERSONS[8:]),
        *having(world, [f"new-{name}" for name in failing], failing),
    ]


@pytest.mark.parametrize(
    ("night", "says"),
    [
        (swapped, "20 of 20 open restrictions of 20 persons who "),
        (everything_to_one, "19 of 20 open restrictions of 19 persons would c"),
        (of_who_fail_to_others, "8 of 20 open restrictions of 8 persons who could"),
    ],
    ids=["swapped", "everything to one", "of who fail to others"],
)
async def test_a_mass_move_hides_no_loss(sqlite_url, night, says):
    """Withheld: it may be answers that were mixed up."""
    async with world_on(sqlite_url) as world:
        await world.publish(*having(world, PERSONS))
        attempt = await world.begin()
        await attempt.write(*night(world))
        with pytest.raises(WithheldError, match=says):
            await attempt.publish()
        assert await holders(world) == OWN


async def test_what_takes_nothing_from_others(sqlite_url):
    """A backfill of one person; a forgotten filter beside persons who fail; an id that came twice.

    A person who was not read without a restriction keeps it.
    """
    async with world_on(sqlite_url) as world:
        await world.publish(*having(world, PERSONS))
        await world.publish(read(world, "a", "of-a", "of-b"), kind=RunKind.BACKFILL)
        assert await holders(world) == OWN | {("a", "of-b")}
        await world.publish(
            read(world, "a", *all_of(PERSONS)),
            *(failed(world, name) for name in PERSONS[1:4]),
            *having(world, PERSONS[4:]),
        )
        assert await holders(world) >= OWN
        await world.publish(
            failed(world, "t"),
            *having(world, PERSONS[:-1]),
            *having(world, ["x", "y"], ["t", "t"]),
        )
        assert ("t", "of-t") in await holders(world)


async def test_identifiers_that_change_are_published(sqlite_url):
    """Many D-numbers become fødselsnumre, one of whom cannot be read: nobody loses anything."""
    new = [f"new-{name}" for name in PERSONS]
    async with world_on(sqlite_url) as world:
        await world.publish(*having(world, PERSONS), *(read(world, name) for name in new))
        await world.publish(
            failed(world, "a"),
            *(read(world, name) for name in PERSONS[1:]),
            *having(world, new, PERSONS),
        )
        assert await holders(world) == {(f"new-{name}", f"of-{name}") for name in PERSONS}
