"""``config/dbt`` with dbt itself, on a PostgreSQL of made-up nights."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import asyncpg
import pytest
import yaml
from sqlalchemy import make_url

from tests.support.databases import execute, in_database, migrate
from tests.support.documents import ROOT
from tests.support.report.month import PERSONS, fill
from tests.support.report.stores import ANY, NEVER, missed, safety, seen
from tests.support.store_world import world_on
from tools.docs.dbt_sources import NOT_READ
from worker.core.model import RunKind
from worker.views import view_columns

DBT = ROOT / ".venv-dbt" / "bin" / "dbt"
PACKAGE = ROOT / "config" / "dbt"
ROLES = (ROOT / "config" / "postgresql" / "roles.sql").read_text(encoding="utf-8")
FILLED, NAME, ROLE, SCHEMA = "pts_filled", "pts_dbt", "dbt", "pts_marts"
MODELS = {"pts_restrictions_by_day", "pts_freshness_by_cohort", "pts_episode_durations"}
BUILD = ("build",)


@pytest.fixture(scope="module")
def filled(postgres_url: str, migrated_postgres: str) -> str:
    """The server's URL: the nights are in a database, and a reader for dbt has been made."""
    anyio.run(execute, postgres_url, f"CREATE DATABASE {FILLED} TEMPLATE {migrated_postgres}")
    url = in_database(postgres_url, FILLED)
    anyio.run(fill, url)
    anyio.run(
        execute,
        url,
        ROLES,
        f"CREATE ROLE {ROLE} LOGIN",
        f"GRANT pts_reader TO {ROLE}",
        f"CREATE SCHEMA {SCHEMA} AUTHORIZATION {ROLE}",
    )
    return postgres_url


@pytest.fixture
def copy(filled: str) -> Iterator[str]:
    """A database of its own with these nights; its URL."""
    anyio.run(execute, filled, f"CREATE DATABASE {NAME} TEMPLATE {FILLED}")
    yield in_database(filled, NAME)
    anyio.run(execute, filled, f"DROP DATABASE {NAME} WITH (FORCE)")


