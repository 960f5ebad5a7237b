"""What a process has from outside: standard streams of which none ends it early, and signals."""

import contextlib
import io
import os
import select
import signal
import stat
import sys
import threading
from typing import Any, Final, TextIO

_STANDARD: Final = (0, 1, 2)
_LOOKS: Final = 8
_LOOK_S: Final = 0.25
_ATOMIC_BYTES: Final = 4_096
"""A pipe that can be written to takes so much without blocking (PIPE_BUF of Linux, pipe(7))."""
_stop_requested = threading.Event()
_output_lost = threading.Event()
_output_closed = threading.Event()
"""Standard output was closed when the process began."""


def stop_waiting() -> None:
    """From now on wait for no reader longer than two seconds, on standard output neither."""
    _stop_requested.set()


def is_output_lost() -> bool:
    """Whether standard output could not be written, and not because its reader went away."""
    flush_streams()
    return _output_lost.is_set()


def write_last_line(text: str) -> None:
    """Write a line to standard error past all buffers and locks, if it can be written at once."""
    with contextlib.suppress(OSError):
        if select.select([], [2], [], 0)[1]:
            os.write(2, text.encode()[:_ATOMIC_BYTES])


class _Output(io.FileIO):
    """A descriptor to write to. A write that fails does not end what a command does.

    After the first error the descriptor is the null device. A reader that went away is no news
    (``| head``); a full disk is (``is_output_lost``).

    A reader that stands still (a log collector that hangs) must not keep a run from ending: what
    standard error cannot take within two seconds is lost, and more at once until it takes something
    again. Standard output waits for its reader (``| less``) until a stop is requested.
    """

    def __init__(self, number: int, mode: str, *, closefd: bool) -> None:
        super().__init__(number, mode, closefd=closefd)
        kind = os.fstat(number).st_mode
        self._can_block = stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind) or stat.S_ISCHR(kind)
        self._is_patient = number == 1 or stat.S_ISCHR(kind)
        self._lost_bytes = 0

    def write(self, data: Any, /) -> int:
        """Write, or drop what cannot be written."""
        size = memoryview(data).nbytes
        if self.fileno() == 1 and _output_closed.is_set() and not _output_lost.is_set():
            _report_loss("it is closed")
        try:
            if not self._can_block:
                return super().write(data)
            if not self._is_ready():
                self._lost_bytes += size
                return size
            if self._lost_bytes:
                notice = f"\npts-worker: {self._lost_bytes} bytes were lost: nobody read them\n"
                self._lost_bytes = 0
                super().write(notice.encode())
                return 0
            return super().write(memoryview(data).cast("B")[:_ATOMIC_BYTES])
        except OSError as error:
            number = self.fileno()
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)
            if number == 1 and not isinstance(error, BrokenPipeError):
                _report_loss(error.strerror or type(error).__name__)
            return size

    def _is_ready(self) -> bool:
        """Whether something can be written now, after waiting as long as is right."""
        looks = 0 if self._lost_bytes else _LOOKS
        while not select.select([], [self.fileno()], [], _LOOK_S if looks else 0)[1]:
            if self._is_patient and not _stop_requested.is_set():
                continue
            if not looks:
                return False
            looks -= 1
        return True


def _report_loss(reason: str) -> None:
    _output_lost.set()
    sys.stderr.write(
        f"pts-worker: standard output cannot be written: {reason}\n"
        "  → make room or name another file, and run it again\n"
    )


def open_streams() -> None:
    """Make 0, 1 and 2 usable. Call it before anything else opens a file, which would be one."""
    for number in _STANDARD:
        try:
            os.fstat(number)
        except OSError:
            if number == 1:
                _output_closed.set()
            # The lowest free number is the one that is missing.
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
    if before is not None:
        with contextlib.suppress(OSError):
            before.flush()
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
