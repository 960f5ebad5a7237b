"""What a run does not load, in a process of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
AS_STARTED = """
import sys
from worker.lean import without, without_orm
with without("rich"):
    import structlog
without_orm()
import worker.app, worker.use_cases.run_sync
"""


def told(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return done.stdout.strip()


@pytest.mark.parametrize(
    "name", ["rich", "click", "pydantic", "sqlalchemy.orm", "sqlalchemy.dialects.postgresql"]
)
def test_a_run_does_without(name):
    """Neither colours, nor httpx's command line, nor models, an ORM, or the other database."""
    assert "False" == told(f"{AS_STARTED}\nprint({name!r} in sys.modules)")


@pytest.mark.parametrize("name", ["rich", "click", "pydantic"])
def test_a_command_with_options_does_without(name):
    """Nor does reading them: Typer of 0.29 and later loads pydantic for the first value."""
    code = f"""
import sys
from worker.__main__ import main
sys.argv = ["pts-worker", "sync", "--config", "nowhere.toml", "--log-level", "INFO", "--wait", "1s"]
try:
    main()
except SystemExit as end:
    print(end.code, {name!r} in sys.modules)
"""
    assert "78 False" == told(code)


def test_sql_waits_until_a_command_needs_it():
    """Roster, logs and runtime do without SQLAlchemy, so that ``--help`` stays fast."""
    code = "import sys, worker.roster, worker.logs, worker.runtime, worker.ports, worker.config"
    assert "False" == told(f"{code}\nprint('sqlalchemy' in sys.modules)")


def test_who_asks_for_it_gets_it():
    """What was left out is there all the same, and what is not there is an ImportError."""
    code = f"""{AS_STARTED}
import rich, click
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine, engine
try:
    from sqlalchemy.ext.asyncio import nothing
except ImportError:
    print(AsyncSession.__name__, engine.create_async_engine is create_async_engine)
"""
    assert "AsyncSession True" == told(code)


def test_a_package_that_is_loaded_stays():
    """Nothing is taken from whoever has it."""
    code = """
import sys, rich, sqlalchemy.ext.asyncio as before
from worker.lean import without, without_orm
with without("rich"):
    import rich as inside
without_orm()
print(inside is rich, sys.modules["sqlalchemy.ext.asyncio"] is before)
"""
    assert "True True" == told(code)


def test_nobody_looks_for_garbage_while_a_command_is_loaded():
    """The collector would look at 80,000 objects for a few hundred of garbage."""
    code = """
import gc, sys
import worker.cli
from worker.__main__ import main
worker.cli.run = lambda _arguments: print(gc.get_threshold()[0])
try:
    main()
except SystemExit:
    pass
"""
    assert "200000" == told(code)


def test_a_command_at_work_is_looked_at_and_what_it_imported_is_not():
    """Garbage of a long run does not pile up."""
    code = """
import gc
from worker.cli.base import Cli
from worker.lean import leave_imports_be
leave_imports_be()
async def work():
    print(gc.get_threshold()[0], gc.get_freeze_count() > 10_000)
Cli({"as_json": False}).run(work)
"""
    assert "20000 True" == told(code)


def test_the_sandbox_is_looked_at_too(tmp_path):
    """It serves for days, on a loop of its own."""
    code = f"""
import gc, sys
import worker.sandbox.serve as serving
from worker.__main__ import main
serving.serve_forever = lambda *_: print(gc.get_threshold()[0])
sys.argv = ["pts-worker", "sandbox", "--folder", {str(tmp_path)!r}]
try:
    main()
except SystemExit:
    pass
"""
    assert "20000" == told(code)
