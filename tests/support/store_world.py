"""A store under a fake clock, the reads that are written to it, and what readers then see."""

import hashlib
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from msgspec.structs import replace
from sqlalchemy import Executable, text

from tests.support.clock import FakeRuntime
from tests.support.columns import as_columns
from tests.support.databases import by_our_clock
from worker.core.area import area_named
from worker.core.diff import Confirm, Unconfirmed, confirmed
from worker.core.guard import GuardLimits
from worker.core.identity import NationalId
from worker.core.model import (
    AreaFailure,
    CompleteArea,
    Person,
    PersonRead,
    Proof,
    Record,
    RunKind,
)
from worker.core.record import digest_of
from worker.core.run import PersonDraft, Publication, RequestCounts, RunHandle, RunProgress
from worker.errors import ExitCode, FailureKind
from worker.store.database import Database, open_database
from worker.store.privacy import count_traces, erase_traces, scrub
from worker.store.runs.lease import Lease, acquire
from worker.store.runs.run_store import BackfillSelection, RunStore, open_run_store

SAFETY, PRIVACY = AREAS = ("patient-safety", "patient-privacy")
LIMITS = GuardLimits(max_removed_share=0.1, min_completeness=0.5, first_min_completeness=0.5)
HOLD = timedelta(hours=12)
"""How long after its last progress a run is continued."""
TTL_S = 50.0


@dataclass
class World:
    """A store and a clock, with short words for what a run does."""

    database: Database
    fake: FakeRuntime

    async def lease(self, holder: str = "me") -> Lease:
        """The lease of a full run; of this process, if nobody else is named."""
        return await acquire(self.database, holder, ttl_s=TTL_S)

    async def begin(
        self,
        kind: RunKind = RunKind.SYNC,
        *,
        areas: tuple[str, ...] = AREAS,
        terms: str = "",
        confirm: Confirm = Confirm.REMOVALS,
        selection: BackfillSelection | None = None,
    ) -> "RunAttempt":
        store = await open_run_store(
            await self.lease(),
            kind=kind,
            areas=areas,
            terms=terms,
            continue_within=HOLD,
            confirm=confirm,
            selection=selection,
        )
        return RunAttempt(world=self, store=store)

    async def publish(
        self, *reads: PersonRead, kind: RunKind = RunKind.SYNC, **how: Any
    ) -> ExitCode:
        """A run that writes these reads and is published."""
        attempt = await self.begin(kind)
        await attempt.write(*reads)
        return await attempt.publish(**how)

    async def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """What a reader finds."""
        return await self.selected(text(sql))

    async def selected(self, query: Executable) -> list[tuple[Any, ...]]:
        """The rows of a query."""

        async def work(connection: Any) -> list[tuple[Any, ...]]:
            return [tuple(row) for row in await connection.execute(query)]

        return await self.database.read(work)

    async def rows_written(self, sql: str, values: Mapping[str, Any] | None = None) -> None:
        """Change rows behind the program's back."""

        async def work(connection: Any) -> None:
            await connection.execute(text(sql), values or {})

        await self.database.write(work)

    async def erase(self, key: str, *, rewrite: bool = False) -> Mapping[str, int]:
        """Remove a person as ``erase`` does; how many rows of each table were found."""
        lease = await self.lease()
        found = await count_traces(self.database, key)
        await erase_traces(lease, key)
        await scrub(self.database, rewrite=rewrite)
        return found

    async def lose_lease(self) -> None:
        """What a pause longer than the lease does: somebody else takes over."""
        await self.rows_written("UPDATE lease SET expires_at = acquired_at")
        await self.lease("other")

    async def current(self, area: str = "patient_safety") -> set[tuple[Any, ...]]:
        """Person key, restriction, code and staleness of each row of the current view."""
        return set(
            await self.rows(
                f"SELECT person_key, restriction_id, confidentiality_code, is_stale "
                f"FROM report_{area}_current"
            )
        )


