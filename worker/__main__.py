"""``python -m worker``, and the console script ``pts-worker``."""

import ctypes
import os
import resource
import signal
import sys
from types import FrameType
from typing import Final

from worker.cli import run
from worker.tracebacks import guard_hooks

_PR_SET_DUMPABLE: Final = 4
_OWNER_ALONE: Final = 0o077
"""Whatever is made, by a library too, is for nobody else."""


def main() -> None:
    """Run the command line and exit with its code."""
    # A run listens for itself once it is on. Until then, and in all other commands, being stopped
    # has its code too; and as a container's first process we would not be stopped at all.
    signal.signal(signal.SIGTERM, _stopped)
    _leave_no_core()
    os.umask(_OWNER_ALONE)
    guard_hooks()
    sys.exit(run(sys.argv[1:]))


def _leave_no_core() -> None:
    """Have no death write the memory, and so identifiers and keys, to a disk.

    The limit serves where the kernel writes a file. Where it pipes the core to a program the limit
    counts for nothing (core(5)), so the process is not dumpable either (PR_SET_DUMPABLE, prctl(2)).
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def _stopped(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(75)


if __name__ == "__main__":
    main()
