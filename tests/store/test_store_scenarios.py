"""Whole runs against the store, on SQLite and PostgreSQL alike."""

import pytest
from msgspec.structs import replace

from tests.support.store_world import (
    LIMITS,
    PRIVACY,
    SAFETY,
    read,
    world_on,
)
from worker.core.model import (
    PersonRead,
)
from worker.errors import ExitCode, WithheldError
from worker.store.queries.status import area_staleness
from worker.store.schema.tables import CHANGES, draft


@pytest.mark.promise("12")
async def test_a_run_is_not_continued_under_other_terms(database_url):
    """What was read under the first one is undone: it would mean two things in one publication."""
    async with world_on(database_url) as world:
        sync = await world.begin(terms="patient-safety=1")
        await sync.write(read(world, "a", "x"))
        sync = await world.begin(terms="patient-safety=1")
        assert sync.handle.is_continued
        sync = await world.begin(terms="patient-safety=2")
        assert not sync.handle.is_continued
        assert await world.rows("SELECT status FROM run ORDER BY run_id") == [
            ("abandoned",),
            ("running",),
        ]
        await sync.write(read(world, "b", "y"))
        assert await sync.publish() == ExitCode.OK
        assert await world.current() == {("b", "y", "NORU", False)}


@pytest.mark.promise("2")
@pytest.mark.parametrize("persons_per_step", [2, 100])
async def test_a_run_is_forgotten_step_by_step(database_url, monkeypatch, persons_per_step):
    """However many persons a step forgets, nothing of the run is left, nor anybody it met.

    Nor is what persons were called in it: neither reference nor cohort.
    """
    monkeypatch.setattr("worker.store.drafts.garbage.PERSONS_PER_STEP", persons_per_step)
    shown = "SELECT * FROM report_person_freshness ORDER BY person_key, area"
    labels = "SELECT DISTINCT person_key, local_ref, cohort FROM report_person_freshness"
    async with world_on(database_url) as world:
        await world.publish(
            labelled(read(world, "a", "x"), "R1", "Nord"),
            labelled(read(world, "b", "y"), "R2", "Nord"),
            read(world, "c"),
        )
        before = await world.rows(shown)
        attempt = await world.begin()
        # A person may be read again in the same run.
        await attempt.write(labelled(read(world, "a"), "R1", "Øst"))
        await attempt.write(
            labelled(read(world, "a"), "R1", "Sør"),
            labelled(read(world, "b", "y=N", "z"), "R3", "Nord"),
            read(world, "new", "n"),
        )
        assert await world.rows(shown) == before
        await attempt.store.withhold(WithheldError("too many removals"))
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
            labelled(read(world, "a", "x"), "R1", "Sør"),
            labelled(read(world, "b", "y"), "R3", "Nord"),
            read(world, "c"),
        )
        assert set(await world.rows(labels)) == {
            ("a", "R1", "Sør"),
            ("b", "R3", "Nord"),
            ("c", None, None),
        }


def labelled(found: PersonRead, ref: str | None, cohort: str | None) -> PersonRead:
    """The same person with these labels."""
    return replace(found, person=replace(found.person, local_ref=ref, cohort=cohort))


@pytest.mark.promise("6")
@pytest.mark.parametrize("area", [SAFETY, PRIVACY])
async def test_an_area_that_was_not_asked_for_is_not_stale(sqlite_url, area):
    """A full run over one area says nothing of the other, and who it does not meet is stale in it.

    The view and the counts of ``status`` say the same.
    """
    async with world_on(sqlite_url) as world:
        await world.publish(read(world, "a", "x"), read(world, "b", "y"))
        attempt = await world.begin(areas=(area,))
        both = read(world, "a", "x")
        asked = tuple(read_area for read_area in both.areas if read_area.area == area)
        await attempt.write(PersonRead(person=both.person, areas=asked))
        await attempt.publish(may_depart=False)
        rows = await world.rows("SELECT person_key, area, is_stale FROM report_person_freshness")
        assert {(key, name) for key, name, is_stale in rows if is_stale} == {("b", area)}
        counted = await world.database.read(area_staleness)
        assert {one.area: bool(one.stale) for one in counted} == {
            SAFETY: area == SAFETY,
            PRIVACY: area == PRIVACY,
        }


@pytest.mark.promise("5")
async def test_departures_are_measured_by_who_is_here(sqlite_url):
    """Of four persons one may depart in a night, however many have departed before."""
    persons = [f"p{number}" for number in range(20)]
    async with world_on(sqlite_url) as world:
        await world.publish(*(read(world, key) for key in persons))
        for _ in range(2):
            await world.publish(
                *(read(world, key) for key in persons[:4]),
                limits=replace(LIMITS, max_removed_share=1.0),
            )
        await world.publish(*(read(world, key) for key in persons[:2]))
        attempt = await world.begin()
        await attempt.write(*(read(world, key) for key in persons[:2]))
        with pytest.raises(WithheldError, match="2 of 4 persons are no longer on the roster"):
            await attempt.publish()
