"""Cohorts: what readers see of them, and how the facts name and count them."""

import pytest

from tests.support.report.stores import key_of, publish, safety, seen
from tests.support.store_world import World, world_on
from worker.store.runs.facts import COHORTS_MAX

pytestmark = pytest.mark.promise("2")

LAST = "publication_no = (SELECT MAX(publication_no) FROM report_publication)"


async def shown(world: World) -> dict[str, str | None]:
    """The cohort of each person, which all views agree on."""
    rows = await world.rows("SELECT DISTINCT person_key, cohort FROM report_person_freshness")
    current = await world.rows(
        "SELECT DISTINCT person_key, cohort FROM report_patient_safety_current"
    )
    assert set(current) <= set(rows)
    found = dict(rows)
    assert len(found) == len(rows)
    return found


async def open_by_cohort(world: World) -> dict[str | None, int]:
    """Open restrictions by the cohorts that the facts of the last publication name."""
    found = dict(await world.rows(f"SELECT cohort, open FROM report_daily WHERE {LAST}"))
    named = await world.rows(f"SELECT cohort FROM report_publication_cohort WHERE {LAST}")
    assert set(found) == {cohort for (cohort,) in named}
    return found


async def test_names_are_bounded(sqlite_url):
    """The first cohorts in order are named, and the others are one."""
    async with world_on(sqlite_url) as world:
        names = [
            f"c{chr(97 + number // 26)}{chr(97 + number % 26)}" for number in range(COHORTS_MAX + 1)
        ]
        reads = [
            seen(world, number, safety(f"s{number}", "NORU"), cohort=cohort)
            for number, cohort in enumerate([*names, names[-1], names[0], "other"])
        ]
        await publish(world, *reads[:1])
        await publish(world, *reads)
        expected = dict.fromkeys(names[1:-1], 1) | {names[0]: 2, "other": 3}
        assert await open_by_cohort(world) == expected


NAMES = {
    "974589095": "974589095",
    "Medisinsk poliklinikk, bygg 3": "Medisinsk poliklinikk, bygg 3",
    "16858399649": "other",
    "person 168583-99649": "other",
    key_of(1): "other",
    "other": "other",
    None: None,
}


async def test_what_may_name_a_person_is_no_name(sqlite_url):
    """Facts stay for ever, and hold no identifier and no pseudonym; a view of persons does."""
    async with world_on(sqlite_url) as world:
        for cohort, named in NAMES.items():
            await publish(world, seen(world, 1, safety("a", "NORU"), cohort=cohort))
            assert await open_by_cohort(world) == {named: 1}
            assert await shown(world) == {key_of(1): cohort}


async def test_another_cohort_alone_is_in_the_feed(database_url):
    """A person who changes clinic and keeps the reference: a copy must learn of it."""
    async with world_on(database_url) as world:
        for cohort in ("Nord", "Nord", "Sør", None):
            await publish(world, seen(world, 1, safety("a", "NORU"), ref="R1", cohort=cohort))
        relabels = await world.rows(
            "SELECT publication_no, op FROM report_change_feed WHERE op <> 'insert' ORDER BY seq"
        )
    assert relabels == [(3, "relabel"), (4, "relabel")]
