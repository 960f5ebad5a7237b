"""One fault at the n-th call of a run, on a real PostgreSQL and in real time: a sample.

The server itself ends the connection (``pg_terminate_backend``) before the n-th statement or
commit, or right after a commit whose answer then never comes. With ``NTH=all`` in the environment
every statement and commit has its turn.
"""

import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from time import monotonic
from typing import Any

import anyio
import asyncpg
import pytest
from sqlalchemy import event
from sqlalchemy.util.concurrency import await_

from tests.databases import execute, in_database
from tests.simulation.loop import Clock
from tests.simulation.model import STATEMENTS, expect
from tests.simulation.nth_call import change, truth_before
from tests.simulation.process import DATABASE, Process, Trouble, outside
from tests.simulation.stage import Outcome, Stage
from tests.simulation.upstream import SimTransport, SimWire
from worker.store.database import open_database

PATIENCE_S, SHORT_PATIENCE_S = 30.0, 0.6
"""For a server that comes back, however busy this machine is; and for one that does not."""
BEFORE, AFTER = "before", "after"
CALLS = range(1, 95) if os.environ.get("NTH") == "all" else (3, 29, 53, 72, 84)
"""Of the some 90 statements and commits of one run."""


class RealClock(Clock):
    """The time of this machine, where a simulated world expects its own."""

    def __init__(self) -> None:
        self._began_s = monotonic()
        super().__init__(datetime.now(UTC))

    @property
    def elapsed_s(self) -> float:
        return monotonic() - self._began_s

    @elapsed_s.setter
    def elapsed_s(self, _value: float) -> None:
        """Nobody sets it."""

    def true_now(self) -> datetime:
        return datetime.now(UTC)


async def _kill(url: str, pid: int) -> None:
    """End a connection from the server's side, and wait until it is gone."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("SELECT pg_terminate_backend($1, 2000)", pid)
    finally:
        await connection.close()


def _attach(engine: Any, process: Process, url: str) -> None:
    """Let the process's fault strike its statements and commits."""

    def strike(connection: Any, what: str) -> str:
        flavour = process.touch(DATABASE, what)
        if flavour == BEFORE:
            process.injected[flavour] += 1
            await_(_kill(url, connection.driver_connection.get_server_pid()))
        return flavour

    def statement(cursor: Any, text: str, _parameters: Any, _context: Any) -> None:
        strike(cursor._adapt_connection, text[:40])

    for name in ("do_execute", "do_executemany"):
        event.listen(engine.sync_engine, name, statement)
    dialect = engine.sync_engine.dialect
    real_commit = dialect.do_commit

    def commit(connection: Any) -> None:
        inner = getattr(connection, "dbapi_connection", connection)
        flavour = strike(inner, "commit")
        real_commit(connection)
        if flavour == AFTER:
            process.injected["done, and not heard of"] += 1
            await_(_kill(url, inner.driver_connection.get_server_pid()))
            raise dialect.loaded_dbapi.InterfaceError("connection is closed")

    dialect.do_commit = commit


class PostgresStage(Stage):
    """A world whose store is a real server. The model is given what one transaction reads."""

    def __init__(self, folder: Any, url: str) -> None:
        super().__init__(folder, RealClock(), random.Random(3), seed=7, paging="none")
        self.url = url
        self.patience_s = PATIENCE_S
        self.upstream.network.latency_s = 0.0
        truth, self.roster = truth_before(self)
        self.upstream.truth.update(truth)
        self.look_share = 0.0
        self.limit(concurrency=2, batch_persons=2, requests_per_second=500.0, retry_attempts=3)

    def look(self) -> None:
        """The model looks by itself, between the runs: see ``judge``."""

    def _check_report(self, outcome: Outcome) -> None:
        """The ledger is on the server: the model reads it."""

    async def judge(self) -> None:
        """Let the model look at everything as one transaction sees it."""
        connection = await asyncpg.connect(self.url)
        try:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                rows = {sql: await connection.fetch(sql) for sql in STATEMENTS}
        finally:
            await connection.close()
        self.model.judge(_Fetched(rows))

    async def free_lease(self) -> None:
        """The process that held it is gone."""
        await execute(self.url, "UPDATE lease SET holder = NULL, expires_at = NULL")

    def doors(self):
        def process() -> Process:
            return self.processes[-1]

        @asynccontextmanager
        async def lend() -> AsyncIterator[Any]:
            runtime = process().runtime()
            async with open_database(self.url, runtime, patience_s=self.patience_s) as database:
                _attach(database.engine, process(), self.url)
                yield database

        return outside(
            lend,
            lambda options: SimWire(self.upstream, process(), options.attempt_s_max),
            lambda: SimTransport(self.upstream, process()),
        )


class _Fetched:
    """What was read, as the model asks for it."""

    def __init__(self, rows: dict[str, list[Any]]) -> None:
        self._rows = rows

    def execute(self, sql: str) -> list[Any]:
        return self._rows[sql]


async def _run(stage: PostgresStage, trouble: Trouble | None = None) -> Outcome:
    with stage.doors():
        outcome = await stage.run(stage.process(trouble), accepts=True)
    await stage.judge()
    return outcome


async def _live(stage: PostgresStage, trouble: Trouble) -> Outcome:
    first = await _run(stage)
    expect(first.code == 0, f"the first run ended with {first.code}: {first.fault}")
    change(stage)
    if trouble.persistent:
        stage.patience_s = SHORT_PATIENCE_S
    outcome = await _run(stage, trouble)
    stage.patience_s = PATIENCE_S
    expect(outcome.code != 70, f"a bug: {outcome.fault!r}")
    await stage.free_lease()
    after = await _run(stage)
    expect(after.code == 0, f"the run after it ended with {after.code}: {after.fault}")
    stage.model.check_world(stage.upstream.truth, {line.off_id for line in stage.roster})
    return outcome


@pytest.mark.parametrize("number", CALLS)
@pytest.mark.parametrize("how", ["once", "for good", "commit unheard"])
def test_one_fault_anywhere_leaves_the_store_right(
    postgres_url, migrated_postgres, tmp_path, number, how
):
    """The views keep to the last publication whatever the server does, and the next run heals."""
    name = f"nth_{number}_{how.replace(' ', '_')}"
    create = f"CREATE DATABASE {name} TEMPLATE {migrated_postgres}"
    anyio.run(execute, postgres_url, create)
    stage = PostgresStage(tmp_path, in_database(postgres_url, name))
    flavour = AFTER if how == "commit unheard" else BEFORE
    numbers = range(number, number + 6) if flavour == AFTER else (number,)
    trouble = Trouble(
        fail=dict.fromkeys(((DATABASE, one) for one in numbers), flavour),
        persistent=how == "for good",
    )
    outcome = anyio.run(partial(_live, stage, trouble))
    assert outcome.code == (69 if how == "for good" else 0)
    assert outcome.process.injected.total() > 0 or flavour == AFTER
    anyio.run(execute, postgres_url, f"DROP DATABASE {name} WITH (FORCE)")
