"""Queries about runs and their state, for ``status``, ``doctor`` and metrics.

They only read, and do not wait for an active run.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
from sqlalchemy import (
    ColumnElement,
    Executable,
    Row,
    Select,
    case,
    false,
    func,
    null,
    select,
    true,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.core.area import AREAS
from worker.core.guard_facts import AreaFacts, WithheldFacts
from worker.core.hosts import place_of
from worker.core.model import RunKind, RunStatus
from worker.core.run import PublishedState
from worker.core.value import Value
from worker.store.database import Database
from worker.store.identity import has_plain_keys
from worker.store.persons import open_failures
from worker.store.schema.columns import TOTALS
from worker.store.schema.tables import VERSIONS, person, run
from worker.store.sqlite import file_of
from worker.views import FRESHNESS, RUN, Read, UtcTime, begin_snapshot

_KEY_SHOWN: Final = 12
"""Number of characters of a pseudonym that are shown to people."""


class RunFacts(Value, frozen=True, kw_only=True):
    """One run of the ledger.

    Attributes:
        turns: ``run.attempts``, the number of run attempts. The name is public (``status --json``).
        totals: the counters of the ``run`` table by column name. For an unpublished run, persons
            and requests so far.
    """

    run_id: int
    kind: str
    status: str
    exit_code: int | None
    reason: str | None
    areas: tuple[str, ...]
    turns: int
    started_at: datetime
    finished_at: datetime | None
    published_at: datetime | None
    totals: Mapping[str, int] = msgspec.field(default_factory=dict)


class PublishedRun(Value, frozen=True, kw_only=True):
    """A published run, full or not."""

    publication_no: int
    run_id: int
    kind: str
    published_at: datetime


class AreaStaleness(Value, frozen=True, kw_only=True):
    """The numbers of persons and of stale persons in one area."""

    area: str
    persons: int
    stale: int


class DepartedPerson(Value, frozen=True, kw_only=True):
    """A departed person with rows in the store.

    Attributes:
        person_key: the key in the store. None in plain mode, where the key is the identifier.
    """

    person_key: str | None
    local_ref: str | None
    cohort: str | None
    departed_at: datetime


class Example(Value, frozen=True, kw_only=True):
    """A restriction that a withheld run would remove, or a person missing from its roster.

    Attributes:
        person: the reference of the roster, else the beginning of the pseudonym.
    """

    person: str | None
    restriction_id: str | None = None


class WithheldArea(Value, frozen=True, kw_only=True):
    """The removals of a withheld run in one area, with a few examples."""

    area: str
    open_before: int
    removed: int
    lost: int
    examples: tuple[Example, ...]


class Withheld(Value, frozen=True, kw_only=True):
    """The counts of the latest run, which was withheld. Its drafts were discarded."""

    run_id: int
    areas: tuple[WithheldArea, ...]
    persons_before: int
    missing: int
    missing_examples: tuple[Example, ...]


class OpenFailureCount(Value, frozen=True, kw_only=True):
    """Open failures of one area and kind."""

    area: str
    kind: str
    count: int


def place_of_database(database: Database) -> str:
    """The absolute path of a SQLite file, or a server's host, port and database. No user name."""
    url = database.engine.url
    file = file_of(url)
    return str(file) if file else f"{place_of(url.render_as_string())}/{url.database or ''}"


async def engine_of(database: Database) -> str:
    """Name and version of the database, and how the connection to a server is encrypted."""

    async def work(connection: AsyncConnection) -> str:
        async def value(query: Executable) -> str:
            return str((await connection.execute(query)).scalar_one())

        if database.is_file:
            return f"SQLite {await value(select(func.sqlite_version()))}"
        version = await value(select(func.current_setting("server_version")))
        # Linux distributions append the version of their package.
        engine = f"PostgreSQL {version.split(' ')[0]}"
        if database.tls is None:
            return engine
        # Only the driver's socket shows which encryption was negotiated.
        driver = (await connection.get_raw_connection()).driver_connection
        return f"{engine} ({database.tls.describe(driver)})"

    return await database.read(work)


async def last_runs(connection: AsyncConnection, limit: int) -> Sequence[RunFacts]:
    """The latest runs, latest first."""
    rows = await connection.execute(select(run).order_by(run.c.run_id.desc()).limit(limit))
    return [_facts(row) for row in rows]


async def last_full_publication(connection: AsyncConnection) -> RunFacts | None:
    """The last published full run. A backfill does not make a snapshot fresh."""
    row = await _last_published(connection, run.c.kind == RunKind.SYNC)
    return None if row is None else _facts(row)


async def publication_at(
    connection: AsyncConnection, at: datetime | None = None
) -> PublishedRun | None:
    """The publication that readers saw at this time. Without a time, the current one."""
    row = await _last_published(connection, *([run.c.published_at <= at] if at else []))
    if row is None:
        return None
    return PublishedRun(
        publication_no=row.publication_no,
        run_id=row.run_id,
        kind=row.kind,
        published_at=row.published_at,
    )


async def _last_published(
    connection: AsyncConnection, *conditions: ColumnElement[bool]
) -> Row[Any] | None:
    """The last published run that meets the conditions."""
    rows = await connection.execute(
        select(run)
        .where(run.c.publication_no.is_not(None), *conditions)
        .order_by(run.c.publication_no.desc())
        .limit(1)
    )
    return rows.one_or_none()


