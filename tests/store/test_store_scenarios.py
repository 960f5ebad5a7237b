"""Whole runs against the store, on SQLite and PostgreSQL alike."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from tests.columns import as_columns
from tests.databases import by_our_clock
from tests.fakes import FakeRuntime
from tests.second_reads import apply_confirmed
from worker.areas import area_named
from worker.core.guard import GuardLimits
from worker.core.identity import NationalId
from worker.core.model import (
    AreaFailure,
    CompleteArea,
    FailureKind,
    Person,
    PersonRead,
    Proof,
    Record,
    RunKind,
    RunStatus,
)
from worker.core.record import digest_of
from worker.core.run import RunProgress
from worker.errors import ExitCode, LeaseHeldError, LeaseLostError, WithheldError
from worker.store.database import Database, open_database
from worker.store.queries.status import area_staleness
from worker.store.runs.lease import Lease, acquire
from worker.store.runs.ledger import begin_run, interrupt_run, open_runs
from worker.store.runs.process_identity import Holder, this_process
from worker.store.runs.run_store import SqlRunStore
from worker.store.runs.undo import leftovers, undo_run
from worker.store.writes.batch import BatchWriter

SAFETY, PRIVACY = "patient-safety", "patient-privacy"
LIMITS = GuardLimits(max_removed_share=0.1, min_completeness=0.5)


@dataclass
class World:
    """A store and a clock, with short words for what a run does."""

    database: Database
    fake: FakeRuntime
    holder: Holder

    async def lease(self) -> Lease:
        return await acquire(self.database, self.holder, ttl_s=50)

    async def begin(
        self, kind: RunKind = RunKind.SYNC, *, areas: tuple[str, ...] = (SAFETY, PRIVACY)
    ) -> "Turn":
        lease = await self.lease()
        handle = await begin_run(
            lease,
            kind=kind,
            areas=areas,
            continue_within=timedelta(hours=12),
        )
        others = [row.run_id for row in await self.database.read(open_runs)]
        writer = BatchWriter(
            lease=lease,
            handle=handle,
            unpublished=tuple(other for other in others if other != handle.run_id),
        )
        return Turn(world=self, lease=lease, writer=writer)

    async def rows(self, sql: str) -> list[tuple[Any, ...]]:
        async def work(connection):
            return [tuple(row) for row in await connection.execute(text(sql))]

        return await self.database.read(work)

    async def rows_written(self, sql: str) -> None:
        """Change rows behind the program's back."""

        async def work(connection):
            await connection.execute(text(sql))

        await self.database.write(work)

    async def current(self, area: str = "patient_safety") -> set[tuple[Any, ...]]:
        return set(
            await self.rows(
                f"SELECT person_key, restriction_id, confidentiality_code, is_stale "
                f"FROM report_{area}_current"
            )
        )


@dataclass
class Turn:
    """One process's turn at a run."""

    world: World
    lease: Lease
    writer: BatchWriter

    async def write(self, *reads: PersonRead) -> None:
        await apply_confirmed(self.writer.apply, reads)
        self.world.fake.advance(1.5)

    def store(self) -> SqlRunStore:
        return SqlRunStore(writer=self.writer)

    async def publish(self, *, may_depart: bool = True, limits: GuardLimits = LIMITS) -> ExitCode:
        done = await self.store().publish(limits, may_depart=may_depart, progress=RunProgress())
        self.world.fake.advance(60)
        return done.exit_code


def record(key: str, code: str = "NORU", *, area: str = SAFETY) -> Record:
    """A restriction; the code is a column of the safety area alone."""
    payload = f'{{"confidentialityCode":"{code}","id":"{key}"}}'
    columns = {"confidentiality_code": code} if area == SAFETY else {}
    return Record(
        key=key,
        content_hash=hashlib.blake2b(payload.encode(), digest_size=16).digest(),
        payload=payload,
        columns=as_columns(columns, area_named(area)),
    )


