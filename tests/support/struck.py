"""A process that calls the program and kills itself before its n-th change of certain files."""

import os
import signal
import sys
from typing import Any

from worker.cli import run

CHANGES = ("os.rename", "os.link", "os.remove", "os.chmod", "os.chown", "open")


def main() -> None:
    """Arguments: which change, from 1; with what the paths begin; the program's arguments."""
    left, prefix, *words = sys.argv[1:]
    changes = int(left)

    def watch(event: str, given: tuple[Any, ...]) -> None:
        nonlocal changes
        if event not in CHANGES or not str(given[0]).startswith(prefix):
            return
        if event == "open" and not given[2] & os.O_ACCMODE:
            return  # to die before a read is to die after a change
        changes -= 1
        if not changes:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    sys.exit(run(words))
