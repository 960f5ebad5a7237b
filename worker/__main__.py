"""``python -m worker``, and the console script ``pts-worker``."""

import atexit
import ctypes
import os
import resource
import signal
import sys
from types import FrameType
from typing import Final, NoReturn

from worker.streams import flush_streams, open_streams, stop_signals

_PR_SET_DUMPABLE: Final = 4
_STOPPED: Final = 75
_IMPORTS: Final = "<frozen importlib._bootstrap>"
_OWNER_ALONE: Final = 0o077
"""Whatever is made, by a library too, is for nobody else."""


def main() -> None:
    """Run the command line and exit with its code."""
    open_streams()
    # A run listens for itself once it is on. Until then, and in all other commands, being stopped
    # has its code too; and as a container's first process we would not be stopped at all.
    for number in stop_signals():
        signal.signal(number, _stop)
        # Python's own end puts the default back, which would take the exit code's place.
        atexit.register(signal.signal, number, signal.SIG_IGN)
    _leave_no_core()
    os.umask(_OWNER_ALONE)
    from worker.cli import run  # noqa: PLC0415 - a signal is answered from here on
    from worker.errors import guard_hooks  # noqa: PLC0415 - as above

    guard_hooks()
    try:
        code = run(sys.argv[1:])
    except SystemExit as stopped:
        code = stopped.code if isinstance(stopped.code, int) else 1
    _leave(code)


def _leave(code: int) -> NoReturn:
    """Exit with this code, without the threads that a command has left behind.

    A query, a read or a look-up of a name that takes too long goes on in its thread, which nothing
    can end. Python, or the event loop's library, would wait for it. The command has closed and
    given back what it had.
    """
    for number in stop_signals():
        signal.signal(number, signal.SIG_IGN)
    flush_streams()
    os._exit(code)


def _leave_no_core() -> None:
    """Have no death write the memory, and so identifiers and keys, to a disk.

    The limit serves where the kernel writes a file. Where it pipes the core to a program the limit
    counts for nothing (core(5)), so the process is not dumpable either (PR_SET_DUMPABLE, prctl(2)).
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def _stop(number: int, frame: FrameType | None) -> None:
    if _is_loading(frame):
        os._exit(_STOPPED)
    for another in stop_signals():
        signal.signal(another, _end_at_once)
    if number == signal.SIGHUP:  # the kernel and the shell both send it
        signal.signal(number, signal.SIG_IGN)
    raise SystemExit(_STOPPED)


def _is_loading(frame: FrameType | None) -> bool:
    """Whether a module is being imported.

    An exception there may meet a class or an extension that is half made: Python 3.11 makes a
    RuntimeError of it, and some extensions crash.
    """
    while frame is not None and frame.f_code.co_filename != _IMPORTS:
        frame = frame.f_back
    return frame is not None


def _end_at_once(_number: int, _frame: FrameType | None) -> None:
    os._exit(_STOPPED)


if __name__ == "__main__":
    main()