@dataclass
class RunAttempt:
    """One process's run attempt."""

    world: World
    store: RunStore

    @property
    def handle(self) -> RunHandle:
        return self.store.handle

    @property
    def lease(self) -> Lease:
        return self.store.lease

    async def apply(self, *reads: PersonRead) -> frozenset[str]:
        """One transaction, and nothing after it: the persons who wait for a second read."""
        return await self.store.write_reads(reads)

    async def write(self, *reads: PersonRead) -> None:
        """Write persons; those who need it after a second read, which holds what the first held."""
        waiting = await self.store.write_reads(reads)
        if waiting:
            again = [read for read in reads if read.person.person_key in waiting]
            first = await self.unconfirmed(*waiting)
            assert not await self.store.write_reads(
                [self._read_again(read, first[read.person.person_key]) for read in again],
                pass_number=2,
            )
        self.world.fake.advance(1.5)

    def _read_again(self, read: PersonRead, first: dict[str, Unconfirmed]) -> PersonRead:
        areas = [
            confirmed(area_named(area.area), first[area.area], _later(area), self.store.confirm)
            for area in read.areas
            if isinstance(area, CompleteArea) and area.area in first
        ]
        return PersonRead(person=read.person, areas=tuple(areas))

    async def finish(
        self,
        *,
        is_full_roster: bool | None = None,
        limits: GuardLimits = LIMITS,
        faults: int = 0,
        requests: int = 0,
        not_sent: int = 0,
    ) -> Publication:
        """Publish; after a sync, unless it is said otherwise, absent persons depart."""
        if is_full_roster is None:
            is_full_roster = self.handle.kind == RunKind.SYNC
        progress = RunProgress(
            roster_faults=faults,
            sent=RequestCounts(requests=requests),
            persons_not_sent=not_sent,
        )
        done = await self.store.publish(limits, is_full_roster=is_full_roster, progress=progress)
        self.world.fake.advance(60)
        return done

    async def publish(self, **how: Any) -> ExitCode:
        """``finish``; its exit code."""
        return (await self.finish(**how)).exit_code

    async def end(self, **how: Any) -> Publication:
        """``finish``, and give the lease back."""
        done = await self.finish(**how)
        await self.lease.release()
        return done

    async def drafts(self, *keys: str, pass_number: int = 1) -> Mapping[str, PersonDraft]:
        """What the run has read of these persons."""
        persons = [person_named(key) for key in keys]
        return await self.store.drafts(persons, pass_number=pass_number)

    async def unconfirmed(self, *keys: str) -> dict[str, dict[str, Unconfirmed]]:
        """The first reads of these persons that wait for their second."""
        drafts = await self.drafts(*sorted(keys), pass_number=2)
        return {
            key: {area: draft.first for area, draft in one.areas.items() if draft.first}
            for key, one in drafts.items()
        }

    async def interrupt(self) -> None:
        await self.store.interrupt(ExitCode.STOPPED, "stopped at sync.deadline", RunProgress())


def _later(area: CompleteArea) -> CompleteArea:
    at = area.proof.read_at + timedelta(seconds=10)
    return replace(area, proof=replace(area.proof, read_at=at))


@asynccontextmanager
async def world_on(url: str, *, our_clock: bool = False) -> AsyncIterator[World]:
    """A world; with ``our_clock`` publications are dated by its fake clock on PostgreSQL, too."""
    fake = FakeRuntime()
    async with open_database(url, fake.runtime) as opened:
        database = by_our_clock(opened) if our_clock else opened
        yield World(database=database, fake=fake)
        assert "Current Checked out connections: 0" in database.engine.pool.status()


def record(key: str, code: str = "NORU", *, area: str = SAFETY, **columns: Any) -> Record:
    """A restriction; the code is a column of the safety area alone."""
    if area == SAFETY:
        columns = {"confidentiality_code": code, **columns}
    content = repr((key, sorted(columns.items())))
    return Record(
        key=key,
        content_hash=hashlib.blake2b(content.encode(), digest_size=16).digest(),
        columns=as_columns(columns, area_named(area)),
    )


def complete(world: World, area: str, *records: Record) -> CompleteArea:
    """An area that was read to its last page."""
    proof = Proof(
        pages=1,
        record_count=len(records),
        digest=digest_of(records),
        read_at=world.fake.now(),
    )
    return CompleteArea(area=area, records=records, proof=proof)


def person_named(key: str, ref: str | None = None, cohort: str | None = None) -> Person:
    """A person by key; all have the same identifier, which is not stored."""
    return Person(off_id=NationalId("1" * 11), person_key=key, local_ref=ref, cohort=cohort)


def read(
    world: World,
    key: str,
    *held: str | Record,
    private: Iterable[Record] = (),
    ref: str | None = None,
    cohort: str | None = None,
) -> PersonRead:
    """A person whose safety area holds these restrictions (``id``, ``id=CODE`` or a record)."""
    records = [one if isinstance(one, Record) else record(*one.split("=")) for one in held]
    areas = (complete(world, SAFETY, *records), complete(world, PRIVACY, *private))
    return PersonRead(person=person_named(key, ref, cohort), areas=areas)


def failed(
    world: World,
    key: str,
    kind: FailureKind = FailureKind.TRANSIENT,
    *,
    ref: str | None = None,
    cohort: str | None = None,
    retry_at: datetime | None = None,
) -> PersonRead:
    """A person whose safety area could not be read."""
    failure = AreaFailure(
        area=SAFETY,
        kind=kind,
        reason="status 503",
        attempts=5,
        failed_at=world.fake.now(),
        status=503,
        retry_at=retry_at,
    )
    person = person_named(key, ref, cohort)
    return PersonRead(person=person, areas=(failure, complete(world, PRIVACY)))
