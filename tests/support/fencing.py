"""Another holder takes the lease over just before the n-th write transaction of a real run.

The run is the whole worker over a real database; only sockets are missing. Its transactions are
seen where SQLAlchemy begins them, whoever began them; the usurper has a connection of its own.
"""

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any

import anyio
from sqlalchemy import event
from sqlalchemy.engine import Engine

from tests.support.published import Store
from tests.support.simulation.nth_call_postgres import PostgresStage
from tests.support.simulation.process import Process
from tests.support.simulation.stage import Outcome
from worker.store.database import Database

TAKE = (
    "UPDATE lease SET fencing_token = fencing_token + 1, holder = 'usurper', host = 'elsewhere', "
    "process = '1:1', expires_at = '2999-01-01T00:00:00.000000+00:00' WHERE holder IS NOT NULL"
)
_RUNS = "SELECT run_id, status FROM run ORDER BY run_id"


class FencedStage(PostgresStage):
    """A world whose store is a database of either kind, left as it is."""

    def __init__(self, folder: Path, url: str) -> None:
        super().__init__(folder, url)
        self.confirm_after_s = 0.0

    def opened(self, process: Process, database: Database) -> None:
        """Its transactions are seen where SQLAlchemy begins them."""

    async def judge(self) -> None:
        """The tables are compared, and not the views."""


@dataclass(kw_only=True)
class Writes:
    """The write transactions made while this watches.

    Attributes:
        before: called with the number, from 1, of each before it begins.
        statements: what each of them asked.
    """

    before: Callable[[int], None] = lambda _number: None
    statements: list[list[str]] = field(default_factory=list)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """See every engine's."""

        def on_begin(connection: Any) -> None:
            if connection.get_execution_options().get("pts_write"):
                self.before(len(self.statements) + 1)
                self.statements.append([])

        def on_statement(connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
            if connection.get_execution_options().get("pts_write") and self.statements:
                self.statements[-1].append(" ".join(statement.split()))

        event.listen(Engine, "begin", on_begin)
        event.listen(Engine, "before_cursor_execute", on_statement)
        try:
            yield
        finally:
            event.remove(Engine, "begin", on_begin)
            event.remove(Engine, "before_cursor_execute", on_statement)


@dataclass(kw_only=True)
class Usurper:
    """Takes the lease before the n-th write, and remembers what stood in the database then.

    Attributes:
        tables: every row as it was then, those of the lease as the usurper left them.
        runs: the ledger's runs and their status.
    """

    store: Store
    number: int
    tables: dict[str, list[Any]] = field(default_factory=dict)
    runs: dict[int, str] = field(default_factory=dict)

    def __call__(self, number: int) -> None:
        if number == self.number:
            # The loop of the run stands still meanwhile: this needs a thread for its own.
            thread = Thread(target=self._take)
            thread.start()
            thread.join()

    def _take(self) -> None:
        self.store.rows(TAKE)
        self.tables = tables_of(self.store)
        self.runs = dict(self.store.rows(_RUNS))

    def assert_nothing_written(self) -> None:
        """Neither to any table nor to the lease."""
        assert any("usurper" in row for row in self.tables["lease"]), "no lease was held"
        now = tables_of(self.store)
        changed = [name for name, rows in self.tables.items() if rows != now[name]]
        assert not changed, f"written after the takeover before write {self.number}: {changed}"


def tables_of(store: Store) -> dict[str, list[Any]]:
    """Every row of every table."""
    names = sorted(name for name in store.tables() if not name.startswith("report_"))
    found = store.rows_of(*(f"SELECT * FROM {name}" for name in names))
    return {name: sorted(rows, key=repr) for name, rows in zip(names, found, strict=True)}


@dataclass(frozen=True, kw_only=True)
class Kept:
    """One database, and what it is brought back to."""

    url: str

    @property
    def _store(self) -> Store:
        return Store(self.url)

    def keep(self) -> None:
        """What is in it now will be in it again."""
        if self._store.is_sqlite:
            shutil.copy(self._store.path, self._store.path.with_suffix(".kept"))
            return
        names = tables_of(self._store)
        self._store.rows_of(
            "DROP SCHEMA IF EXISTS kept CASCADE",
            "CREATE SCHEMA kept",
            *(f"CREATE TABLE kept.{name} AS TABLE {name}" for name in names),
        )

    def bring_back(self) -> None:
        """Much faster than another database for each trial."""
        if self._store.is_sqlite:
            for end in ("-wal", "-shm"):
                Path(f"{self._store.path}{end}").unlink(missing_ok=True)
            shutil.copy(self._store.path.with_suffix(".kept"), self._store.path)
            return
        names = tables_of(self._store)
        self._store.rows_of(
            "SET session_replication_role = replica",
            f"TRUNCATE {', '.join(names)}",
            *(f"INSERT INTO {name} SELECT * FROM kept.{name}" for name in names),
        )


Act = Callable[[FencedStage], Awaitable[Outcome | None]]


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """What has been, what is done now, and what its writes must be among others.

    Attributes:
        before: the runs before.
        act: what is disturbed; it raises, or gives how it ended.
        writes: a piece of a statement of each transaction that it is about.
    """

    before: Act
    act: Act
    writes: tuple[str, ...]


async def nothing(_stage: FencedStage) -> None:
    """No run has been."""


@dataclass(kw_only=True)
class Trials:
    """One scenario on one database: prepared once, then tried again and again."""

    scenario: Scenario
    url: str
    folder: Path

    @asynccontextmanager
    async def _stage(self) -> AsyncIterator[FencedStage]:
        """A world on that database."""
        stage = FencedStage(self.folder, self.url)
        try:
            with stage.doors():
                yield stage
        finally:
            stage.close()

    async def prepare(self) -> None:
        """Let the runs before have been."""
        async with self._stage() as stage:
            await self.scenario.before(stage)
        await anyio.to_thread.run_sync(Kept(url=self.url).keep)

    async def run(self, before: Callable[[int], None] = lambda _number: None) -> "Tried":
        """What is done now, from where the runs before left it."""
        await anyio.to_thread.run_sync(Kept(url=self.url).bring_back)
        writes = Writes(before=before)
        ended: Any
        async with self._stage() as stage:
            with writes.watched():
                try:
                    ended = await self.scenario.act(stage)
                except Exception as fault:  # noqa: BLE001 - judged by whoever asked
                    ended = fault
        return Tried(ended=ended, writes=[" ; ".join(one) for one in writes.statements])


@dataclass(frozen=True, kw_only=True)
class Tried:
    """How it ended, and the statements of each of its writes."""

    ended: Any
    writes: list[str]
