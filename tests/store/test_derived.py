"""The derived columns of a version, and the reason why it was closed."""

import re

import pytest

from tests.support.report.stores import ANY, privacy, safety, seen
from tests.support.store_world import read, world_on
from worker.store.derived import correct_derived, count_outdated
from worker.store.schema.upgrade import upgrade

CLOSED = (
    "SELECT restriction_id, closed_because, closed_by_reads FROM {} "
    "WHERE closed_publication IS NOT NULL ORDER BY 1"
)
INTERVAL = re.compile(r"[\d-]{10}T[\d:.]{15}\+00:00/[\d-]{10}T[\d:.]{15}\+00:00")


@pytest.mark.promise("1")
async def test_a_closed_version_says_why(database_url):
    """A change, a restriction that two reads do not hold, and a departure."""
    async with world_on(database_url) as world:
        await world.publish(read(world, "a", "changes=NORU", "goes=NORU"), read(world, "b", "left"))
        both_absent = read(world, "a", "changes=NORS")
        await world.publish(both_absent, limits=ANY)
        proof = "SELECT digest = first_digest FROM person_area WHERE first_read_at IS NOT NULL"
        assert await world.rows(proof) == [(True,)], "both reads are in the proof"
        await world.publish(both_absent, limits=ANY)
        for view in ("report_patient_safety_history", "report_restriction_history"):
            changed, gone, departed = await world.rows(CLOSED.format(view))
            assert changed == ("changes", "changed", None)
            assert gone[:2] == ("goes", "gone")
            assert INTERVAL.fullmatch(gone[2])
            assert departed == ("left", "departed", None)


async def test_the_reads_of_a_closing_stay_after_the_next_night(database_url):
    """The proof of the person's area is overwritten each night; that of the closing is not."""
    async with world_on(database_url) as world:
        await world.publish(read(world, "a", "goes", "stays"))
        await world.publish(read(world, "a", "stays"), limits=ANY)
        closed = await world.rows(CLOSED.format("report_patient_safety_history"))
        first, second = closed[0][2].split("/")
        reads = "SELECT first_read_at, last_confirmed_at FROM report_person_freshness "
        ((first_at, second_at),) = await world.rows(f"{reads} WHERE area = 'patient-safety'")
        times = [str(at).replace(" ", "T")[:19] for at in (first_at, second_at)]
        assert times == [first[:19], second[:19]]
        assert first < second
        await world.publish(read(world, "a", "stays"))
        assert await world.rows(CLOSED.format("report_patient_safety_history")) == closed


async def test_both_areas_are_one_view(database_url):
    """The rows of both areas, with the columns that both have."""
    async with world_on(database_url) as world:
        await world.publish(
            seen(world, 1, safety("s", "NORS"), private=(privacy("p", "Shield", "Hard"),))
        )
        rows = await world.rows(
            "SELECT area, restriction_id, restriction_group, is_stale, is_in_effect "
            "FROM report_restriction_current ORDER BY 1"
        )
        assert [(*row[:3], bool(row[3]), bool(row[4])) for row in rows] == [
            ("patient-privacy", "p", "shielded", False, True),
            ("patient-safety", "s", "blocked", False, True),
        ]


async def test_an_upgrade_corrects_what_differs_from_the_rules(database_url):
    """As after a release that knows one more code; drafts too, and no published fact changes."""
    async with world_on(database_url) as world:
        await world.publish(seen(world, 1, safety("s", "NORS"), safety("t", "N")))
        attempt = await world.begin()
        await attempt.write(seen(world, 1, safety("s", "NORU"), safety("t", "N")))
        await attempt.interrupt()
        await attempt.lease.release()
        facts = "SELECT * FROM report_daily"
        published = await world.rows(facts)
        assert await world.database.read(count_outdated) == 0
        for table in ("patient_safety_version", "draft_patient_safety"):
            await world.rows_written(
                f"UPDATE {table} SET restriction_group = NULL, fact_code = 'other' "
                "WHERE restriction_id = 's'"
            )
        assert await world.database.read(count_outdated) == 2
        await upgrade(world.database)
        assert await world.database.read(count_outdated) == 0
        current = "SELECT restriction_id, restriction_group FROM report_restriction_current"
        assert sorted(await world.rows(current)) == [("s", "blocked"), ("t", "none")]
        assert await world.rows(facts) == published


async def test_the_correction_counts_its_rows(sqlite_url):
    async with world_on(sqlite_url) as world:
        await world.publish(seen(world, 1, safety("s", "NORS")))
        await world.rows_written("UPDATE patient_safety_version SET restricts = false")

        async def work(connection) -> int:
            return int(await connection.run_sync(correct_derived))

        assert await world.database.write(work) == 1
