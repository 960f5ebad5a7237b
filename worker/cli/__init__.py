"""The command line: ``pts-worker COMMAND``.

``worker.cli.commands`` has a module for each command: its options, what it does and what it prints.
What it works with comes from ``worker.app``; a run is carried out by ``worker.cli.run_sync``.
"""

from worker.cli.main import run

__all__ = ["run"]
