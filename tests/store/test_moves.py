"""What is no evidence that a restriction moved from one person to another (ADR 0011)."""

import shutil
from typing import Any

import pytest
from sqlalchemy import event

from tests.support.store_world import failed, read, world_on
from worker.core.model import FailureKind, RunKind
from worker.errors import WithheldError

pytestmark = pytest.mark.promise("1")

PERSONS = tuple("abcdefghijklmnopqrst")


async def everybody_has_one(world):
    await world.publish(*(read(world, name, f"of-{name}") for name in PERSONS))


async def holders(world):
    """Each person's restriction and whether it is stale."""
    return {(key, restriction) for key, restriction, *_ in await world.current()}


async def test_a_backfill_of_one_takes_nothing_from_the_others(database_url):
    """One person shows what another has, whom this run did not ask: both have it from now on."""
    async with world_on(database_url) as world:
        await everybody_has_one(world)
        await world.publish(read(world, "a", "of-a", "of-b"), kind=RunKind.BACKFILL)
        shown = await holders(world)
        assert shown == {(name, f"of-{name}") for name in PERSONS} | {("a", "of-b")}


async def test_one_answer_with_everybodys_restrictions_takes_none(database_url):
    """PTS forgot the filter for one person, in both reads, and the others fail: theirs stand."""
    async with world_on(database_url) as world:
        await everybody_has_one(world)
        await world.publish(
            read(world, "a", *(f"of-{name}" for name in PERSONS)),
            *(failed(world, name, FailureKind.TRANSIENT) for name in PERSONS[1:4]),
            *(read(world, name, f"of-{name}") for name in PERSONS[4:]),
        )
        assert {(name, f"of-{name}") for name in PERSONS} <= await holders(world)


async def test_answers_swapped_among_everybody_are_withheld(database_url):
    """Each answer is the neighbour's, in both reads: nothing is published."""
    async with world_on(database_url) as world:
        await everybody_has_one(world)
        before = await holders(world)
        attempt = await world.begin()
        shifted = zip(PERSONS, (*PERSONS[1:], PERSONS[0]), strict=True)
        await attempt.write(*(read(world, name, f"of-{other}") for name, other in shifted))
        with pytest.raises(WithheldError, match="20 of 20 open restrictions of 20 persons who "):
            await attempt.publish()
        assert before == await holders(world)


async def test_a_night_in_which_everybody_moves_is_published(database_url):
    """Many D-numbers become fødselsnumre: nobody loses anything, and nobody gets another's."""
    async with world_on(database_url) as world:
        await world.publish(
            *(read(world, name, f"of-{name}") for name in PERSONS),
            *(read(world, f"new-{name}") for name in PERSONS),
        )
        await world.publish(
            *(read(world, name) for name in PERSONS),
            *(read(world, f"new-{name}", f"of-{name}") for name in PERSONS),
        )
        assert {(f"new-{name}", f"of-{name}") for name in PERSONS} == await holders(world)


async def test_a_few_moves_are_published(database_url):
    """A D-number becomes a fødselsnummer while the old one cannot be read: no removal."""
    async with world_on(database_url) as world:
        await everybody_has_one(world)
        await world.publish(
            read(world, "new", "of-a"),
            failed(world, "a", FailureKind.REJECTED),
            *(read(world, name, f"of-{name}") for name in PERSONS[1:]),
        )
        shown = await holders(world)
        assert ("new", "of-a") in shown
        assert ("a", "of-a") not in shown


async def test_one_answer_with_everything_hides_no_loss(database_url):
    """One person gets everybody's, all others nothing, in both reads: theirs count as removed."""
    async with world_on(database_url) as world:
        await everybody_has_one(world)
        before = await holders(world)
        attempt = await world.begin()
        await attempt.write(
            read(world, "a", *(f"of-{name}" for name in PERSONS)),
            *(read(world, name) for name in PERSONS[1:]),
        )
        with pytest.raises(WithheldError, match="19 of 20 open restrictions of 19 persons would c"):
            await attempt.publish()
        assert before == await holders(world)


async def test_what_another_had_all_along_is_removed(database_url):
    """Mother and child have one id: half of all lose theirs, whatever the others hold."""
    async with world_on(database_url) as world:
        attempt = await world.begin()
        pairs = [read(world, f"{name}{who}", f"of-{name}") for name in PERSONS for who in "mc"]
        await attempt.write(*pairs)
        await attempt.publish()
        attempt = await world.begin()
        await attempt.write(*pairs[::2], *(read(world, f"{name}c") for name in PERSONS))
        with pytest.raises(WithheldError, match="20 of 40 open restrictions"):
            await attempt.publish()


async def test_an_id_that_comes_up_twice_takes_from_nobody(database_url):
    """Nobody has two new identifiers at once."""
    async with world_on(database_url) as world:
        await everybody_has_one(world)
        await world.publish(
            failed(world, "a", FailureKind.TRANSIENT),
            *(read(world, name, f"of-{name}") for name in PERSONS[1:]),
            *(read(world, name, "of-a") for name in ("x", "y")),
        )
        assert ("a", "of-a") in await holders(world)


async def test_many_who_cannot_be_read_lose_nothing_to_others(database_url):
    """A cache gives the answers of those who fail to their neighbours: withheld."""
    async with world_on(database_url) as world:
        await everybody_has_one(world)
        attempt = await world.begin()
        await attempt.write(
            *(failed(world, name, FailureKind.TRANSIENT) for name in PERSONS[:8]),
            *(read(world, name, f"of-{name}") for name in PERSONS[8:]),
            *(read(world, f"new-{name}", f"of-{name}") for name in PERSONS[:8]),
        )
        with pytest.raises(WithheldError, match="8 of 20 open restrictions of 8 persons who could"):
            await attempt.publish()


async def test_a_night_of_new_restrictions_reads_each_by_its_key(migrated_sqlite, tmp_path):
    """After a backfill all of a first run are new: for each, SQLite went through all of them.

    One of them has come to another person, else nobody asks where they are from.
    """
    path = shutil.copy(migrated_sqlite, tmp_path / "pts.db")
    async with world_on(f"sqlite:///{path}") as world:
        for kind, persons in ((RunKind.BACKFILL, "a"), (RunKind.SYNC, "abcd")):
            attempt = await world.begin(kind)
            keys = {one: f"of {one}" for one in persons} | ({"d": "of a"} if "d" in persons else {})
            await attempt.write(*(read(world, one, key) for one, key in keys.items()))
            statements: list[tuple[str, Any]] = []
            engine = world.database.engine.sync_engine

            def keep(_connection, _cursor, sql, parameters, *_more, into=statements):
                into.append((sql, parameters))

            event.listen(engine, "before_cursor_execute", keep)
            await attempt.publish(may_depart=kind == RunKind.SYNC)
            event.remove(engine, "before_cursor_execute", keep)

        async def plans(connection):
            return [
                row.detail
                for sql, parameters in statements
                if sql.startswith(("SELECT", "UPDATE"))
                for row in await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", parameters)
            ]

        found = [
            detail
            for detail in await world.database.read(plans)
            if detail.startswith(("SEARCH rival", "SCAN rival", "SEARCH other", "SCAN other"))
        ]
        assert found
        assert [detail for detail in found if "restriction_id=?" not in detail] == []
