"""Publication times whatever a clock does, and how long a run may go on (promises 3 and 11)."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from tests.support.clock import START
from tests.support.store_world import RunAttempt, World, failed, person_named, read, world_on
from worker.errors import ExitCode
from worker.store.status import publication_at

pytestmark = pytest.mark.promise("11")

HOUR_S = 3_600.0


async def publications(world: World) -> list[tuple[int, datetime]]:
    """Number of run and time of each, in their order."""
    found = await world.rows(
        "SELECT run_id, published_at FROM report_run WHERE publication_no IS NOT NULL "
        "ORDER BY publication_no"
    )
    return [(run_id, _instant(at)) for run_id, at in found]


def _instant(at: str | datetime) -> datetime:
    return datetime.fromisoformat(at) if isinstance(at, str) else at


async def as_of(world: World, at: datetime) -> set[str]:
    """The codes that readers of the history see at an instant."""
    return {
        code
        for code, begin, end in await world.rows(
            "SELECT confidentiality_code, valid_from, valid_to FROM report_patient_safety_history"
        )
        if _instant(begin) <= at and (end is None or at < _instant(end))
    }


async def publish(world: World, code: str) -> None:
    assert await world.publish(read(world, "a", f"x={code}")) == ExitCode.OK


@pytest.mark.promise("2")
async def test_six_publications_after_a_clock_a_day_ahead(sqlite_url):
    """Each has an instant of its own, and "as of" that instant gives its own state."""
    async with world_on(sqlite_url) as world:
        world.fake.set_wall_clock(START + timedelta(days=1))
        await publish(world, "C0")
        world.fake.set_wall_clock(START)
        for number in range(1, 7):
            await publish(world, f"C{number}")
        found = await publications(world)
        assert len(found) == 7
        for number, (run_id, at) in enumerate(found):
            assert await as_of(world, at) == {f"C{number}"}
            publication = await world.database.read(publication_at, at)
            assert publication is not None
            assert publication.run_id == run_id
        for (_, earlier), (_, later) in pairwise(found):
            assert earlier < later
        # The clock is right again: so are the times.
        world.fake.set_wall_clock(START + timedelta(days=2))
        await publish(world, "C7")
        assert (await publications(world))[-1][1] >= START + timedelta(days=2)


async def test_the_server_dates_publications(postgresql_url):
    """A wrong clock of the worker's machine dates nothing; the server's own may go back as well."""
    async with world_on(postgresql_url) as world:
        world.fake.set_wall_clock(datetime(2031, 1, 1, tzinfo=UTC))
        await publish(world, "A")
        ((_, at),) = await publications(world)
        assert abs(datetime.now(UTC) - at) < timedelta(minutes=5)
        written = (datetime.now(UTC) + timedelta(days=1)).isoformat(timespec="microseconds")
        await world.rows_written(f"UPDATE run SET published_at = '{written}'")
        for code in "BCD":
            await publish(world, code)
        found = await publications(world)
        assert len({at for _, at in found}) == 4
        assert [await as_of(world, at) for _, at in found] == [{code} for code in "ABCD"]


async def start(world: World, *, after_s: float) -> RunAttempt:
    """The next start of ``sync``, so long after the last thing that happened."""
    world.fake.advance(after_s)
    return await world.begin()


@pytest.mark.promise("3")
async def test_a_run_that_makes_no_progress_is_given_up(sqlite_url):
    """However often it is started, and however many failures each start writes down.

    Starts alone are no progress.
    """
    async with world_on(sqlite_url) as world:
        attempt = await world.begin()
        await attempt.write(read(world, "a", "x"))
        for _ in range(2):
            await attempt.interrupt()
            attempt = await start(world, after_s=5 * HOUR_S)
            assert attempt.handle.is_continued
            await attempt.apply(nothing_of(world, "b"))
        await attempt.interrupt()
        attempt = await start(world, after_s=5 * HOUR_S)
        assert (attempt.handle.is_continued, attempt.handle.run_id) == (False, 2)
        assert await world.rows("SELECT status FROM run WHERE run_id = 1") == [("abandoned",)]
        assert await world.rows("SELECT count(*) FROM patient_safety_version") == [(0,)]
        starts = [await start(world, after_s=5 * HOUR_S) for _ in range(3)]
        assert [one.handle.run_id for one in starts] == [2, 2, 3]


def nothing_of(world: World, key: str):
    """A person of whom no area could be read."""
    found = failed(world, key)
    return type(found)(person=found.person, areas=found.areas[:1])


@pytest.mark.promise("3")
async def test_a_run_that_makes_progress_goes_on(sqlite_url):
    """However many starts it needs, and however long they take together."""
    async with world_on(sqlite_url) as world:
        for key in "abcd":
            attempt = await start(world, after_s=11 * HOUR_S)
            await attempt.write(read(world, key, f"{key}1"))
            await attempt.interrupt()
        attempt = await start(world, after_s=11 * HOUR_S)
        ended = "SELECT run_id, exit_code, reason, finished_at FROM run"
        assert await world.rows(ended) == [(1, None, None, None)], "not how the last start ended"
        await attempt.store.drafts([person_named("a", ref="new", cohort="Nord")], pass_number=1)
        await attempt.write(read(world, "a", "a1", ref="a second line of the same roster"))
        assert await attempt.publish(is_full_roster=False) == ExitCode.OK
        assert ("new", "Nord") in await world.rows("SELECT local_ref, cohort FROM person")
        assert {row[0] for row in await world.current()} == set("abcd")
