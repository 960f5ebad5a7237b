"""A sandbox, a warmed interpreter, and a ground on each database."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.program import Installation, Running, Sandbox, sandbox, wait_for
from tests.deaths.ground import PERSONS, Databases, Ground, PostgresDatabases, SqliteFiles
from tests.deaths.servers import OwnServer, own_server
from tests.deaths.zygote import Zygote, the_zygote


@pytest.fixture(scope="package")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A sandbox; a test that sets faults takes them back."""
    folder = tmp_path_factory.mktemp("deaths-sandbox")
    with sandbox(folder, "--persons", str(PERSONS)) as made:
        yield made


@pytest.fixture(scope="package")
def zygote() -> Zygote:
    """The parent of the runs."""
    return the_zygote()


@pytest.fixture(scope="package")
def sqlite_files(migrated_sqlite: Path, tmp_path_factory: pytest.TempPathFactory) -> SqliteFiles:
    """Makes SQLite files."""
    folder = tmp_path_factory.mktemp("deaths-sqlite")
    return SqliteFiles(folder=folder, template=migrated_sqlite)


@pytest.fixture(scope="package")
def postgres_databases(postgres_url: str, migrated_postgres: str) -> PostgresDatabases:
    """Makes PostgreSQL databases."""
    return PostgresDatabases(server=postgres_url, template=migrated_postgres)


@pytest.fixture(scope="package")
def on_sqlite(
    served: Sandbox,
    zygote: Zygote,
    sqlite_files: SqliteFiles,
    tmp_path_factory: pytest.TempPathFactory,
) -> Ground:
    """The ground on SQLite."""
    return _ground(served, zygote, sqlite_files, tmp_path_factory.mktemp("deaths"))


@pytest.fixture(scope="package")
def on_postgres(
    served: Sandbox,
    zygote: Zygote,
    postgres_databases: PostgresDatabases,
    tmp_path_factory: pytest.TempPathFactory,
) -> Ground:
    """The ground on PostgreSQL."""
    return _ground(served, zygote, postgres_databases, tmp_path_factory.mktemp("deaths"))


def _ground(served: Sandbox, zygote: Zygote, databases: Databases, folder: Path) -> Ground:
    return Ground(sandbox=served, zygote=zygote, databases=databases, folder=folder).prepare()


@dataclass(frozen=True, kw_only=True)
class LongStop:
    """A run whose PostgreSQL was stopped under it."""

    ground: Ground
    worker: Installation
    running: Running
    server: OwnServer
    stopped_s: float

    def took_s(self) -> float:
        """From the stop to the end of the process; the test that asks may come much later."""
        process: Any = self.running.process
        return float(process.ended_s() - self.stopped_s)


@pytest.fixture(scope="package", autouse=True)
def long_stop(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LongStop | None]:
    """Begun before all other tests, since it takes a minute: it runs beside them."""
    if not any(
        "long_stop" in getattr(item, "fixturenames", ()) and "for_long" in item.nodeid
        for item in request.session.items
    ):
        yield None
        return
    served: Sandbox = request.getfixturevalue("served")
    zygote: Zygote = request.getfixturevalue("zygote")
    with own_server() as server:
        ground = _ground(served, zygote, server.databases, tmp_path_factory.mktemp("long-stop"))
        worker = ground.worker()
        running = ground.start(worker)
        written = "SELECT count(*) FROM person_area WHERE run_id = 2"
        wait_for(lambda: worker.store.one(written), "a batch")
        server.stop()
        yield LongStop(
            ground=ground, worker=worker, running=running, server=server, stopped_s=time.time()
        )
        running.kill()


@pytest.fixture(params=["sqlite", "postgresql"])
def ground(request: pytest.FixtureRequest) -> Ground:
    """The ground on each database that we support."""
    name = "on_sqlite" if request.param == "sqlite" else "on_postgres"
    made: Ground = request.getfixturevalue(name)
    return made