def whole(world: World, area: str, *records: Record) -> CompleteArea:
    proof = Proof(
        pages=1,
        record_count=len(records),
        digest=digest_of(records),
        read_at=world.fake.now(),
        key_path="id" if records else "",
    )
    return CompleteArea(area=area, records=records, proof=proof)


def read(world: World, key: str, *codes: str, ref: str | None = None) -> PersonRead:
    """A person whose safety area holds these restrictions (``id`` or ``id=CODE``)."""
    records = [record(*code.split("=")) for code in codes]
    person = Person(off_id=NationalId("1" * 11), person_key=key, local_ref=ref)
    return PersonRead(person=person, areas=(whole(world, SAFETY, *records), whole(world, PRIVACY)))


def failed(world: World, key: str, kind: FailureKind = FailureKind.TRANSIENT) -> PersonRead:
    person = Person(off_id=NationalId("1" * 11), person_key=key)
    failure = AreaFailure(
        area=SAFETY,
        kind=kind,
        reason="status 503",
        attempts=5,
        failed_at=world.fake.now(),
        status=503,
    )
    return PersonRead(person=person, areas=(failure, whole(world, PRIVACY)))


@asynccontextmanager
async def world_on(url: str, *, our_clock: bool = False) -> AsyncIterator[World]:
    """A world; with ``our_clock`` publications are dated by its fake clock on PostgreSQL, too."""
    fake = FakeRuntime()
    async with open_database(url, fake.runtime) as opened:
        database = by_our_clock(opened) if our_clock else opened
        yield World(database=database, fake=fake, holder=this_process("me"))
        assert "Current Checked out connections: 0" in database.engine.pool.status()


async def test_nothing_shows_before_publication(database_url):
    """Readers see a whole run or the previous one."""
    async with world_on(database_url) as world:
        turn = await world.begin()
        await turn.write(read(world, "a", "x", ref="R1"), read(world, "b"))
        assert set() == await world.current()
        assert [] == await world.rows("SELECT * FROM report_person_freshness")
        assert ExitCode.OK == await turn.publish()
        assert {("a", "x", "NORU", False)} == await world.current()
        assert [("R1",)] == await world.rows("SELECT local_ref FROM report_patient_safety_current")
        turn = await world.begin()
        await turn.write(read(world, "a", "x=N", "y", ref="R2"), read(world, "b", "z"))
        assert {("a", "x", "NORU", False)} == await world.current()
        assert [("R1",)] == await world.rows("SELECT local_ref FROM report_patient_safety_current")
        await turn.publish()
        assert {("a", "x", "N", False), ("a", "y", "NORU", False), ("b", "z", "NORU", False)} == (
            await world.current()
        )
        assert [("R2",)] == await world.rows(
            "SELECT DISTINCT local_ref FROM report_patient_safety_current WHERE person_key = 'a'"
        )


async def test_an_unchanged_world_writes_no_restriction_row(database_url):
    """The second run of an unchanged source costs the proofs and nothing else."""
    async with world_on(database_url) as world:
        for _ in range(2):
            turn = await world.begin()
            await turn.write(read(world, "a", "x", "y"), read(world, "b"))
            await turn.publish()
        totals = await world.rows(
            "SELECT rows_read, rows_opened, rows_changed, rows_closed, rows_unchanged "
            "FROM report_run ORDER BY run_id"
        )
        assert [(2, 2, 0, 0, 0), (2, 0, 0, 0, 2)] == totals


async def test_failure_keeps_the_old_state_and_marks_it_stale(database_url):
    """What could not be read stands, with the time when it was last confirmed."""
    async with world_on(database_url) as world:
        turn = await world.begin()
        await turn.write(read(world, "a", "x"), read(world, "b", "y"))
        await turn.publish()
        turn = await world.begin()
        await turn.write(failed(world, "a"), read(world, "b", "y"))
        assert ExitCode.GAPS == await turn.publish()
        assert {("a", "x", "NORU", True), ("b", "y", "NORU", False)} == await world.current()
        turn = await world.begin()
        await turn.write(read(world, "a", "x"), read(world, "b", "y"))
        assert ExitCode.OK == await turn.publish()
        assert [] == await world.rows("SELECT * FROM failure")


