"""The command line: ``pts-worker COMMAND``. Each command is a thin caller.

``worker.cli.commands`` declares the commands; a module of the same name here runs them.

What it works with comes from ``worker.app``; a run is carried out by ``worker.use_cases.run_sync``.
"""

from worker.cli.main import run

__all__ = ["run"]
