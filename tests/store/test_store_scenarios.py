"""A withheld run against the store, on SQLite and PostgreSQL alike."""

import pytest

from tests.support.store_world import read, world_on
from worker.core.run import RunProgress
from worker.errors import WithheldError
from worker.store.schema.tables import CHANGES, draft


@pytest.mark.promise("2")
@pytest.mark.parametrize("persons_per_step", [2, 100])
async def test_a_run_is_forgotten_step_by_step(database_url, monkeypatch, persons_per_step):
    """However many persons a step forgets, nothing of the run is left, nor anybody it met.

    Nor is what persons were called in it: neither reference nor cohort.
    """
    monkeypatch.setattr("worker.store.runs.ledger.PERSONS_PER_STEP", persons_per_step)
    shown = "SELECT * FROM report_person_freshness ORDER BY person_key, area"
    labels = "SELECT DISTINCT person_key, local_ref, cohort FROM report_person_freshness"
    async with world_on(database_url) as world:
        await world.publish(
            read(world, "a", "x", ref="R1", cohort="Nord"),
            read(world, "b", "y", ref="R2", cohort="Nord"),
            read(world, "c"),
        )
        before = await world.rows(shown)
        attempt = await world.begin()
        # A person may be read again in the same run.
        await attempt.write(read(world, "a", ref="R1", cohort="Øst"))
        await attempt.write(
            read(world, "a", ref="R1", cohort="Sør"),
            read(world, "b", "y=N", "z", ref="R3", cohort="Nord"),
            read(world, "new", "n", ref="R9", cohort="Nord"),
        )
        assert await world.rows(shown) == before
        await attempt.store.withhold(WithheldError("too many removals"), RunProgress())
        assert await world.rows("SELECT status, reason FROM run ORDER BY run_id DESC LIMIT 1") == [
            ("withheld", "too many removals")
        ]
        for table in (draft, *CHANGES.values()):
            assert await world.rows(f"SELECT count(*) FROM {table.name}") == [(0,)]
        assert await world.current() == {("a", "x", "NORU", False), ("b", "y", "NORU", False)}
        assert await world.rows(shown) == before
        assert await world.rows("SELECT count(*) FROM person") == [(3,)]
        # What a run has left behind, the next one would take for what is published.
        await world.publish(
            read(world, "a", "x", ref="R1", cohort="Sør"),
            read(world, "b", "y", ref="R3", cohort="Nord"),
            read(world, "c"),
            read(world, "new", ref="R4", cohort="Vest"),
        )
        assert set(await world.rows(labels)) == {
            ("a", "R1", "Sør"),
            ("b", "R3", "Nord"),
            ("c", None, None),
            ("new", "R4", "Vest"),
        }
