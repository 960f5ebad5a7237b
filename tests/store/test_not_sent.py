"""Persons on the roster whom PTS is not asked about: neither gap nor departure."""

from tests.support.store_world import read, world_on
from worker.core.run import Publication
from worker.errors import ExitCode


async def test_who_was_read_earlier_in_this_run_stays_read(database_url):
    """An earlier attempt sent them and this one does not: what it read is not lost."""
    async with world_on(database_url) as world:
        first = await world.begin()
        await first.apply(read(world, "a", "x"), read(world, "h", "y"))
        await first.interrupt()
        second = await world.begin()
        assert second.handle.is_continued
        assert set(await second.settled("a")) == {"a"}
        await second.store.not_sent(["h", "unknown"])
        done = await second.finish(not_sent=2)
        assert isinstance(done, Publication)
        assert done.exit_code == ExitCode.OK
        assert (done.totals["persons_not_sent"], done.totals["persons_departed"]) == (2, 0)
        assert await world.current() == {("a", "x", "NORU", False), ("h", "y", "NORU", False)}
        assert await world.rows("SELECT person_key FROM person ORDER BY 1") == [("a",), ("h",)]


async def test_a_note_of_an_earlier_run_keeps_nobody(sqlite_url):
    """On the roster once and on neither of the next two is departed."""
    async with world_on(sqlite_url) as world:
        attempt = await world.begin()
        await attempt.apply(read(world, "a", "x"), read(world, "h", "y"))
        await attempt.finish(not_sent=0)
        departed = []
        for is_noted in (True, False, True, False, False):
            attempt = await world.begin()
            await attempt.apply(read(world, "a", "x"))
            await attempt.store.not_sent(["h"] if is_noted else [])
            done = await attempt.finish(not_sent=int(is_noted))
            assert isinstance(done, Publication)
            departed.append(done.totals["persons_departed"])
        assert departed == [0, 0, 0, 0, 1]
        assert await world.current() == {("a", "x", "NORU", False)}