async def test_history_is_half_open_and_without_gaps(database_url):
    """A change closes a version and opens the next at the same instant; a return opens again."""
    async with world_on(database_url) as world:
        for codes in (["x"], ["x=N"], [], ["x=N"]):
            turn = await world.begin()
            await turn.write(read(world, "a", *codes), read(world, "b", "k"))
            await turn.publish()
        rows = await world.rows(
            "SELECT confidentiality_code, valid_from, valid_to FROM report_patient_safety_history "
            "WHERE person_key = 'a' ORDER BY valid_from"
        )
        assert ["NORU", "N", "N"] == [row[0] for row in rows]
        assert rows[0][2] == rows[1][1]
        assert rows[1][2] < rows[2][1]
        assert rows[2][2] is None


@pytest.mark.parametrize("order", ["old first", "new first", "old fails", "old gone"])
async def test_a_restriction_moves_to_another_identifier(database_url, order):
    """In whichever order the two are read, it ends under the new one, first seen as before."""
    async with world_on(database_url) as world:
        turn = await world.begin()
        await turn.write(read(world, "d", "x"), read(world, "f"), read(world, "k", "k1", "k2"))
        await turn.publish()
        before = await world.rows("SELECT first_seen_at FROM report_patient_safety_current")
        turn = await world.begin()
        old, new = read(world, "d"), read(world, "f", "x")
        steps = {
            "old first": [old, new],
            "new first": [new, old],
            "old fails": [failed(world, "d"), new],
            "old gone": [new],
        }[order]
        for step in steps:
            await turn.write(step)
        await turn.write(read(world, "k", "k1", "k2"))
        await turn.publish()
        current = await world.current()
        assert ("f", "x", "NORU", False) in current
        assert 3 == len(current)
        moved = await world.rows("SELECT rows_moved, rows_closed FROM report_run ORDER BY run_id")
        assert (1, 0) == moved[-1]
        after = await world.rows("SELECT first_seen_at FROM report_patient_safety_current")
        assert min(before) == min(after)


@pytest.mark.parametrize("order", [1, -1])
async def test_a_contradicted_read_moves_nothing(database_url, order):
    """A swap of two answers: the old one's two reads disagree, and another's answer holds it."""
    async with world_on(database_url) as world:
        turn = await world.begin()
        await turn.write(read(world, "old", "x"), read(world, "other"))
        await turn.publish()
        turn = await world.begin()
        contradicted = failed(world, "old", FailureKind.UNSTABLE)
        for step in [contradicted, read(world, "other", "x")][::order]:
            await turn.write(step)
        await turn.publish()
        shown = {(key, is_stale) for key, _, _, is_stale in await world.current()}
        assert {("old", True), ("other", False)} == shown


async def test_what_three_persons_hold_moves_from_nobody(database_url):
    """Keys that begin anew for each person: A fails while C gets the key that A has. A keeps it."""
    async with world_on(database_url) as world:
        turn = await world.begin()
        await turn.write(*(read(world, name, "1") for name in "abe"), read(world, "c"))
        await turn.publish()
        turn = await world.begin()
        others = [read(world, name, "1") for name in "bec"]
        await turn.write(failed(world, "a", FailureKind.TRANSIENT), *others)
        await turn.publish()
        shown = {(key, is_stale) for key, _, _, is_stale in await world.current()}
        assert {("a", True), ("b", False), ("e", False), ("c", False)} == shown
        [moved] = await world.rows("SELECT rows_moved, rows_opened FROM report_run WHERE run_id=2")
        assert (0, 1) == tuple(moved)


