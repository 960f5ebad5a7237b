"""A sandbox, a warmed interpreter, and a ground on each database."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.crash.ground import PERSONS, Databases, Ground, PostgresDatabases, SqliteFiles
from tests.support.crash.servers import OwnServer, own_server
from tests.support.program import Sandbox, sandbox
from tests.support.zygote import Zygote, the_zygote


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


@pytest.fixture(scope="package")
def server() -> Iterator[OwnServer]:
    """A PostgreSQL of these tests' own, which they may stop."""
    with own_server() as made:
        yield made


@pytest.fixture(scope="package")
def on_server(
    served: Sandbox, zygote: Zygote, server: OwnServer, tmp_path_factory: pytest.TempPathFactory
) -> Ground:
    """The ground on it."""
    return _ground(served, zygote, server.databases, tmp_path_factory.mktemp("deaths"))


def _ground(served: Sandbox, zygote: Zygote, databases: Databases, folder: Path) -> Ground:
    return Ground(sandbox=served, zygote=zygote, databases=databases, folder=folder).prepare()


@pytest.fixture(params=["sqlite", "postgresql"])
def ground(request: pytest.FixtureRequest) -> Ground:
    """The ground on each database that we support."""
    name = "on_sqlite" if request.param == "sqlite" else "on_postgres"
    made: Ground = request.getfixturevalue(name)
    return made