async def read_published_state(read: Read) -> PublishedState:
    """Read the published state for the metrics.

    Raises:
        UnavailableError: the database cannot be used.
    """

    async def work(connection: AsyncConnection) -> PublishedState:
        # Otherwise a publication between the queries would mix two states.
        await begin_snapshot(connection)
        runs, fresh = RUN.table(), FRESHNESS.table()
        success, published = (
            await connection.execute(
                select(
                    func.max(case((runs.c.exit_code == 0, runs.c.published_at)), type_=UtcTime),
                    func.max(runs.c.published_at, type_=UtcTime),
                ).where(runs.c.status == RunStatus.PUBLISHED, runs.c.kind == RunKind.SYNC)
            )
        ).one()
        # A person has a row for each area.
        persons = select(func.count(fresh.c.person_key.distinct()))
        # Missing persons are not read, so their stale state is not a failure.
        stale = persons.where(fresh.c.is_stale == true(), fresh.c.is_missing == false())
        return PublishedState(
            last_success_at=success,
            last_published_at=published,
            persons_stale=(await connection.execute(stale)).scalar_one(),
            persons_known=(await connection.execute(persons)).scalar_one(),
        )

    return await read(work)


async def departed_persons(connection: AsyncConnection) -> Sequence[DepartedPerson]:
    """Departed persons, the longest departed first."""
    is_plain = await has_plain_keys(connection)
    rows = await connection.execute(
        select(
            null().label("person_key") if is_plain else person.c.person_key,
            person.c.local_ref,
            person.c.cohort,
            run.c.published_at.label("departed_at"),
        )
        .join(run, run.c.publication_no == person.c.departed_no)
        .order_by(person.c.departed_no, person.c.person_id)
    )
    return [DepartedPerson(**row) for row in rows.mappings()]


async def withheld_run(connection: AsyncConnection) -> Withheld | None:
    """The counts and examples of the latest run, if it was withheld.

    Persons and restrictions erased since then are not in the examples.
    """
    # Only the latest run: after a later publication, these counts would mislead.
    latest = select(run).order_by(run.c.run_id.desc()).limit(1)
    row = (await connection.execute(latest)).one_or_none()
    if row is None or row.status != RunStatus.WITHHELD or row.guard is None:
        return None
    facts = msgspec.json.decode(row.guard, type=WithheldFacts)
    is_plain = await has_plain_keys(connection)
    key = null() if is_plain else func.substr(person.c.person_key, 1, _KEY_SHOWN)
    name = func.coalesce(person.c.local_ref, key).label("person")
    missing = select(name).where(person.c.person_id.in_(facts.missing_examples))

    changed_areas = [area for area in facts.areas if area.removed or area.lost]
    return Withheld(
        run_id=row.run_id,
        areas=tuple(
            [
                await _withheld_area(connection, area, name, facts.examples[area.area])
                for area in changed_areas
            ]
        ),
        persons_before=facts.persons_before,
        missing=facts.missing,
        missing_examples=await _examples(connection, missing.order_by(person.c.person_id)),
    )


async def _withheld_area(
    connection: AsyncConnection, facts: AreaFacts, name: ColumnElement[str], versions: Sequence[int]
) -> WithheldArea:
    version = VERSIONS[facts.area].c
    # Joined by row ids: after an erasure, nothing matches.
    restrictions = select(name, version.restriction_id).join(
        person, person.c.person_id == version.person_id
    )
    examples = restrictions.where(version.version_id.in_(versions)).order_by(version.version_id)
    return WithheldArea(
        area=facts.area,
        open_before=facts.open_before,
        removed=facts.removed,
        lost=facts.lost,
        examples=await _examples(connection, examples),
    )


async def _examples(connection: AsyncConnection, query: Select[Any]) -> tuple[Example, ...]:
    rows = (await connection.execute(query)).mappings()
    return tuple(Example(**row) for row in rows)


async def area_staleness(connection: AsyncConnection) -> Sequence[AreaStaleness]:
    """Persons on the roster and stale ones by area, counted in ``report_person_freshness``."""
    view = FRESHNESS.table()
    rows = await connection.execute(
        select(
            view.c.area,
            func.count().label("persons"),
            func.count().filter(view.c.is_stale == true()).label("stale"),
        )
        .where(view.c.is_missing == false())
        .group_by(view.c.area)
    )
    by_area = {row.area: AreaStaleness(**row) for row in rows.mappings()}
    # An area that was never read has no rows in the view.
    return [by_area[area.name] for area in AREAS if area.name in by_area]


async def failure_counts(connection: AsyncConnection) -> Sequence[OpenFailureCount]:
    """Open failures by area and kind."""
    failures = await open_failures(connection)
    rows = await connection.execute(
        select(failures.c.area, failures.c.kind, func.count().label("count"))
        .group_by(failures.c.area, failures.c.kind)
        .order_by(failures.c.area, failures.c.kind)
    )
    return [OpenFailureCount(**row) for row in rows.mappings()]


def _facts(row: Row[Any]) -> RunFacts:
    return RunFacts(
        run_id=row.run_id,
        kind=row.kind,
        status=row.status,
        areas=tuple(msgspec.json.decode(row.areas)),
        started_at=row.started_at,
        finished_at=row.finished_at,
        published_at=row.published_at,
        exit_code=row.exit_code,
        reason=row.reason,
        turns=row.attempts,
        totals={name: getattr(row, name) for name in TOTALS},
    )
