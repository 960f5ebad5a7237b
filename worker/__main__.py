"""``python -m worker``, and the console script ``pts-worker``."""

import gc
import signal
import sys
from types import FrameType


def main() -> None:
    """Run the command line and exit with its code."""
    # A run listens for itself once it is on. Until then, and in all other commands, being stopped
    # has its code too; and as a container's first process we would not be stopped at all.
    signal.signal(signal.SIGTERM, _stopped)
    gc.disable()  # until a command runs: imports leave nothing to collect, and looking takes long
    from worker.cli import run  # noqa: PLC0415 - so that importing this module costs nothing

    sys.exit(run(sys.argv[1:]))


def _stopped(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(75)


if __name__ == "__main__":
    main()