def dbt(url: str, out: Path, *arguments: str) -> tuple[int, dict[str, Any], str]:
    """Run dbt as its own role; its exit code, its result by resource, and what it printed."""
    place = make_url(url)
    target = out / "target"
    done = subprocess.run(
        [DBT, "--no-use-colors", *arguments, "--target-path", target],
        cwd=PACKAGE,
        env={
            **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
            "PGHOST": str(place.query["host"]),
            "PGDATABASE": str(place.database),
            "PGUSER": ROLE,
            "DBT_LOG_PATH": str(out / "logs"),
            "DBT_PROFILES_DIR": str(PACKAGE),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    found = target / "run_results.json"
    results = json.loads(found.read_text())["results"] if found.exists() else []
    return done.returncode, {one["unique_id"]: one for one in results}, done.stdout + done.stderr


def statement_of(model: str) -> str:
    """A model's statement, as dbt sends it."""
    text = (PACKAGE / "models" / f"{model}.sql").read_text(encoding="utf-8")
    return re.sub(r"\{\{ source\('pts', '(\w+)'\) \}\}", r"\1", text)


async def test_models_of_a_day_with_a_sync_and_a_backfill(postgresql_url: str):
    """Stocks are those of the last publication, flows add up, and a share has a fraction."""
    async with world_on(postgresql_url, our_clock=True) as world:
        one, two = (safety(key, "NORN_EPO", NEVER) for key in "ab")
        closed = seen(world, 2, cohort="closed")
        expires = seen(world, 4, safety("c", "NORU", world.fake.now() + timedelta(hours=1)))
        departs = seen(world, 5, *(safety(key, "NORN_EPO", NEVER) for key in "de"))
        before, after = (
            seen(world, 6, *(safety(key, code, NEVER) for key in "fgh"))
            for code in ("NORN_EPO", "NORN_FFL")
        )
        first = (seen(world, 1, one), closed, seen(world, 3), expires, departs, before)
        await world.publish(*first, limits=ANY)
        world.fake.advance(86_400)
        second = (seen(world, 1, one, two), seen(world, 2), missed(world, 3), expires, after)
        for _ in range(2):  # a person who is absent twice departs
            await world.publish(*second, limits=ANY)
            world.fake.advance(60)
        await world.publish(seen(world, 1, two), kind=RunKind.BACKFILL, limits=ANY)
        days = statement_of("pts_restrictions_by_day")
        names = "in_effect listed joined_with added removed changed departed_with expired"
        columns = ", ".join(f"sum({name})" for name in names.split())
        by_day = await world.rows(f"SELECT {columns} FROM ({days}) AS d GROUP BY day ORDER BY day")
        cohorts = statement_of("pts_freshness_by_cohort")
        shares = await world.rows(
            f"SELECT confirmed_share, is_last FROM ({cohorts}) AS c ORDER BY publication_no, cohort"
        )
    assert [tuple(map(int, row)) for row in by_day] == [
        (7, 7, 7, 0, 0, 0, 0, 0),
        (4, 5, 0, 1, 1, 3, 2, 1),
    ]
    assert [(round(float(share), 2), is_last) for share, is_last in shares] == [
        (1.0, False),
        (1.0, False),  # a cohort that is gone
        (0.8, False),
        (0.8, False),
        (0.8, True),
    ]


def test_dbt_makes_tables_over_verified_tls():
    """A view of dbt's would hinder `db upgrade`."""
    project = yaml.safe_load((PACKAGE / "dbt_project.yml").read_text(encoding="utf-8"))
    assert project["models"] == {"pts": {"+materialized": "table"}}
    profile = yaml.safe_load((PACKAGE / "profiles.yml").read_text(encoding="utf-8"))
    assert profile["pts"]["outputs"]["postgresql"]["sslmode"] == "verify-full"


async def test_durations_are_of_restrictions_whose_beginning_was_seen(postgresql_url: str):
    """The model's statement without dbt: what stood when a person was first read is left out."""
    statement = statement_of("pts_episode_durations")
    async with world_on(postgresql_url, our_clock=True) as world:
        for codes in ("a",), ("a", "b"), ("a", "b", "c"), ("a", "c"):
            await world.publish(seen(world, 1, *(safety(code, "N") for code in codes)), limits=ANY)
            world.fake.advance(86_400)
        columns = "sum(restrictions), sum(ended), sum(departed)"
        rows = await world.rows(f"SELECT {columns} FROM ({statement}) AS durations")
    assert [tuple(map(int, row)) for row in rows] == [(2, 1, 0)]


@pytest.mark.nightly
@pytest.mark.skipif(
    not DBT.exists(), reason="NOT TESTED: dbt is not installed here (make dbt-tools)"
)
async def test_build_is_green(copy: str, tmp_path: Path):
    """Sources, models and their tests pass; dbt wrote into its own schema, and tables alone."""
    code, results, said = dbt(copy, tmp_path, *BUILD)
    assert code == 0, said
    assert "eprecat" not in said
    assert {one["status"] for one in results.values()} == {"success", "pass"}
    assert {f"model.pts.{name}" for name in MODELS} < set(results)
    tested = "\n".join(results)
    assert [
        view for view in view_columns() if f"_pts_{view}_" not in tested and view != NOT_READ
    ] == []
    connection = await asyncpg.connect(copy)
    try:
        made = await connection.fetch(
            "SELECT relname, relkind FROM pg_class WHERE relowner = 'dbt'::regrole AND "
            "relkind IN ('r', 'v', 'm') ORDER BY 1"
        )
        assert [(name, b"r") for name in sorted(MODELS)] == [tuple(row) for row in made]
        by_day = await connection.fetch(
            f"SELECT day::text, sum(in_effect), sum(added) FROM {SCHEMA}.pts_restrictions_by_day "
            "GROUP BY day"
        )
        stood: dict[str, int] = {}
        came: dict[str, int] = {}
        for day, in_effect, added in await connection.fetch(
            "SELECT day::text, sum(in_effect), sum(added) FROM report_daily "
            "GROUP BY publication_no, day ORDER BY publication_no"
        ):
            stood[day] = in_effect
            came[day] = came.get(day, 0) + added
        assert {day: (stood[day], came[day]) for day in stood} == {
            day: tuple(rest) for day, *rest in map(tuple, by_day)
        }
        assert len(by_day) > 20
        flows = await connection.fetch(
            "SELECT sum(departed_with) > 0, sum(joined_with) = (SELECT sum(joined_with) "
            f"FROM report_daily) FROM {SCHEMA}.pts_restrictions_by_day"
        )
        assert tuple(flows[0]) == (True, True)
        returned = await connection.fetch(
            "SELECT sum(departed), sum(joined) FROM report_publication"
        )
        assert tuple(returned[0]) == (1, PERSONS + 1)
        last = await connection.fetch(
            "SELECT sum(roster), sum(confirmed), sum(stale) "
            f"FROM {SCHEMA}.pts_freshness_by_cohort WHERE is_last"
        )
        denominators = await connection.fetch(
            "SELECT roster, confirmed, stale FROM report_publication "
            "ORDER BY publication_no DESC LIMIT 1"
        )
        assert [tuple(row) for row in denominators] == [tuple(row) for row in last]
        began = await connection.fetch(
            f"SELECT sum(restrictions), sum(ended), min(median_days) FROM {SCHEMA}."
            "pts_episode_durations"
        )
        episodes = await connection.fetch(
            "SELECT count(*), count(ended_at) FILTER (WHERE ended_because = 'gone') "
            "FROM report_episode WHERE NOT is_left_censored"
        )
        assert tuple(began[0])[:2] == tuple(episodes[0]) > (0, 0)
    finally:
        await connection.close()
    await migrate(copy)  # which no table of dbt's hinders
    assert dbt(copy, tmp_path, "run")[0] == 0
