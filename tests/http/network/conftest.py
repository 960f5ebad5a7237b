"""A sandbox behind two proxies, one before HelseID and one before PTS."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.made_databases import MakeDatabase, postgres_maker
from tests.support.network.net import Net, net, text_of
from tests.support.network.proxy import Weather


@pytest.fixture(scope="session")
def make_postgres(postgres_url: str, migrated_postgres: str) -> MakeDatabase:
    """Makes fresh PostgreSQL databases at the program's schema."""
    return postgres_maker(postgres_url, migrated_postgres)


@pytest.fixture(scope="package")
def plain() -> Iterator[Net]:
    """The sandbox behind plain proxies."""
    with net() as made:
        yield made


@pytest.fixture(scope="package")
def undisturbed(
    plain: Net, migrated_sqlite: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[], str]:
    """What a run in fair weather publishes, as text."""
    plain.clear(Weather())
    worker = plain.install(tmp_path_factory.mktemp("undisturbed"), migrated_sqlite)
    ended = worker.sync()
    assert ended.code == 0, ended.out + ended.err
    text = text_of(worker)
    return lambda: text
