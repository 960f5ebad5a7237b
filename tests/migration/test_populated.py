"""A populated database of the first revision is upgraded and keeps its meaning."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from msgspec.structs import replace

from tests.support.databases import execute, in_database
from tests.support.migration.old_store import (
    AREAS,
    EMPTY,
    PRIVACY,
    SAFETY,
    X_AND_W,
    A,
    B,
    C,
    K,
    Z,
    at,
    make_old,
)
from tests.support.report.counted import DAILY, counted
from tests.support.store_world import World, complete, read, record, world_on
from worker.core.model import PersonRead
from worker.errors import ExitCode
from worker.store.schema.upgrade import HEAD, upgrade

pytestmark = pytest.mark.nightly

FIRST = "0001"
DAY_1, DAY_2, DAY_3 = (at(day, 2) for day in (1, 2, 3))
READ_1, READ_2, READ_3 = (at(day) for day in (1, 2, 3))
VIEWS = {
    "SELECT person_key, local_ref, restriction_id, confidentiality_code, first_seen_at, "
    "last_confirmed_at, is_stale FROM report_patient_safety_current": {
        (A, "R2", "x", "N", READ_1, READ_3, False),
        (A, "R2", "w", "NORU", READ_3, READ_3, False),
        (C, "C1", "z", "NORS", READ_1, READ_1, True),
    },
    "SELECT person_key, local_ref, restriction_id, privacy_level, last_confirmed_at, is_stale "
    "FROM report_patient_privacy_current": {(A, "R2", "k", "high", READ_3, False)},
    "SELECT person_key, restriction_id, confidentiality_code, valid_from, valid_to, opened_run, "
    "closed_run FROM report_patient_safety_history": {
        (A, "x", "NORU", DAY_1, DAY_2, 1, 2),
        (A, "x", "N", DAY_2, None, 2, None),
        (A, "w", "NORU", DAY_3, None, 3, None),
        (B, "y", "NORU", DAY_1, DAY_2, 1, 2),
        (C, "z", "NORS", DAY_1, None, 1, None),
    },
    "SELECT person_key, area, last_confirmed_at, is_stale, record_count, failure_kind, "
    "failing_since, failed_runs, digest, first_read_at, first_digest "
    "FROM report_person_freshness": {
        (A, SAFETY, READ_3, False, 2, None, None, None, X_AND_W, None, None),
        (A, PRIVACY, READ_3, False, 1, None, None, None, K, None, None),
        (C, SAFETY, READ_1, True, 1, "transient", READ_2, 1, Z, None, None),
        (C, PRIVACY, READ_2, False, 0, None, None, None, EMPTY, None, None),
    },
    "SELECT day, area, added, changed, removed FROM report_daily_change": {
        ("2026-03-01", SAFETY, 3, 0, 0),
        ("2026-03-02", SAFETY, 0, 1, 1),
        ("2026-03-03", SAFETY, 1, 0, 0),
        ("2026-03-01", PRIVACY, 1, 0, 0),
    },
    "SELECT publication_no, area, code, level, open, in_effect, added, changed, removed "
    "FROM report_daily WHERE cause <> 'other'": {
        (1, SAFETY, "NORU", "", 2, 2, 2, 0, 0),
        (1, SAFETY, "NORS", "", 1, 1, 1, 0, 0),
        (1, PRIVACY, "", "high", 1, 1, 1, 0, 0),
        (2, SAFETY, "N", "", 1, 0, 0, 1, 0),
        (2, SAFETY, "NORU", "", 0, 0, 0, 0, 1),
        (2, SAFETY, "NORS", "", 1, 1, 0, 0, 0),
        (2, PRIVACY, "", "high", 1, 1, 0, 0, 0),
        (3, SAFETY, "N", "", 1, 0, 0, 0, 0),
        (3, SAFETY, "NORU", "", 1, 1, 1, 0, 0),
        (3, SAFETY, "NORS", "", 1, 1, 0, 0, 0),
        (3, PRIVACY, "", "high", 1, 1, 0, 0, 0),
    },
    "SELECT publication_no, day, roster, stale, joined, persons_in_effect, failed_transient "
    "FROM report_publication": {
        (1, "2026-03-01", 3, 0, 3, 3, None),
        (2, "2026-03-02", 3, 1, 0, 2, None),
        (3, "2026-03-03", None, None, 0, 2, None),
    },
    "SELECT publication_no, op, area, restriction_id, person_key, published_at "
    "FROM report_change_feed": {
        (1, "insert", SAFETY, "x", A, DAY_1),
        (1, "insert", SAFETY, "y", B, DAY_1),
        (1, "insert", SAFETY, "z", C, DAY_1),
        (1, "insert", PRIVACY, "k", A, DAY_1),
        (2, "close", SAFETY, "y", B, DAY_2),
        (2, "update", SAFETY, "x", A, DAY_2),
        (2, "depart", None, None, B, DAY_2),
        (2, "relabel", None, None, A, DAY_2),
        (3, "insert", SAFETY, "w", A, DAY_3),
    },
    "SELECT run_id, kind, status, exit_code, areas, published_at, publication_no, persons_total, "
    "persons_stale, rows_opened, reason FROM report_run WHERE run_id < 5": {
        (1, "sync", "published", 0, AREAS, DAY_1, 1, 3, 0, 4, None),
        (2, "sync", "published", 3, AREAS, DAY_2, 2, 3, 1, 0, None),
        (3, "backfill", "published", 0, AREAS, DAY_3, 3, 1, 0, 1, None),
        (4, "sync", "interrupted", 75, AREAS, None, None, 0, 0, 0, "stopped on request"),
    },
}
"""What readers see of the rows of ``old_store``, by its own table and not by the views' SQL."""


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database without a table, of each kind."""
    if request.param == "sqlite":
        (tmp_path / "pts.db").touch(0o600)
        yield f"sqlite:///{tmp_path / 'pts.db'}"
        return
    server = request.getfixturevalue("postgres_url")
    anyio.run(execute, server, "CREATE DATABASE migrated")
    yield in_database(server, "migrated")
    anyio.run(execute, server, "DROP DATABASE migrated WITH (FORCE)")


async def seen(world: World, sql: str) -> set[tuple[Any, ...]]:
    """What a view says, with times and flags as ``VIEWS`` has them."""

    def plain(name: str, value: Any) -> Any:
        if name == "is_stale":
            return bool(value)
        if hasattr(value, "isoformat"):
            return value.isoformat(timespec="microseconds")
        return int(value) if name in {"added", "changed", "removed"} else value

    names = sql.removeprefix("SELECT ").partition(" FROM ")[0].split(", ")
    rows = await world.rows(sql)
    found = [tuple(map(plain, names, row)) for row in rows]
    assert len(found) == len(set(found))
    return set(found)


def unchanged(world: World, c: str = "NORS") -> list[PersonRead]:
    """The world as the store has it, but that ``c`` can be read again."""
    document = '{"id":"k","privacyLevel":"high"}'
    kept = replace(
        record("k", area=PRIVACY, privacy_level="high"),
        payload=document,
        content_hash=hashlib.blake2b(document.encode(), digest_size=16).digest(),
    )
    a = read(world, A, "x=N", "w", ref="R2")
    a = replace(a, areas=(a.areas[0], complete(world, PRIVACY, kept)))
    return [a, read(world, C, f"z={c}", ref="C1")]


async def test_the_store_keeps_its_meaning(empty_url: str):
    """The views say what they said; the next syncs find what has changed, and nothing else."""
    async with world_on(empty_url) as world:
        await world.database.write(lambda connection: connection.run_sync(make_old, FIRST))
        assert await upgrade(world.database) == (FIRST, HEAD)
        for sql, expected in VIEWS.items():
            assert await seen(world, sql) == expected, sql
        await nothing_is_new_and_nothing_gone(world)
        world.fake.advance(86_400)
        await a_change_is_one_change(world)


async def nothing_is_new_and_nothing_gone(world: World) -> None:
    """A sync undoes what the open run left, cures the failure, and else writes proofs alone."""
    before = await seen(world, next(sql for sql in VIEWS if "safety_history" in sql))
    attempt = await world.begin()
    assert not attempt.handle.is_continued
    await attempt.write(*unchanged(world))
    assert await attempt.publish() == ExitCode.OK
    totals = await world.rows(
        "SELECT rows_read, rows_opened, rows_changed, rows_closed, rows_moved, rows_unchanged, "
        "persons_departed FROM report_run ORDER BY run_id DESC LIMIT 1"
    )
    assert totals == [(4, 0, 0, 0, 0, 4, 0)]
    assert await seen(world, next(sql for sql in VIEWS if "safety_history" in sql)) == before
    assert await world.current() == {
        (A, "x", "N", False),
        (A, "w", "NORU", False),
        (C, "z", "NORS", False),
    }
    assert await world.rows("SELECT * FROM failure") == []
    assert sorted(await world.rows(DAILY)) == await counted(world)
    assert set(await world.rows("SELECT DISTINCT local_ref FROM report_person_freshness")) == {
        ("R2",),
        ("C1",),
    }


async def a_change_is_one_change(world: World) -> None:
    """The rows that were there are those that a change closes."""
    await world.publish(*unchanged(world, c="N"))
    rows = await world.rows(
        "SELECT confidentiality_code, valid_to IS NULL FROM report_patient_safety_history "
        f"WHERE person_key = '{C}' ORDER BY valid_from"
    )
    assert [(code, bool(is_open)) for code, is_open in rows] == [("NORS", False), ("N", True)]
