"""The command line: ``pts-worker COMMAND``. Each command is a thin caller of ``worker.app``."""

from worker.cli.main import run

__all__ = ["run"]