async def test_what_three_persons_held_until_this_run_has_not_moved(database_url):
    """Two of the three lose the key as D gets it: it is counted as readers still see it."""
    async with world_on(database_url) as world:
        turn = await world.begin()
        mine = [read(world, name, f"of-{name}") for name in "efghij"]
        await turn.write(*(read(world, name, "1") for name in "abc"), read(world, "d"), *mine)
        await turn.publish()
        turn = await world.begin()
        await turn.write(
            failed(world, "a", FailureKind.TRANSIENT),
            *(read(world, name) for name in "bc"),
            read(world, "d", "1"),
            *mine,
        )
        await turn.publish()
        [counted] = await world.rows(
            "SELECT rows_moved, rows_opened, rows_closed FROM report_run WHERE run_id=2"
        )
        assert (0, 1, 2) == tuple(counted)


async def test_what_others_hold_too_is_still_removed(database_url):
    """Half of all lose what has the same key with everybody: the guard counts each of them."""
    async with world_on(database_url) as world:
        turn = await world.begin()
        await turn.write(*(read(world, name, "1") for name in "abcdefghijklmnop"))
        await turn.publish()
        turn = await world.begin()
        await turn.write(
            *(read(world, name, "1") for name in "abcdefgh"),
            *(read(world, name) for name in "ijklmnop"),
        )
        with pytest.raises(WithheldError, match="8 of 16 open restrictions"):
            await turn.publish()


async def test_a_withheld_run_leaves_no_trace(database_url):
    """All restrictions gone at once is withheld; current and history stay as they were."""
    async with world_on(database_url) as world:
        turn = await world.begin()
        await turn.write(read(world, "a", "x", "y"), read(world, "b", "z"))
        await turn.publish()
        current = await world.current()
        history = await world.rows("SELECT * FROM report_patient_safety_history ORDER BY 1")
        turn = await world.begin()
        await turn.write(read(world, "a"), read(world, "b"), read(world, "new", ref="N"))
        with pytest.raises(WithheldError, match="3 of 3 open restrictions"):
            await turn.publish()
        await undo_run(turn.lease, turn.writer.handle.run_id, status=RunStatus.WITHHELD)
        assert current == await world.current()
        assert history == await world.rows("SELECT * FROM report_patient_safety_history ORDER BY 1")
        assert [] == await world.database.read(leftovers)
        assert [("a",), ("b",)] == await world.rows("SELECT person_key FROM person ORDER BY 1")
        turn = await world.begin()
        await turn.write(read(world, "a", "x", "y"), read(world, "b", "z"))
        assert ExitCode.OK == await turn.publish()
        assert current == await world.current()


async def test_an_interrupted_run_is_continued(database_url):
    """The next sync works on the same run and does not lose what was read."""
    async with world_on(database_url) as world:
        turn = await world.begin()
        await turn.write(read(world, "a", "x"))
        await interrupt_run(turn.lease, turn.writer.handle, exit_code=ExitCode.STOPPED, reason="t")
        again = await world.begin()
        assert again.writer.handle.is_continued
        assert turn.writer.handle.run_id == again.writer.handle.run_id
        await again.write(read(world, "b", "y"))
        await again.publish(may_depart=False)
        assert {("a", "x", "NORU", False), ("b", "y", "NORU", False)} == await world.current()


async def test_an_old_open_run_is_undone(database_url):
    """Beyond the time limit nothing of it is kept and a new run begins."""
    async with world_on(database_url) as world:
        turn = await world.begin()
        await turn.write(read(world, "a", "x"))
        world.fake.advance(13 * 3600)
        again = await world.begin()
        assert not again.writer.handle.is_continued
        assert [(0,)] == await world.rows("SELECT count(*) FROM patient_safety_version")


