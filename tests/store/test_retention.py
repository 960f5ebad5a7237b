"""What the retention settings forget, and what they never touch."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, make_url

from tests.support.store_world import World, read, world_on
from worker.errors import LeaseLostError
from worker.store.privacy import scrub
from worker.store.runs import ledger
from worker.store.runs.ledger import Purged, purge

pytestmark = pytest.mark.promise("11")

DAY_S = 86_400
VIEWS = ("report_patient_safety_current", "report_person_freshness")


async def nights(world: World, *contents: str, gap_s: float = DAY_S) -> None:
    """A sync each night, in which person ``a`` holds what is given and ``b`` the same always."""
    for codes in contents:
        await world.publish(read(world, "a", *codes.split()), read(world, "b", "k", "l", "m"))
        world.fake.advance(gap_s)


async def forget(world: World, *, versions: float | None = None, ago: float = 0) -> Purged:
    """Purge what is older than so many days; the sync before was published some days ago."""
    kept = None if versions is None else timedelta(days=versions)
    until = world.fake.now() - timedelta(days=ago)
    return await purge(await world.lease(), versions=kept, last_sync_at=until)


def file_content(url: str) -> bytes:
    """The bytes of an SQLite file."""
    return Path(make_url(url).database or "").read_bytes()


async def seen(world: World) -> list[list[tuple[Any, ...]]]:
    """What readers see now."""
    return [sorted(await world.rows(f"SELECT * FROM {view}"), key=str) for view in VIEWS]


@pytest.mark.promise("2")
async def test_old_closed_versions_go_and_the_current_state_stays(database_url):
    """A version goes once its end is older than the limit; what is open stays, however old."""
    async with world_on(database_url, our_clock=True) as world:
        await nights(world, "x", "x=N", "x=M", "x=O", "x=O")
        before = await seen(world)
        assert await forget(world) == Purged(), "without rules everything stays"
        # Ends lie 4, 3 and 2 days back.
        assert await forget(world, versions=2.5, ago=1) == Purged(versions=1)
        assert await forget(world, versions=2.5, ago=-1) == Purged(versions=1), "now is earlier"
        assert await seen(world) == before
        history = await world.rows(
            "SELECT confidentiality_code, valid_to IS NULL FROM report_patient_safety_history "
            "WHERE person_key = 'a' ORDER BY valid_from"
        )
        assert [(code, bool(is_open)) for code, is_open in history] == [("M", False), ("O", True)]
        assert await forget(world, versions=2.5) == Purged()
        await nights(world, "x=P")
        assert {("a", "x", "P", False)} < await world.current()


async def test_a_purge_goes_in_steps_and_stops_when_asked(sqlite_url, monkeypatch):
    """Each transaction is bounded, a stop leaves the rest for the next time, and each is fenced."""
    monkeypatch.setattr(ledger, "ROWS_PER_STEP", 2)
    old = timedelta(hours=1)
    async with world_on(sqlite_url) as world:
        await nights(world, "x", "x=1", "x=2", "x=3", "x=4", "x=5", "x=5", "x=5")
        lease = await world.lease()
        asked: list[bool] = []

        def after_one() -> bool:
            asked.append(True)
            return len(asked) > 1

        assert await purge(lease, versions=old, is_stopping=after_one) == Purged(versions=2)
        await world.lose_lease()
        with pytest.raises(LeaseLostError):
            await purge(lease, versions=old)
        await world.rows_written("UPDATE lease SET expires_at = acquired_at")
        assert await purge(await world.lease(), versions=old) == Purged(versions=3)


@pytest.mark.promise("8")
async def test_a_purge_overwrites_what_it_deletes(sqlite_url):
    """Also on an SQLite whose default is to leave the deleted bytes in the file."""
    async with world_on(sqlite_url) as world:
        await nights(world, "forgotten-id", "kept-id", "kept-id")
        await scrub(world.database)  # the drafts of those runs

        @event.listens_for(world.database.engine.sync_engine, "checkout")
        def leave_bytes(connection: Any, *_: object) -> None:
            connection.cursor().execute("PRAGMA secure_delete=OFF")

        assert await forget(world, versions=0.5) == Purged(versions=1)
    # The last connection that closes empties the WAL.
    content = file_content(sqlite_url)
    assert b"kept-id" in content
    assert b"forgotten-id" not in content
