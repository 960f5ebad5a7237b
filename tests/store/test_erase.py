"""One person is removed completely, down to the bytes, and nobody else is touched."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import asyncpg
import pytest
from sqlalchemy import text

from tests.support.columns import as_columns
from tests.support.databases import copied_database, data_files_of
from tests.support.store_world import (
    PRIVACY,
    SAFETY,
    World,
    complete,
    failed,
    person_named,
    read,
    world_on,
)
from worker.core.identity import NationalId
from worker.core.model import AreaFailure, FailureKind, PersonRead, Record
from worker.errors import ExitCode, LeaseLostError, UnavailableError
from worker.store.privacy.erasing import TABLES, Mask, Traces, erase_traces, find_traces, scrub
from worker.store.privacy.searching import NOT_SEARCHED, FoundText, Wanted, search
from worker.store.runs.lease import acquire
from worker.store.runs.process_identity import Holder
from worker.store.schema.tables import metadata

GONE = "5eed" * 16
"""The pseudonym of the person who is to go."""
OFF_ID = NationalId("16858399649")
CANARY = "canary-9f3b71c2"
KEPT = "kept-content"


@pytest.fixture
def postgres_database_url(postgres_url: str, migrated_postgres: str) -> Iterator[str]:
    """A fresh PostgreSQL database alone."""
    with copied_database(postgres_url, migrated_postgres) as url:
        yield url


async def history(world: World) -> None:
    """Three published nights with a change, a failure and a second person."""
    for code, is_failed in ((f"{CANARY}-1", False), (f"{CANARY}-2", False), ("", True)):
        attempt = await world.begin()
        mine = failed(world, GONE) if is_failed else read(world, GONE, f"x={code}", ref="R-7f2")
        await attempt.write(mine, read(world, "b", f"k={KEPT}", "l"))
        await attempt.publish()


async def erase(world: World, key: str = GONE, *, rewrite: bool = False) -> Traces:
    lease = await world.lease()
    found = await find_traces(world.database, key, OFF_ID)
    await erase_traces(lease, found, Mask(OFF_ID, key))
    await scrub(world.database, rewrite=rewrite)
    return found


async def test_keys_that_differ_in_a_person_only(database_url):
    """Two who are erased one after the other, and one spelt in two ways, leave keys that differ."""
    second, other = "f00d" * 16, OFF_ID.reveal()
    keys = [f"k/{GONE}", f"k/{second}", f"k/{other[:6]} {other[6:]}", f"k/{other[:6]}-{other[6:]}"]
    async with world_on(database_url) as world:
        await world.publish(read(world, GONE), read(world, second), read(world, "b", *keys))
        await erase(world)
        await erase(world, second)
        left = [key for _, key, _, _ in await world.current()]
        assert len(set(left)) == 4
        assert all(key.startswith("k/erased-") for key in left)


async def others(world: World) -> list[list[tuple[Any, ...]]]:
    """All rows that are not the person's."""
    person = f"(SELECT person_id FROM person WHERE person_key = '{GONE}')"
    tables = [
        await world.rows(
            f"SELECT * FROM {table.name} WHERE person_id NOT IN {person} ORDER BY 1, 2"
        )
        for table in TABLES
    ]
    return [*tables, await world.rows("SELECT * FROM run ORDER BY run_id")]


def files_of(url: str) -> bytes:
    """The bytes of a SQLite database, its write-ahead log and its index."""
    path = url.removeprefix("sqlite:///")
    return b"".join(
        each.read_bytes() for end in ("", "-wal", "-shm") if (each := Path(path + end)).exists()
    )