async def test_a_backfill_beside_an_open_sync(database_url):
    """A backfill publishes its persons; the open sync goes on and reads them again."""
    async with world_on(database_url) as world:
        turn = await world.begin()
        await turn.write(read(world, "a", "x"), read(world, "b", "y"))
        await turn.publish()
        sync = await world.begin()
        await sync.write(read(world, "a", "x=N", ref="new"))
        backfill = await world.begin(RunKind.BACKFILL)
        await backfill.write(read(world, "a", "x=NORS"))
        await backfill.publish(may_depart=False)
        assert {("a", "x", "NORS", False), ("b", "y", "NORU", False)} == await world.current()
        sync = await world.begin()
        assert sync.writer.handle.is_continued
        await sync.write(read(world, "a", "x=NORS"), read(world, "b", "y"))
        assert ExitCode.OK == await sync.publish()
        assert {("a", "x", "NORS", False), ("b", "y", "NORU", False)} == await world.current()


async def test_departed_persons_are_closed_and_come_back(database_url):
    """Who left the roster is closed by a full run; who is on it again is read as before."""
    async with world_on(database_url) as world:
        everyone = ["a", "b", "c", "d", "e"]
        turn = await world.begin()
        await turn.write(*(read(world, key, f"r{key}") for key in everyone))
        await turn.publish()
        turn = await world.begin()
        await turn.write(*(read(world, key, f"r{key}") for key in everyone[:4]))
        await turn.publish()
        assert 4 == len(await world.current())
        assert [(1,)] == await world.rows("SELECT count(*) FROM person WHERE departed_run > 0")
        assert [(8,)] == await world.rows("SELECT count(*) FROM report_person_freshness")
        turn = await world.begin()
        await turn.write(*(read(world, key, f"r{key}") for key in everyone))
        await turn.publish()
        assert 5 == len(await world.current())
        assert [(10,)] == await world.rows("SELECT count(*) FROM report_person_freshness")


async def test_a_lost_lease_cannot_write(database_url):
    """The fencing token stops a holder that was paused past its lease."""
    async with world_on(database_url) as world:
        turn = await world.begin()
        other = Holder(holder_id="other", host="elsewhere", process="1:1")
        with pytest.raises(LeaseHeldError, match="another run holds the lease"):
            await acquire(world.database, other, ttl_s=50)

        async def expire(connection):
            await connection.execute(text("UPDATE lease SET expires_at = acquired_at"))

        await world.database.write(expire)
        await acquire(world.database, other, ttl_s=50)
        with pytest.raises(LeaseLostError):
            await turn.write(read(world, "a", "x"))
        assert [(0,)] == await world.rows("SELECT count(*) FROM person")


async def test_an_area_of_nothing_is_withheld_beside_a_large_one(database_url):
    """All privacy restrictions gone at once are withheld, however many safety ones stand."""
    async with world_on(database_url) as world:
        turn = await world.begin()
        for night in range(2):
            for number in range(10):
                safeties = [record(f"s{number}-{place}") for place in range(18)]
                privacies = [] if night else [_privacy(f"p{number}")]
                await turn.write(
                    PersonRead(
                        person=Person(off_id=NationalId("1" * 11), person_key=f"k{number}"),
                        areas=(whole(world, SAFETY, *safeties), whole(world, PRIVACY, *privacies)),
                    )
                )
            if night == 0:
                await turn.publish()
                turn = await world.begin()
        with pytest.raises(WithheldError, match="10 of 10 open restrictions of patient-privacy"):
            await turn.publish()


def _privacy(key: str) -> Record:
    columns = as_columns({"privacy_type": "Block"}, area_named(PRIVACY))
    return Record(key=key, content_hash=b"h" * 16, payload="{}", columns=columns)


