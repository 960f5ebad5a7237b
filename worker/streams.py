"""What a process has from outside: standard streams, none of which ends it early, and signals."""

import contextlib
import io
import os
import signal
import sys
import threading
from typing import Any, Final, TextIO

_STANDARD: Final = (0, 1, 2)
_output_lost = threading.Event()


def is_output_lost() -> bool:
    """Whether standard output could not be written, and not because its reader went away."""
    flush_streams()
    return _output_lost.is_set()


class _Output(io.FileIO):
    """A descriptor to write to. A write that fails does not end what a command does.

    After the first error the descriptor is the null device. A reader that went away is no news
    (``| head``); a full disk is (``is_output_lost``).
    """

    def write(self, data: Any, /) -> int:
        """Write, or drop what cannot be written."""
        try:
            return super().write(data)
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())
            if self.fileno() == 1 and not isinstance(error, BrokenPipeError):
                _output_lost.set()
                sys.stderr.write(
                    f"pts-worker: standard output cannot be written: {error.strerror}\n"
                    "  → make room or name another file, and run it again\n"
                )
            return memoryview(data).nbytes


def open_streams() -> None:
    """Make 0, 1 and 2 usable. Call it before anything else opens a file, which would be one."""
    for number in _STANDARD:
        try:
            # The reader may have made it non-blocking for us too; then a write would fail.
            os.set_blocking(number, True)
        except OSError:  # it is closed, and the lowest free number
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # noqa: FBT003 - no keyword
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - a number
    sys.stdout = _writer(1, sys.stdout, lines=os.isatty(1))
    sys.stderr = _writer(2, sys.stderr, lines=True)


def flush_streams() -> None:
    """Write out what standard output and standard error still hold."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()


def _writer(number: int, before: TextIO | None, *, lines: bool) -> TextIO:
    return io.TextIOWrapper(
        io.BufferedWriter(_Output(number, "wb", closefd=False)),
        encoding=before.encoding if before is not None else "utf-8",
        errors="backslashreplace",
        line_buffering=lines,
    )


def stop_signals() -> tuple[signal.Signals, ...]:
    """The signals that ask for a stop: SIGTERM, SIGINT and, of a closed terminal, SIGHUP.

    SIGHUP is left out if it is ignored: a command under nohup(1) outlives its terminal.
    """
    is_ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    return (signal.SIGTERM, signal.SIGINT, *(() if is_ignored else (signal.SIGHUP,)))
