"""Persons on the roster whom PTS is not asked about: neither gap nor departure."""

from datetime import timedelta

import pytest

from tests.store.test_store_scenarios import LIMITS, PRIVACY, SAFETY, World, read, world_on
from worker.core.model import RunKind
from worker.core.run import Publication, RunProgress
from worker.errors import ExitCode, LeaseLostError
from worker.store.runs.open_run_store import open_run_store
from worker.store.runs.run_store import SqlRunStore


async def begin(world: World) -> SqlRunStore:
    return await open_run_store(
        await world.lease(),
        kind=RunKind.SYNC,
        areas=(SAFETY, PRIVACY),
        continue_within=timedelta(hours=12),
    )


async def publish(store: SqlRunStore, world: World, *, not_sent: int) -> Publication:
    done = await store.publish(
        LIMITS,
        may_depart=True,
        progress=RunProgress(persons_not_sent=not_sent),
    )
    assert isinstance(done, Publication)
    world.fake.advance(60)
    return done


async def test_who_was_read_earlier_in_this_run_stays_read(database_url):
    """An earlier attempt sent them and this one does not: what it read is not lost."""
    async with world_on(database_url) as world:
        first = await begin(world)
        await first.apply([read(world, "a", "x"), read(world, "h", "y")])
        await first.interrupt(ExitCode.STOPPED, "stopped", RunProgress())
        second = await begin(world)
        assert second.handle.is_continued
        assert {"a"} == set(await second.settled(["a"]))
        await second.not_sent(["h", "unknown"])
        done = await publish(second, world, not_sent=2)
        assert (ExitCode.OK, 2, 0) == (
            done.exit_code,
            done.totals["persons_not_sent"],
            done.totals["persons_departed"],
        )
        assert {("a", "x", "NORU", False), ("h", "y", "NORU", False)} == await world.current()
        assert [("a",), ("h",)] == await world.rows("SELECT person_key FROM person ORDER BY 1")


async def test_a_note_of_an_earlier_run_keeps_nobody(database_url):
    """On the roster yesterday and not today is departed."""
    async with world_on(database_url) as world:
        store = await begin(world)
        await store.apply([read(world, "a", "x"), read(world, "h", "y")])
        await publish(store, world, not_sent=0)
        for expected in (0, 1):
            store = await begin(world)
            await store.apply([read(world, "a", "x")])
            await store.not_sent(["h"] if expected == 0 else [])
            done = await publish(store, world, not_sent=1 - expected)
            assert expected == done.totals["persons_departed"]
        assert {("a", "x", "NORU", False)} == await world.current()


async def test_who_lost_the_lease_notes_nothing(database_url):
    """The note is behind the fencing token."""
    async with world_on(database_url) as world:
        store = await begin(world)
        await store.apply([read(world, "h", "y")])
        await world.rows_written("UPDATE lease SET fencing_token = fencing_token + 1")
        with pytest.raises(LeaseLostError):
            await store.not_sent(["h"])
        assert [(None,)] == await world.rows("SELECT not_sent_by FROM person")