@pytest.mark.promise("8")
async def test_the_person_goes_and_all_others_stay(database_url):
    """Versions, proofs, failures and the person go; other rows and the ledger stay as they were."""
    async with world_on(database_url) as world:
        await history(world)
        before = await others(world)
        found = await erase(world)
        assert before == await others(world)
        expected = {
            "patient_safety_version": 2,
            "patient_privacy_version": 0,
            "person_label": 1,
            "person_area": 2,
            "failure": 1,
            "person": 1,
        }
        assert dict(found.rows) == expected
        assert found.mention_count == 0
        assert await world.rows("SELECT person_key FROM person") == [("b",)]
        for view in ("patient_safety_current", "patient_safety_history", "person_freshness"):
            seen = await world.rows(f"SELECT DISTINCT person_key FROM report_{view}")
            assert seen == [("b",)]
        again = await erase(world)
        assert (again.person_id, again.rows, again.mention_count) == (None, {}, 0)


async def test_a_dry_look_changes_nothing(database_url):
    """``find_traces`` counts what would go and writes nothing."""
    async with world_on(database_url) as world:
        await history(world)
        rows = [await world.rows(f"SELECT * FROM {table}") for table in metadata.tables]
        found = await find_traces(world.database, GONE, OFF_ID)
        assert sum(found.rows.values()) == 7
        assert rows == [await world.rows(f"SELECT * FROM {table}") for table in metadata.tables]


@pytest.mark.promise("8")
async def test_no_byte_is_left_in_the_files(database_url):
    """Neither pseudonym nor payload nor reference stands in the database's files afterwards."""
    async with world_on(database_url) as world:
        await history(world)

        async def look() -> bytes:
            if database_url.startswith("sqlite"):
                return files_of(database_url)
            return await data_files_of(database_url)

        secrets = (GONE.encode(), CANARY.encode(), b"R-7f2")
        before = await look()
        assert [secret in before for secret in secrets] == [True, True, True]
        await erase(world, rewrite=True)
        after = await look()
        assert [secret in after for secret in secrets] == [False, False, False]
        assert KEPT.encode() in after


def append(path: Path, content: bytes) -> None:
    """As something that SQLite has left there."""
    with path.open("ab") as file:
        file.write(content)


@pytest.mark.parametrize("end", ["", "-wal", "-shm", "-journal", ".bak"])
def test_what_lies_beside_the_database_is_searched(tmp_path, migrated_sqlite, end):
    """Each file of SQLite's own, and no other: a copy is not found, and is named as such."""
    path = tmp_path / "pts.db"
    shutil.copy(migrated_sqlite, path)

    async def found() -> FoundText:
        async with world_on(f"sqlite:///{path}") as world:
            await world.rows("SELECT count(*) FROM store_identity")
            append(Path(f"{path}{end}"), b"168583 99649 " + GONE.encode())
            return await search(world.database, Wanted(off_id=OFF_ID, person_key=GONE))

    one = anyio.run(found)
    is_own = end != ".bak"
    assert (is_own, is_own) == (one.identifier, one.pseudonym)
    assert is_own is (f"pts.db{end}" in one.searched)
    assert "copies of the file" in NOT_SEARCHED["sqlite"]


async def test_statistics_do_not_remember_either(postgres_database_url):
    """PostgreSQL keeps sample values of columns; erasing makes them anew."""
    statistics = (
        "SELECT count(*) FROM pg_stats "
        "WHERE concat(most_common_vals::text, histogram_bounds::text) LIKE $1"
    )
    async with world_on(postgres_database_url) as world:
        await history(world)
        connection = await asyncpg.connect(postgres_database_url)
        try:
            await connection.execute("ANALYZE")
            assert await connection.fetchval(statistics, f"%{GONE}%") > 0
            await erase(world)
            assert await connection.fetchval(statistics, f"%{GONE}%") == 0
        finally:
            await connection.close()