async def test_what_has_moved_away_and_comes_back_is_opened_again(database_url):
    """The old person's last proof tells of a row that a move has closed since."""
    async with world_on(database_url) as world:
        turn = await world.begin()
        await turn.write(read(world, "old", "x"), read(world, "new"))
        await turn.publish()
        turn = await world.begin()
        await turn.write(failed(world, "old", FailureKind.TRANSIENT), read(world, "new", "x"))
        await turn.publish()
        assert {("new", "x", "NORU", False)} == await world.current()
        turn = await world.begin()
        await turn.write(read(world, "old", "x"), read(world, "new"))
        await turn.publish()
        assert {("old", "x", "NORU", False)} == await world.current()


@pytest.mark.parametrize("persons_per_step", [1, 2, 3, 100])
async def test_a_run_is_undone_step_by_step(database_url, monkeypatch, persons_per_step):
    """However many persons a step takes back, nothing of the run is left, nor anybody it met."""
    monkeypatch.setattr("worker.store.runs.undo.PERSONS_PER_STEP", persons_per_step)
    async with world_on(database_url) as world:
        turn = await world.begin()
        await turn.write(read(world, "a", "x"), read(world, "b", "y"), read(world, "c"))
        await turn.publish()
        before = await world.rows("SELECT * FROM report_person_freshness ORDER BY person_key, area")
        turn = await world.begin()
        await turn.write(read(world, "a"), read(world, "b", "y=N", "z"), read(world, "new", "n"))
        run_id = turn.writer.handle.run_id
        await undo_run(turn.lease, run_id, status=RunStatus.WITHHELD)
        assert [] == await world.database.read(leftovers)
        assert {("a", "x", "NORU", False), ("b", "y", "NORU", False)} == await world.current()
        after = await world.rows("SELECT * FROM report_person_freshness ORDER BY person_key, area")
        assert before == after
        assert [(3,)] == await world.rows("SELECT count(*) FROM person")


async def test_a_withheld_run_takes_its_references_back(database_url):
    """A local reference that it changed, or gave to who had none, is what it was."""
    async with world_on(database_url) as world:
        turn = await world.begin()
        await turn.write(read(world, "a", "x", ref="R1"), read(world, "b", "y"))
        await turn.publish()
        references = "SELECT person_key, local_ref, local_ref_run FROM person ORDER BY 1"
        shown = "SELECT person_key, local_ref FROM report_patient_safety_current ORDER BY 1"
        before = await world.rows(references), await world.rows(shown)
        turn = await world.begin()
        await turn.write(read(world, "a", ref="R2"), read(world, "b", ref="new"))
        await undo_run(turn.lease, turn.writer.handle.run_id, status=RunStatus.WITHHELD)
        assert before == (await world.rows(references), await world.rows(shown))
        turn = await world.begin()  # what the roster says now shows when it is published
        await turn.write(read(world, "a", "x", ref="R3"), read(world, "b", "y"))
        assert before[1] == await world.rows(shown)
        await turn.publish()
        assert [("a", "R3"), ("b", None)] == await world.rows(shown)


@pytest.mark.parametrize("area", [SAFETY, PRIVACY])
async def test_an_area_that_was_not_asked_for_is_not_stale(database_url, area):
    """A full run over one area says nothing of the other, and who it does not meet is stale in it.

    The view and the counts of ``status`` say the same.
    """
    async with world_on(database_url) as world:
        turn = await world.begin()
        await turn.write(read(world, "a", "x"), read(world, "b", "y"))
        await turn.publish()
        turn = await world.begin(areas=(area,))
        whole_a = read(world, "a", "x")
        ours = tuple(one for one in whole_a.areas if one.area == area)
        await turn.write(PersonRead(person=whole_a.person, areas=ours))
        await turn.publish(may_depart=False)
        rows = await world.rows("SELECT person_key, area, is_stale FROM report_person_freshness")
        assert {("b", area)} == {(key, name) for key, name, is_stale in rows if is_stale}
        told = await world.database.read(area_staleness)
        assert {SAFETY: area == SAFETY, PRIVACY: area == PRIVACY} == {
            one.area: bool(one.stale) for one in told
        }
