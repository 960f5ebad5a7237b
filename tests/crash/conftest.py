"""A sandbox, and a ground on each database."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.crash.ground import PERSONS, Ground
from tests.support.databases import in_database
from tests.support.program import Sandbox, sandbox


@pytest.fixture(scope="package")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A sandbox; a test that sets faults takes them back."""
    folder = tmp_path_factory.mktemp("deaths-sandbox")
    with sandbox(folder, "--persons", str(PERSONS)) as made:
        yield made


@pytest.fixture(scope="package")
def on_sqlite(served: Sandbox, migrated_sqlite: Path, tmp_path_factory) -> Ground:
    template, folder = f"sqlite:///{migrated_sqlite}", tmp_path_factory.mktemp("deaths")
    return Ground(sandbox=served, template=template, folder=folder).prepare()


@pytest.fixture(scope="package")
def on_postgres(
    served: Sandbox, postgres_url: str, migrated_postgres: str, tmp_path_factory
) -> Ground:
    template = in_database(postgres_url, migrated_postgres)
    folder = tmp_path_factory.mktemp("deaths")
    return Ground(sandbox=served, template=template, folder=folder).prepare()


@pytest.fixture(params=["sqlite", "postgresql"])
def ground(request: pytest.FixtureRequest) -> Ground:
    """The ground on each database that we support."""
    name = "on_sqlite" if request.param == "sqlite" else "on_postgres"
    made: Ground = request.getfixturevalue(name)
    return made
