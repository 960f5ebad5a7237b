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
"""``ExitCode.STOPPED``, which cannot be imported before the signal handlers are installed."""
_IMPORT_MACHINERY: Final = "<frozen importlib._bootstrap>"
"""The file name of the frames that import a module."""
_OWNER_ONLY: Final = 0o077
"""The umask: no other account can access new files, including those that libraries create."""


def main() -> None:
    """Run the command line and exit with its code."""
    open_streams()
    # A run installs its own handlers. Until then, and in all other commands, a stop signal must
    # also end with exit code 75. A container's first process would ignore it without a handler.
    for number in stop_signals():
        signal.signal(number, _stop)
        # Python restores the default handlers at exit. A late signal would then replace the exit
        # code.
        atexit.register(signal.signal, number, signal.SIG_IGN)
    _disable_core_dumps()
    os.umask(_OWNER_ONLY)
    from worker.cli import run  # noqa: PLC0415 - only after the signal handlers are installed
    from worker.errors import install_safe_hooks  # noqa: PLC0415 - as above

    install_safe_hooks()
    try:
        code = run(sys.argv[1:])
    except SystemExit as stopped:
        code = stopped.code if isinstance(stopped.code, int) else 1
    _exit_now(code)


def _exit_now(code: int) -> NoReturn:
    """Exit with this code, without waiting for threads.

    A slow query, read or name look-up continues in its thread, and a thread cannot be ended.
    Python, or the event loop's library, would wait for it. The command has already closed its
    files and connections.
    """
    for number in stop_signals():
        signal.signal(number, signal.SIG_IGN)
    flush_streams()
    os._exit(code)


def _disable_core_dumps() -> None:
    """Prevent core dumps, which would write identifiers and keys to a disk.

    The limit applies if the kernel writes a file. If the kernel pipes the core to a program, it
    ignores the limit (core(5)). So the process is also marked as not dumpable (PR_SET_DUMPABLE,
    prctl(2)).
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def _stop(number: int, frame: FrameType | None) -> None:
    if _is_loading(frame):
        os._exit(_STOPPED)
    # The second signal ends the process without cleaning up.
    for stop_signal in stop_signals():
        signal.signal(stop_signal, _end_at_once)
    if number == signal.SIGHUP:  # the kernel and the shell both send it, so two are one request
        signal.signal(number, signal.SIG_IGN)
    raise SystemExit(_STOPPED)


def _is_loading(frame: FrameType | None) -> bool:
    """Whether a module is being imported."""
    # An exception during an import may leave a class or an extension half initialised. Python 3.11
    # raises RuntimeError, and some extensions crash.
    while frame is not None and frame.f_code.co_filename != _IMPORT_MACHINERY:
        frame = frame.f_back
    return frame is not None


def _end_at_once(_number: int, _frame: FrameType | None) -> None:
    os._exit(_STOPPED)


if __name__ == "__main__":
    main()