async def test_it_waits_for_transactions_that_may_still_see_the_person(postgres_database_url):
    """VACUUM keeps what a snapshot may see: an erasure waits half a second, again and again."""
    async with world_on(postgres_database_url) as world, anyio.create_task_group() as group:
        await history(world)
        reader = await asyncpg.connect(postgres_database_url)
        await reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        assert await reader.fetchval("SELECT count(*) FROM person") > 0

        async def leave() -> None:
            while world.fake.waits_s.count(0.5) < 3:  # noqa: ASYNC110 - the world's clock, not ours
                await anyio.sleep(0.001)
            await reader.close()

        group.start_soon(leave)
        await erase(world)
        group.cancel_scope.cancel()
        assert 3 <= world.fake.waits_s.count(0.5) < 20


async def test_a_transaction_that_still_sees_the_person_is_not_passed_over(postgres_database_url):
    """A transaction that stays open keeps the bytes, so the erasure does not call itself done."""
    async with world_on(postgres_database_url) as world:
        await history(world)
        reader = await asyncpg.connect(postgres_database_url)
        try:
            await reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            assert await reader.fetchval("SELECT count(*) FROM person") > 0
            with pytest.raises(UnavailableError, match="before the erasure is still open"):
                await erase(world)
        finally:
            await reader.close()
        await erase(world)


async def test_an_open_run_is_continued_without_the_person(database_url):
    """Rows of an unpublished run go too; the run goes on, and reads who is on the roster again."""
    async with world_on(database_url) as world:
        await history(world)
        attempt = await world.begin()
        await attempt.write(read(world, GONE, "x=new", "y"), read(world, "b", f"k={KEPT}", "l"))
        await attempt.interrupt()
        await erase(world)
        again = await world.begin()
        assert again.handle.is_continued
        await again.write(read(world, "b", f"k={KEPT}", "l"))
        assert await again.publish() == ExitCode.OK
        assert {row[0] for row in await world.current()} == {"b"}
        last = await world.rows(
            "SELECT persons_total, rows_read, rows_opened, rows_closed FROM report_run "
            "ORDER BY run_id DESC LIMIT 1"
        )
        assert last == [(1, 2, 0, 0)]
        await world.publish(read(world, GONE, "x=new"), read(world, "b", f"k={KEPT}", "l"))
        assert {row[0] for row in await world.current()} == {"b", GONE}


@pytest.mark.promise("8")
async def test_mentions_in_the_rows_of_others_are_masked(database_url):
    """Where another person's row names this one, the name goes and the row's hash stays."""
    digits = OFF_ID.reveal()
    spaced = f"{digits[:6]} {digits[6:]}"

    def record(key: str, author: str, cause: str) -> Record:
        payload = f'{{"cause":"{cause}","createdBy":"{author}","id":"{key}"}}'
        columns = as_columns({"cause": cause, "created_by": author})
        return Record(key=key, content_hash=b"h" * 16, payload=payload, columns=columns)

    async with world_on(database_url) as world:
        attempt = await world.begin()
        records = [record("p", digits, f"by {spaced}"), record("q", "LIS", "lab 99649")]
        person = person_named("b")
        areas = (complete(world, SAFETY, *records), complete(world, PRIVACY))
        await attempt.write(PersonRead(person=person, areas=areas))
        await attempt.publish()
        found = await erase(world)
        assert (found.person_id, found.mention_count) == (None, 1)
        rows = await world.rows(
            "SELECT restriction_id, cause, created_by, payload, content_hash "
            "FROM patient_safety_version ORDER BY 1"
        )
        masked = '{"cause":"by erased","createdBy":"erased","id":"p"}'
        kept = '{"cause":"lab 99649","createdBy":"LIS","id":"q"}'
        assert [(*row[:4], bytes(row[4])) for row in rows] == [
            ("p", "by erased", "erased", masked, b"h" * 16),
            ("q", "lab 99649", "LIS", kept, b"h" * 16),
        ]
        await world.publish(PersonRead(person=person, areas=areas))
        assert await world.rows("SELECT count(*) FROM patient_safety_version") == [(2,)]


