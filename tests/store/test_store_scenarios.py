"""Whole runs against the store, on SQLite and PostgreSQL alike."""

import pytest
from msgspec.structs import replace

from tests.support.columns import as_columns
from tests.support.store_world import (
    LIMITS,
    PRIVACY,
    SAFETY,
    complete,
    failed,
    person_named,
    read,
    record,
    world_on,
)
from worker.areas import area_named
from worker.core.model import (
    PersonRead,
    Record,
    RunKind,
)
from worker.errors import ExitCode, LeaseHeldError, LeaseLostError, WithheldError
from worker.store.proven import is_proven
from worker.store.queries.status import area_staleness
from worker.store.runs.process_identity import Holder
from worker.store.runs.undo import leftovers


@pytest.mark.promise("2")
async def test_nothing_shows_before_publication(database_url):
    """Readers see a whole run or the previous one."""
    async with world_on(database_url) as world:
        attempt = await world.begin()
        await attempt.write(read(world, "a", "x", ref="R1"), read(world, "b"))
        assert await world.current() == set()
        assert await world.rows("SELECT * FROM report_person_freshness") == []
        assert await attempt.publish() == ExitCode.OK
        assert await world.current() == {("a", "x", "NORU", False)}
        assert await world.rows("SELECT local_ref FROM report_patient_safety_current") == [("R1",)]
        attempt = await world.begin()
        await attempt.write(read(world, "a", "x=N", "y", ref="R2"), read(world, "b", "z"))
        assert await world.current() == {("a", "x", "NORU", False)}
        assert await world.rows("SELECT local_ref FROM report_patient_safety_current") == [("R1",)]
        await attempt.publish()
        assert await world.current() == {
            ("a", "x", "N", False),
            ("a", "y", "NORU", False),
            ("b", "z", "NORU", False),
        }
        assert await world.rows(
            "SELECT DISTINCT local_ref FROM report_patient_safety_current WHERE person_key = 'a'"
        ) == [("R2",)]


async def test_an_unchanged_world_writes_no_restriction_row(sqlite_url):
    """The second run of an unchanged source costs the proofs and nothing else."""
    async with world_on(sqlite_url) as world:
        for _ in range(2):
            await world.publish(read(world, "a", "x", "y"), read(world, "b"))
        totals = await world.rows(
            "SELECT rows_read, rows_opened, rows_changed, rows_closed, rows_unchanged "
            "FROM report_run ORDER BY run_id"
        )
        assert totals == [(2, 2, 0, 0, 0), (2, 0, 0, 0, 2)]


@pytest.mark.promise("1")
async def test_failure_keeps_the_old_state_and_marks_it_stale(sqlite_url):
    """What could not be read stands, with the time when it was last confirmed."""
    async with world_on(sqlite_url) as world:
        await world.publish(read(world, "a", "x"), read(world, "b", "y"))
        assert await world.publish(failed(world, "a"), read(world, "b", "y")) == ExitCode.GAPS
        assert await world.current() == {("a", "x", "NORU", True), ("b", "y", "NORU", False)}
        assert await world.publish(read(world, "a", "x"), read(world, "b", "y")) == ExitCode.OK
        assert await world.rows("SELECT * FROM failure") == []


@pytest.mark.promise("2")
async def test_history_is_half_open_and_without_gaps(database_url):
    """A change closes a version and opens the next at the same instant; a return opens again."""
    async with world_on(database_url) as world:
        for codes in (["x"], ["x=N"], [], ["x=N"]):
            await world.publish(read(world, "a", *codes), read(world, "b", "k"))
        rows = await world.rows(
            "SELECT confidentiality_code, valid_from, valid_to FROM report_patient_safety_history "
            "WHERE person_key = 'a' ORDER BY valid_from"
        )
        assert [row[0] for row in rows] == ["NORU", "N", "N"]
        assert rows[0][2] == rows[1][1]
        assert rows[1][2] < rows[2][1]
        assert rows[2][2] is None


@pytest.mark.promise("2")
async def test_a_withheld_run_leaves_no_trace(database_url):
    """All restrictions gone at once is withheld; current and history stay as they were."""
    async with world_on(database_url) as world:
        await world.publish(read(world, "a", "x", "y"), read(world, "b", "z"))
        current = await world.current()
        history = await world.rows("SELECT * FROM report_patient_safety_history ORDER BY 1")
        attempt = await world.begin()
        await attempt.write(read(world, "a"), read(world, "b"), read(world, "new", ref="N"))
        with pytest.raises(WithheldError, match="3 of 3 open restrictions"):
            await attempt.publish()
        await attempt.store.withhold("t")
        assert await world.current() == current
        assert await world.rows("SELECT * FROM report_patient_safety_history ORDER BY 1") == history
        assert await world.database.read(leftovers) == []
        assert await world.rows("SELECT person_key FROM person ORDER BY 1") == [("a",), ("b",)]
        assert await world.publish(read(world, "a", "x", "y"), read(world, "b", "z")) == ExitCode.OK
        assert await world.current() == current


