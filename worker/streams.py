"""Standard streams and stop signals. An error of a stream does not end the process."""

import contextlib
import io
import os
import signal
import sys
import threading
from typing import Any, TextIO

_output_lost = threading.Event()


def is_output_lost() -> bool:
    """Whether writing to standard output failed, except to a reader that ended (``| head``)."""
    flush_streams()
    return _output_lost.is_set()


class _Output(io.FileIO):
    """A file descriptor for writing. A failed write does not end the command.

    After the first error, the descriptor is the null device. A reader that ended (``| head``) is
    not an error, a full disk is (``is_output_lost``).
    """

    def write(self, data: Any, /) -> int:
        """Write, or drop the data if that fails."""
        try:
            return super().write(data)
        except OSError as error:
            # A run continues without its output, because its result is in the database.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())
            if self.fileno() == 1 and not isinstance(error, BrokenPipeError):
                _output_lost.set()
                sys.stderr.write(
                    f"pts-worker: standard output cannot be written: {error.strerror}\n"
                    "  → free disk space or use another file, and run the command again\n"
                )
            return memoryview(data).nbytes


def open_streams() -> None:
    """Make descriptors 0, 1 and 2 usable. Call it before any file is opened.

    If one is closed, the next opened file would get its number and receive the output.
    """
    for descriptor in (0, 1, 2):
        try:
            # Another process may have made the shared descriptor non-blocking. Writes would fail.
            os.set_blocking(descriptor, True)
        except OSError:  # it is closed, and `open` takes the lowest free number, which is this one
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # noqa: FBT003 - no keyword
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - a number
    sys.stdout = _writer(1, sys.stdout, lines=os.isatty(1))
    sys.stderr = _writer(2, sys.stderr, lines=True)


def flush_streams() -> None:
    """Flush standard output and standard error."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()


def _writer(descriptor: int, stream: TextIO | None, *, lines: bool) -> TextIO:
    return io.TextIOWrapper(
        io.BufferedWriter(_Output(descriptor, "wb", closefd=False)),
        encoding=stream.encoding if stream is not None else "utf-8",
        errors="backslashreplace",
        line_buffering=lines,
    )


def stop_signals() -> tuple[signal.Signals, ...]:
    """The stop signals: SIGTERM, SIGINT and SIGHUP (a closed terminal).

    SIGHUP is omitted if it is ignored, because a command under nohup(1) outlives its terminal.
    """
    is_ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    return (signal.SIGTERM, signal.SIGINT, *(() if is_ignored else (signal.SIGHUP,)))
