"""What PTS shows under another person: opened there, closed here by this person's own reads."""

from collections.abc import Sequence

import pytest

from tests.support.store_world import World, failed, read, world_on
from worker.core.model import PersonRead
from worker.errors import FailureKind, WithheldError

pytestmark = pytest.mark.promise("1")

PERSONS = tuple("abcdefghijklmnopqrst")


def having(world: World, names: Sequence[str], whose: Sequence[str] = ()) -> list[PersonRead]:
    """Each of these persons with one restriction: their own, or that of somebody else."""
    return [
        read(world, name, f"of-{other}") for name, other in zip(names, whose or names, strict=True)
    ]


async def holders(world: World) -> set[tuple[str, str]]:
    """Each person and restriction of the current view."""
    return {(key, restriction) for key, restriction, *_ in await world.current()}


OWN = {(name, f"of-{name}") for name in PERSONS}
STAYING = {("k", "k1", False), ("k", "k2", False)}


@pytest.mark.parametrize(
    ("order", "left"),
    [
        ("old first", set()),
        ("new first", set()),
        ("old missed", {("old", "x", True)}),
        ("old gone", set()),
        ("old fails", {("old", "x", True)}),
        ("old contradicted", {("old", "x", True)}),
        ("old holds it too", {("old", "x", False)}),
    ],
)
async def test_under_another_identifier(database_url, order, left):
    """It begins anew there, and stays at the old one until that one's own reads or departure."""
    async with world_on(database_url) as world:
        own = read(world, "k", "k1", "k2")
        await world.publish(read(world, "old", "x"), read(world, "new"), own)
        world.fake.advance(86_400)
        began = world.fake.now()
        without, new = read(world, "old"), read(world, "new", "x")
        steps = {
            "old first": [without, new],
            "new first": [new, without],
            "old missed": [new],
            "old gone": [new],
            "old fails": [failed(world, "old"), new],
            "old contradicted": [new, failed(world, "old", FailureKind.UNSTABLE)],
            "old holds it too": [read(world, "old", "x"), new],
        }[order]
        for _ in range(2 if order == "old gone" else 1):
            attempt = await world.begin()
            for step in (*steps, own):
                await attempt.write(step)
            await attempt.publish()
        shown = {(key, row, is_stale) for key, row, _, is_stale in await world.current()}
        assert shown == left | STAYING | {("new", "x", False)}
        totals = await world.rows("SELECT rows_opened, rows_closed FROM report_run ORDER BY run_id")
        opened, closed = map(sum, zip(*totals[1:], strict=True))
        assert (opened, closed) == (1, 0 if left else 1)
        ((first_seen,),) = await world.rows(
            "SELECT first_seen_at FROM report_patient_safety_current WHERE person_key = 'new'"
        )
        assert str(first_seen)[:10] == str(began)[:10]


def swapped(world: World) -> list[PersonRead]:
    """Each answer is the neighbour's, in both reads."""
    return having(world, PERSONS, (*PERSONS[1:], PERSONS[0]))


def everything_to_one(world: World) -> list[PersonRead]:
    """One person gets everybody's, all others nothing, in both reads."""
    everything = [f"of-{name}" for name in PERSONS]
    return [read(world, "a", *everything), *(read(world, name) for name in PERSONS[1:])]


@pytest.mark.promise("5")
@pytest.mark.parametrize(
    ("night", "says"),
    [
        (swapped, "20 of 20 open restrictions of 20 persons would close"),
        (everything_to_one, "19 of 20 open restrictions of 19 persons would close"),
    ],
    ids=["swapped", "everything to one"],
)
async def test_many_under_other_persons_are_withheld(sqlite_url, night, says):
    """It may be answers that were mixed up: that another person has them excuses no closing."""
    async with world_on(sqlite_url) as world:
        await world.publish(*having(world, PERSONS))
        attempt = await world.begin()
        await attempt.write(*night(world))
        with pytest.raises(WithheldError, match=says):
            await attempt.publish()
        assert await holders(world) == OWN