@pytest.mark.promise("12")
async def test_a_run_is_not_continued_under_another_contract(database_url):
    """What was read under the first one is undone: it would mean two things in one publication."""
    async with world_on(database_url) as world:
        sync = await world.begin(contract="patient-safety=1")
        await sync.write(read(world, "a", "x"))
        sync = await world.begin(contract="patient-safety=1")
        assert sync.handle.is_continued
        sync = await world.begin(contract="patient-safety=2")
        assert not sync.handle.is_continued
        assert await world.rows("SELECT status FROM run ORDER BY run_id") == [
            ("abandoned",),
            ("running",),
        ]
        await sync.write(read(world, "b", "y"))
        assert not await world.database.read(is_proven, "patient-safety=2")
        assert await sync.publish() == ExitCode.OK
        assert await world.current() == {("b", "y", "NORU", False)}
        assert await world.database.read(is_proven, "patient-safety=2")
        assert not await world.database.read(is_proven, "patient-safety=1")


@pytest.mark.promise("3")
async def test_a_backfill_beside_an_open_sync(database_url):
    """A backfill publishes its persons; the open sync goes on and reads them again."""
    async with world_on(database_url) as world:
        await world.publish(read(world, "a", "x"), read(world, "b", "y"))
        sync = await world.begin()
        await sync.write(read(world, "a", "x=N", ref="new"))
        await world.publish(read(world, "a", "x=NORS"), kind=RunKind.BACKFILL)
        assert await world.current() == {("a", "x", "NORS", False), ("b", "y", "NORU", False)}
        sync = await world.begin()
        assert sync.handle.is_continued
        await sync.write(read(world, "a", "x=NORS"), read(world, "b", "y"))
        assert await sync.publish() == ExitCode.OK
        assert await world.current() == {("a", "x", "NORS", False), ("b", "y", "NORU", False)}


@pytest.mark.promise("1")
async def test_departed_persons_are_closed_and_come_back(database_url):
    """Who left the roster is closed by a full run; who is on it again is read as before."""
    async with world_on(database_url) as world:
        everyone = ["a", "b", "c", "d", "e"]
        await world.publish(*(read(world, key, f"r{key}") for key in everyone))
        await world.publish(*(read(world, key, f"r{key}") for key in everyone[:4]))
        assert len(await world.current()) == 4
        assert await world.rows("SELECT count(*) FROM person WHERE departed_run > 0") == [(1,)]
        assert await world.rows("SELECT count(*) FROM report_person_freshness") == [(8,)]
        await world.publish(*(read(world, key, f"r{key}") for key in everyone))
        assert len(await world.current()) == 5
        assert await world.rows("SELECT count(*) FROM report_person_freshness") == [(10,)]


@pytest.mark.promise("4")
async def test_a_lost_lease_cannot_write(database_url):
    """The fencing token stops a holder that was paused past its lease."""
    async with world_on(database_url) as world:
        attempt = await world.begin()
        other = Holder(holder_id="other", host="elsewhere", process="1:1")
        with pytest.raises(LeaseHeldError, match="another run holds the lease"):
            await world.lease(other)
        await world.lose_lease()
        with pytest.raises(LeaseLostError):
            await attempt.write(read(world, "a", "x"))
        assert await world.rows("SELECT count(*) FROM person") == [(0,)]


@pytest.mark.promise("5")
async def test_an_area_of_nothing_is_withheld_beside_a_large_one(sqlite_url):
    """All privacy restrictions gone at once are withheld, however many safety ones stand."""
    async with world_on(sqlite_url) as world:
        attempt = await world.begin()
        for night in range(2):
            for number in range(10):
                safeties = [record(f"s{number}-{place}") for place in range(18)]
                privacies = [] if night else [_privacy(f"p{number}")]
                await attempt.write(
                    PersonRead(
                        person=person_named(f"k{number}"),
                        areas=(
                            complete(world, SAFETY, *safeties),
                            complete(world, PRIVACY, *privacies),
                        ),
                    )
                )
            if night == 0:
                await attempt.publish()
                attempt = await world.begin()
        with pytest.raises(WithheldError, match="10 of 10 open restrictions of patient-privacy"):
            await attempt.publish()


def _privacy(key: str) -> Record:
    columns = as_columns({"privacy_type": "Block"}, area_named(PRIVACY))
    return Record(key=key, content_hash=b"h" * 16, columns=columns)


@pytest.mark.promise("2")
@pytest.mark.parametrize("persons_per_step", [2, 100])
async def test_a_run_is_undone_step_by_step(database_url, monkeypatch, persons_per_step):
    """However many persons a step takes back, nothing of the run is left, nor anybody it met.

    Nor is what persons were called in it: neither reference nor cohort.
    """
    monkeypatch.setattr("worker.store.runs.undo.PERSONS_PER_STEP", persons_per_step)
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
        await attempt.write(
            labelled(read(world, "a"), "R1", "Sør"),
            labelled(read(world, "b", "y=N", "z"), "R3", "Nord"),
            read(world, "new", "n"),
        )
        assert await world.rows(shown) == before
        await attempt.store.withhold("too many removals")
        assert await world.rows("SELECT status, reason FROM run ORDER BY run_id DESC LIMIT 1") == [
            ("withheld", "too many removals")
        ]
        assert await world.database.read(leftovers) == []
        assert await world.current() == {("a", "x", "NORU", False), ("b", "y", "NORU", False)}
        assert await world.rows(shown) == before
        assert await world.rows("SELECT count(*) FROM person") == [(3,)]
        # Of what an undone run left, the next one would not see that it has changed.
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
        await world.publish(
            *(read(world, key) for key in persons[:4]),
            limits=replace(LIMITS, accept_removals=True),
        )
        attempt = await world.begin()
        await attempt.write(*(read(world, key) for key in persons[:2]))
        with pytest.raises(WithheldError, match="2 of 4 persons are no longer on the roster"):
            await attempt.publish()
