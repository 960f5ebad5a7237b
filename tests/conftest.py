"""Fixtures that more than one kind of test needs, and rules for all tests."""

import gc
import os
import time
from collections import Counter
from collections.abc import Generator, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import anyio
import pytest
from hypothesis import settings
from sqlalchemy import make_url

from tests.support.databases import (
    execute,
    in_database,
    migrate_now,
    postgres_server,
)
from tests.support.made_databases import MakeDatabase, copy_of, maker
from tests.support.program import last_ends

# A zone far from UTC, so that a naive local time shows at once.
os.environ["TZ"] = "Asia/Dubai"
time.tzset()

# The same examples every time: a failure is one of the change, not of chance or a busy machine.
# `make random-properties` takes others each time, from a seed that it prints.
settings.register_profile("suite", deadline=None, derandomize=True)
settings.register_profile("random", deadline=None, max_examples=300)
settings.load_profile("suite")


_NIGHTLY_MODULES: Final = {
    "aiohttp": "report/test_browser_report.py",
    "duckdb": "report/test_export_read_back.py",
    "kubernetes_validate": "deployment/test_kustomize.py",
}
collect_ignore = [path for name, path in _NIGHTLY_MODULES.items() if not find_spec(name)]
"""All of their tests are nightly; `make nightly` installs what they import."""


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Choose the seed of what is random, before Hypothesis reads it; xdist hands it on."""
    if config.getoption("hypothesis_seed") is None:
        is_random = (
            config.option.markexpr == "nightly"
            or config.getoption("hypothesis_profile") == "random"
        )
        config.option.hypothesis_seed = str(time.time_ns() % 2**32 if is_random else 0)


def _replay(config: pytest.Config) -> str:
    return f"replay the random examples with --hypothesis-seed={config.option.hypothesis_seed}"


def pytest_report_header(config: pytest.Config) -> str:
    """Say it at the start."""
    return _replay(config)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config
) -> None:
    """Say it again below what failed."""
    if exitstatus:
        terminalreporter.write_line(_replay(config))


def pytest_runtest_logstart() -> None:
    """Each test has its own processes."""
    last_ends.clear()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Below a test that fails: how its last processes ended, and what they left."""
    report = yield
    if report.failed:
        report.sections += [("a process that it started", one.story()) for one in last_ends]
    return report


_LONGEST: Final = (
    "tests/http/politeness/test_outages.py",
    "tests/acceptance/test_two_reads.py",
    "tests/acceptance/test_kill_and_continue.py",
    "tests/acceptance/test_exit_codes.py",
    "tests/acceptance/test_secrecy.py",
    "tests/crash/test_kill.py",
    "tests/acceptance/test_guard.py",
    "tests/crash/test_signals.py",
    "tests/crash/test_postgres.py",
    "tests/acceptance/test_backfill_and_schedule.py",
    "tests/acceptance/test_backup.py",
    "tests/acceptance/test_cli_doctor.py",
    "tests/acceptance/test_rosters.py",
    "tests/acceptance/test_terminal.py",
    "tests/http/network/test_proxy.py",
    "tests/store/test_store_scenarios.py",
    "tests/simulation/test_simulation.py",
)
"""Files that take seven seconds and more, the longest first (pytest's ``--durations=0``).

A process takes a file at a time, and none shall be alone at the end.
"""
_VIRTUAL: Final = ("tests/http/politeness/", "tests/simulation/")
"""Tests on a virtual clock: no limit of real time ends them."""
_PROMISES: Final = tuple((str(number),) for number in range(1, 13))
"""Arguments of the marker ``promise``."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files.

    Tests that share an id fail: xdist would run one of them, and nobody would notice. So do those
    with the number of no promise.
    """
    # Tens of thousands of objects that live as long as this process: no collection looks at them.
    gc.freeze()
    rank = {path: number for number, path in enumerate(_LONGEST)}
    items.sort(key=lambda item: rank.get(item.nodeid.partition("::")[0], len(rank)))
    times = Counter(item.nodeid for item in items)
    for item in items:
        # On a busy machine an hour of a virtual clock may take longer than any limit.
        if item.nodeid.startswith(_VIRTUAL):
            item.add_marker(pytest.mark.timeout(0))
        if times[item.nodeid] > 1:
            _fails(item, f"{times[item.nodeid]} tests have this id, and one of them might run")
        wrong = [mark.args for mark in item.iter_markers("promise") if mark.args not in _PROMISES]
        if wrong:
            _fails(item, f"a promise is a string from 1 to 12, and not {wrong}")


def _fails(item: pytest.Item, text: str) -> None:
    item.runtest = partial(pytest.fail, text, pytrace=False)  # type: ignore[method-assign]


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A running PostgreSQL; its ``postgres`` database."""
    with postgres_server() as url:
        yield url


@pytest.fixture(scope="session")
def migrated_postgres(postgres_url: str) -> str:
    """The name of a database at the program's schema, to be copied."""
    name = "pts_template"
    anyio.run(execute, postgres_url, f"CREATE DATABASE {name}")
    migrate_now(in_database(postgres_url, name))
    return name


@pytest.fixture(scope="session")
def make_postgres(
    postgres_url: str, migrated_postgres: str, tmp_path_factory: pytest.TempPathFactory
) -> MakeDatabase:
    """Makes fresh PostgreSQL databases at the program's schema."""
    return maker(in_database(postgres_url, migrated_postgres), tmp_path_factory)


@pytest.fixture
def postgresql_url(make_postgres: MakeDatabase, postgres_url: str) -> Iterator[str]:
    """A fresh PostgreSQL database, removed in the end."""
    url = make_postgres()
    yield url
    anyio.run(execute, postgres_url, f"DROP DATABASE {make_url(url).database} WITH (FORCE)")


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file at the program's schema, to be copied."""
    path = tmp_path_factory.mktemp("template") / "pts.db"
    migrate_now(f"sqlite:///{path}")
    return path


@pytest.fixture
def sqlite_url(migrated_sqlite: Path, tmp_path: Path) -> str:
    """A fresh SQLite file at the program's schema."""
    return copy_of(f"sqlite:///{migrated_sqlite}", tmp_path)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """The URL of a fresh database at the program's schema, on each database that we support."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url
