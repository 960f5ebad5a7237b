"""One person is removed completely, down to the bytes, and nobody else is touched."""

import dataclasses
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from msgspec.structs import replace
from sqlalchemy import make_url

from tests.support.databases import data_files_of, execute
from tests.support.store_world import World, failed, read, world_on
from worker.errors import ConfigurationError, ExitCode, LeaseLostError, UnavailableError
from worker.store.privacy import Access, count_traces, erase_traces, record_access, scrub
from worker.store.schema.tables import (
    CHANGES,
    VERSIONS,
    draft,
    draft_area,
    metadata,
    person,
    person_area,
)

GONE = "5eed" * 16
"""The pseudonym of the person who is to go."""
CANARY = "canary-9f3b71c2"
KEPT = "kept-content"


TABLES = [
    table.name
    for table in (*VERSIONS.values(), *CHANGES.values(), draft, draft_area, person, person_area)
]
"""Every table with rows of a person."""


def sqlite_files_of(url: str) -> bytes:
    """The bytes of a SQLite database, its write-ahead log and its index."""
    path = url.removeprefix("sqlite:///")
    return b"".join(
        each.read_bytes() for end in ("", "-wal", "-shm") if (each := Path(path + end)).exists()
    )


async def history(world: World) -> None:
    """Three published nights with a change, a failure and a second person; a run that goes on."""
    for code, is_failed in ((f"{CANARY}-1", False), (f"{CANARY}-2", False), ("", True)):
        attempt = await world.begin()
        mine = failed(world, GONE) if is_failed else read(world, GONE, f"x={code}", ref="R-7f2")
        await attempt.write(mine, read(world, "b", f"k={KEPT}", "l"))
        await attempt.publish()
    attempt = await world.begin()
    await attempt.write(
        read(world, GONE, f"x={CANARY}-3", f"y={CANARY}-4", ref="R-7f2"),
        read(world, "b", f"k={KEPT}-2", "l"),
    )
    await attempt.interrupt()


async def others(world: World) -> list[list[tuple[Any, ...]]]:
    """All rows that are not the person's."""
    ours = f"(SELECT person_id FROM person WHERE person_key = '{GONE}')"
    tables = [
        await world.rows(f"SELECT * FROM {table} WHERE person_id NOT IN {ours} ORDER BY 1, 2")
        for table in TABLES
    ]
    return [*tables, await world.rows("SELECT * FROM run ORDER BY run_id")]


@pytest.mark.promise("8")
async def test_the_person_goes_and_all_others_stay(database_url):
    """Versions, drafts and the person go; other rows and the ledger stay as they were.

    A look before it, ``count_traces``, counts them and writes nothing. The feed says that somebody
    was erased, and the access log names the person no more.
    """
    async with world_on(database_url) as world:
        await history(world)
        access = Access(os_user="pts", login_user=None, host="h", command="explain", purpose=None)
        for key in (GONE, "b"):
            await record_access(world.database, access, person_key=key)
        before = await others(world)
        rows = [await world.rows(f"SELECT * FROM {table}") for table in metadata.tables]
        looked = await count_traces(world.database, GONE)
        assert [await world.rows(f"SELECT * FROM {table}") for table in metadata.tables] == rows
        found = await world.erase(GONE)
        assert found == looked
        assert await others(world) == before
        expected = {
            "patient_safety_version": 2,
            "patient_privacy_version": 0,
            "draft_patient_safety": 2,
            "draft_patient_privacy": 0,
            "draft_area": 2,
            "draft": 1,
            "person_area": 2,
            "person": 1,
        }
        assert dict(found) == expected
        assert await world.rows("SELECT person_key FROM person") == [("b",)]
        for view in ("patient_safety_current", "patient_safety_history", "person_freshness"):
            seen = await world.rows(f"SELECT DISTINCT person_key FROM report_{view}")
            assert seen == [("b",)]
        columns = "publication_no, op, person_key"
        last = f"SELECT {columns} FROM report_change_feed ORDER BY seq DESC LIMIT 1"
        assert await world.rows(last) == [(3, "erase", None)]
        await record_access(world.database, access, person_key=GONE)  # a look-up that finds nobody
        accesses = await world.rows("SELECT person_key FROM report_access ORDER BY person_key")
        assert set(accesses) == {("b",), (None,)}
        assert await world.erase(GONE) == {}


@pytest.mark.promise("8")
async def test_who_is_not_published_goes_from_the_drafts(sqlite_url):
    """A person whom only an open run knows, and who was asked about."""
    async with world_on(sqlite_url) as world:
        attempt = await world.begin()
        await attempt.write(read(world, GONE, f"x={CANARY}"), read(world, "b", "l"))
        await attempt.interrupt()
        found = await world.erase(GONE)
        assert {name: count for name, count in found.items() if count} == {
            "draft_patient_safety": 1,
            "draft_area": 2,
            "draft": 1,
        }
        assert await world.rows("SELECT person_key FROM draft") == [("b",)]
        files = sqlite_files_of(sqlite_url)
    assert [name for name in (GONE, CANARY) if name.encode() in files] == []


