"""The n-th call fails, on a real PostgreSQL and in real time.

Calls are connections, statements, and the BEGIN, COMMIT and ROLLBACK of the driver. A fault is the
server's doing: it ends the connection (``pg_terminate_backend``) before the n-th call, or after it,
so that its answer never comes.
"""

import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any

import anyio
import asyncpg
from sqlalchemy import event, make_url
from sqlalchemy.util.concurrency import await_

from tests.support.databases import copied_database, copy_database, execute
from tests.support.model.views import STATEMENTS
from tests.support.simulation.doors import outside
from tests.support.simulation.loop import Clock
from tests.support.simulation.nth_call import Prepared, apart, prepare, truth_before
from tests.support.simulation.process import DATABASE, Process
from tests.support.simulation.stage import Outcome, Stage
from tests.support.simulation.transports import SimHelseIdTransport, SimTransport
from worker.store.database import Database, open_database

PATIENCE_S, SHORT_PATIENCE_S = 30.0, 0.15
"""For a server that comes back, however busy this machine is; and for one that does not."""
BEFORE, AFTER = "before", "after"
CONNECT = "connect"


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


class Wires:
    """The connections of one process, and the fault that meets one of their calls."""

    def __init__(self, process: Process, url: str) -> None:
        self._process = process
        self._url = url

    def attach(self, engine: Any) -> None:
        """Let every call of the engine pass here."""
        wires = self

        class HttpTransport(asyncpg.Connection):  # type: ignore[misc] # it has no types
            async def execute(self, query: str, *args: Any, **options: Any) -> str:
                flavour = await wires.strike(self, query)
                status: str = await super().execute(query, *args, **options)
                if flavour == AFTER:
                    await wires.cut(self)
                    raise asyncpg.ConnectionDoesNotExistError("closed in the middle of operation")
                return status

        def connect(_dialect: Any, _record: Any, _args: Any, options: Any) -> None:
            async def creator(*args: Any, **more: Any) -> Any:
                flavour = self.touch(CONNECT)
                if flavour == BEFORE:
                    raise ConnectionRefusedError(111, "Connection refused")
                connection = await asyncpg.connect(*args, connection_class=HttpTransport, **more)
                if flavour == AFTER:
                    await self.cut(connection)
                    raise ConnectionResetError(104, "Connection reset by peer")
                return connection

            options["async_creator_fn"] = creator

        core = engine.sync_engine
        event.listen(core, "do_connect", connect)
        lost = core.dialect.loaded_dbapi.InterfaceError
        for name in ("execute", "executemany"):
            event.listen(core, f"do_{name}", self._statement(name, lost))

    def _statement(self, name: str, lost: type[Exception]) -> Callable[..., bool]:
        def carry_out(cursor: Any, text: str, parameters: Any, _context: Any) -> bool:
            transport = cursor._adapt_connection.driver_connection
            flavour = await_(self.strike(transport, text))
            getattr(cursor, name)(text, parameters)
            if flavour == AFTER:
                await_(self.cut(transport))
                raise lost("connection is closed")
            return True

        return carry_out

    def touch(self, text: str) -> str:
        """Count a call; how it fails."""
        flavour = self._process.touch(DATABASE, " ".join(text.split())[:40])
        if flavour:
            self._process.injected[flavour] += 1
        return flavour

    async def strike(self, transport: asyncpg.Connection, text: str) -> str:
        """The same; if it fails before it is made, the connection is gone when this returns."""
        flavour = self.touch(text)
        if flavour == BEFORE:
            await self.cut(transport)
        return flavour

    async def cut(self, transport: asyncpg.Connection) -> None:
        """End a connection from the server's side, and wait until it is gone."""
        if not transport.is_closed():
            end = f"SELECT pg_terminate_backend({transport.get_server_pid()}, 2000)"
            await execute(self._url, end)


class PostgresStage(Stage):
    """A world whose store is a real server. The model is given what one transaction reads."""

    def __init__(self, folder: Path, url: str) -> None:
        super().__init__(folder, RealClock(), random.Random(3), seed=7)
        self.url = url
        self.patience_s = PATIENCE_S
        self.upstream.network.latency_s = 0.0
        truth, self.roster = truth_before(self)
        self.upstream.truth.update(truth)
        self.look_share = 0.0
        self.limit(concurrency=2, batch_persons=2, requests_per_second=500.0, retry_attempts=3)
        # In real time nobody sits out ten minutes in which everybody fails.
        self.limit(patience=timedelta(seconds=2))

    def look(self) -> None:
        """The model looks by itself, between the runs: see ``judge``."""

    def _check_report(self, outcome: Outcome) -> None:
        """The ledger is on the server: the model reads it."""

    async def judge(self) -> None:
        """Let the model look at everything as one transaction sees it."""
        connection = await asyncpg.connect(self.url)
        try:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                found = {name: await connection.fetch(sql) for name, sql in STATEMENTS.items()}
        finally:
            await connection.close()
        self.observer.judge(found)

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
                self.opened(process(), database)
                yield database

        return outside(
            process,
            lend,
            lambda options: SimTransport(self.upstream, process(), options.attempt_s_max),
            lambda: SimHelseIdTransport(self.upstream, process()),
        )

    def opened(self, process: Process, database: Database) -> None:
        """A process has opened the database: every call of it passes here."""
        Wires(process, self.url).attach(database.engine)

    def play(self, **options: Any) -> Outcome:
        """One run and a look at what it left; who loses the server for good waits for little."""
        trouble = options.get("trouble")
        is_for_good = trouble is not None and trouble.persistent
        self.patience_s = SHORT_PATIENCE_S if is_for_good else PATIENCE_S

        async def live() -> Outcome:
            outcome = await apart(self, **options)
            await self.judge()
            return outcome

        with self.doors():
            return anyio.run(live)

    def bury(self, _process: Process) -> None:
        """The process is gone, and so is its lease."""
        anyio.run(self.free_lease)


def on_postgres(server: str, migrated: str, folder: Path) -> Prepared:
    """A database after its first run on that server, to be copied."""
    template = copy_database(server, migrated)

    @contextmanager
    def copied() -> Iterator[PostgresStage]:
        with copied_database(server, str(make_url(template).database)) as url:
            yield PostgresStage(folder, url)

    return prepare(PostgresStage(folder, template), copied)