@pytest.mark.promise("8")
async def test_a_person_whom_many_name(database_url):
    """More mentions than are looked at in one query: each is found and masked, and no other row."""
    many, digits = 1_203, OFF_ID.reveal()

    def records(author: str, first: int) -> list[Record]:
        return [
            Record(
                key=f"r{number}",
                content_hash=b"h" * 16,
                payload=f'{{"createdBy":"{author}","id":"r{number}"}}',
                columns=as_columns({"created_by": author}),
            )
            for number in range(first, first + many)
        ]

    async with world_on(database_url) as world:
        attempt = await world.begin()
        for key, author, first in (("b", digits, 0), ("c", "LIS 99649", many)):
            person = person_named(key)
            areas = (complete(world, SAFETY, *records(author, first)), complete(world, PRIVACY))
            await attempt.write(PersonRead(person=person, areas=areas))
        await attempt.publish()
        assert many == (await erase(world)).mention_count
        rows = await world.rows(
            "SELECT created_by, count(*), count(DISTINCT payload) FROM patient_safety_version "
            f"WHERE payload NOT LIKE '%{digits}%' GROUP BY created_by ORDER BY created_by"
        )
        assert rows == [("LIS 99649", many, many), ("erased", many, many)]
        assert (await erase(world)).mention_count == 0


@pytest.mark.promise("8")
async def test_reasons_that_name_the_person(database_url):
    """The reason of a run, and of another person's failure in either area, name the person no more.

    Neither by the pseudonym, nor by the identifier in whatever spelling; other texts stay.
    """
    digits = OFF_ID.reveal()
    said = [f"subject {digits[:6]}.{digits[6:]} ({digits[:6]}_{digits[6:]}) has no consent", GONE]
    async with world_on(database_url) as world:
        attempt = await world.begin()
        person = person_named("b")
        failures = [
            AreaFailure(
                area=area,
                kind=FailureKind.TRANSIENT,
                reason=reason,
                attempts=1,
                failed_at=world.fake.now(),
                status=503,
            )
            for area, reason in ((SAFETY, said[0]), (PRIVACY, said[1]))
        ]
        await attempt.write(read(world, GONE), PersonRead(person=person, areas=tuple(failures)))
        await attempt.publish()

        async def note(connection):
            statement = text("UPDATE run SET reason = :reason, run_key = 'a night'")
            await connection.execute(statement, {"reason": " ".join(said)})

        await world.database.write(note)
        assert (await erase(world)).mention_count == 3
        masked = "subject erased (erased) has no consent"
        assert await world.rows("SELECT reason, run_key FROM run") == [
            (f"{masked} erased", "a night")
        ]
        assert await world.rows("SELECT reason FROM failure ORDER BY reason") == [
            ("erased",),
            (masked,),
        ]


async def test_without_the_lease_nothing_is_erased(database_url):
    """A process that was paused past its lease erases nothing."""
    async with world_on(database_url) as world:
        await history(world)
        lease = await world.lease()

        async def expire(connection):
            await connection.execute(text("UPDATE lease SET expires_at = acquired_at"))

        await world.database.write(expire)
        other = Holder(holder_id="other", host="elsewhere", process="1:1")
        await acquire(world.database, other, ttl_s=50)
        found = await find_traces(world.database, GONE, OFF_ID)
        with pytest.raises(LeaseLostError):
            await erase_traces(lease, found, Mask(OFF_ID, GONE))
        assert found == await find_traces(world.database, GONE, OFF_ID)


@pytest.mark.promise("8")
def test_every_table_of_persons_is_reached():
    """Each table with a column ``person_id`` but those that only grow, children before the person.

    Access log and change feed name nobody once the person is gone (ADR 0025, ADR 0026).
    """
    named = {table.name for table in metadata.sorted_tables if "person_id" in table.c}
    named -= {"access_log", "change_feed"}
    assert named == {table.name for table in TABLES} | {"person"}