@pytest.mark.promise("8")
async def test_no_byte_is_left_in_the_files(database_url):
    """Neither pseudonym nor code nor reference stands in the database's files afterwards."""
    access = Access(os_user="pts", login_user=None, host="h", command="explain", purpose=None)
    async with world_on(database_url) as world:
        await history(world)
        await record_access(world.database, access, person_key=GONE)

        async def look() -> dict[str, bool]:
            if database_url.startswith("sqlite"):
                found = sqlite_files_of(database_url)
            else:
                found = await data_files_of(database_url)
            return {name: name.encode() in found for name in (GONE, CANARY, "R-7f2", KEPT)}

        assert await look() == {GONE: True, CANARY: True, "R-7f2": True, KEPT: True}
        await world.erase(GONE, rewrite=True)
        assert await look() == {GONE: False, CANARY: False, "R-7f2": False, KEPT: True}


KEPT_SETTINGS = (
    "SELECT name, setting FROM pg_settings WHERE source = 'session' "
    "AND name NOT LIKE 'transaction%' "  # of each transaction, and no longer
    "UNION SELECT 'kept', count(*)::text FROM pg_db_role_setting ORDER BY 1"
)
SAMPLES = (
    "SELECT count(*) > 0 FROM pg_stats "
    f"WHERE concat(most_common_vals::text, histogram_bounds::text) LIKE '%{GONE}%'"
)


@pytest.mark.promise("8")
@pytest.mark.parametrize("held", ["SELECT count(*) FROM run", "SELECT pg_current_xact_id()"])
async def test_it_waits_for_what_may_still_see_the_person(postgresql_url, postgres_url, held):
    """VACUUM keeps what is seen from here, or since a transaction that writes to any database.

    An erasure waits half a second, again and again. It does not call itself done meanwhile, and can
    be started again. Then no byte is left, no sample value of a column, and no setting: neither in
    its sessions, which a pooler may hand on, nor in the database or a role.
    """
    waits: list[float] = []
    reader = await asyncpg.connect(postgres_url if "xact" in held else postgresql_url)
    async with world_on(postgresql_url) as world:
        await history(world)
        await world.rows_written("ANALYZE")
        assert await world.rows(SAMPLES) == [(True,)]
        settings = await world.rows(KEPT_SETTINGS)

        async def wait(seconds: float) -> None:
            waits.append(seconds)
            await world.fake.sleep(seconds)
            if len(waits) == leaves_after:
                await reader.execute("ROLLBACK")  # when it returns, the server has

        runtime = replace(world.fake.runtime, sleep=wait)
        world.database = dataclasses.replace(world.database, runtime=runtime)
        leaves_after = 1_000
        await reader.execute(f"BEGIN ISOLATION LEVEL REPEATABLE READ; {held}")
        with pytest.raises(UnavailableError, match="still open on the server"):
            await world.erase(GONE, rewrite=True)
        assert set(waits) == {0.5}
        waits.clear()
        leaves_after = 3
        await world.erase(GONE, rewrite=True)
        assert waits == [0.5] * 3
        assert GONE.encode() not in await data_files_of(postgresql_url)
        assert await world.rows(SAMPLES) == [(False,)]
        assert await world.rows(KEPT_SETTINGS) == settings
    await reader.close()


async def test_an_open_run_is_continued_without_the_person(database_url):
    """The run goes on, and reads who is on the roster again."""
    async with world_on(database_url) as world:
        await history(world)
        await world.erase(GONE)
        again = await world.begin()
        assert again.handle.is_continued
        await again.write(read(world, "b", f"k={KEPT}", "l"))
        assert await again.publish() == ExitCode.OK
        assert {row[0] for row in await world.current()} == {"b"}
        await world.publish(read(world, GONE, "x=new"), read(world, "b", f"k={KEPT}", "l"))
        assert {row[0] for row in await world.current()} == {"b", GONE}


@pytest.mark.promise("8")
def test_every_table_of_persons_is_reached():
    """Each table with a person's id or key but the change feed, which names nobody then.

    In the access log the person's key is cleared.
    """
    named = {
        table.name
        for table in metadata.sorted_tables
        if {"person_id", "person_key"} & {column.name for column in table.c}
    }
    assert named - {"access_log", "change_feed"} == set(TABLES)


@pytest.mark.promise("8")
async def test_only_their_owner_takes_the_bytes_away(postgresql_url, postgres_url):
    """VACUUM passes over the tables of another role, with a warning alone."""
    async with world_on(postgresql_url) as world:
        name = make_url(postgresql_url).database
        await world.rows_written(f'ALTER DATABASE "{name}" SET role = pg_read_all_data')
        await world.database.engine.dispose()  # its sessions are another role's from now on
        with pytest.raises(ConfigurationError, match="another role owns them"):
            await scrub(world.database, rewrite=True)
        await execute(postgres_url, f'ALTER DATABASE "{name}" OWNER TO pg_read_all_data')
        await scrub(world.database, rewrite=True)  # the database's owner is enough


@pytest.mark.promise("4")
async def test_who_has_lost_the_lease_erases_nothing(database_url):
    """Another process took over between the question and the deed."""
    async with world_on(database_url) as world:
        await world.publish(read(world, GONE, "x"))
        lease = await world.lease()
        await world.lose_lease()
        with pytest.raises(LeaseLostError):
            await erase_traces(lease, GONE)
        assert await world.current() == {(GONE, "x", "NORU", False)}
