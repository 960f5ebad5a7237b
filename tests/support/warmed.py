"""Loads what runs and most commands load. The fork server alone imports this (``forked.py``)."""

import gc
from importlib import import_module

from worker.cli import COMMANDS

for name in (
    "alembic.command",
    "asyncpg",
    "sqlalchemy.dialects.postgresql.asyncpg",
    "sqlalchemy.dialects.sqlite.aiosqlite",
    "uvloop",
    "worker.sandbox.serve",
    "worker.cli.checks",
    "worker.cli.openapi",
    "worker.cli.live_answers",
    "worker.scheduler",
    "worker.telemetry",
    "worker.cli.run_command",
    "worker.report.export",
    "worker.report.page",
    *(f"worker.cli.commands.{name}" for name in COMMANDS),
):
    import_module(name)
gc.freeze()
