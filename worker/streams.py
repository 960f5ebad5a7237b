"""The standard streams: closed ones are opened, and none of them decides an exit code."""

import contextlib
import io
import os
import sys
from typing import Any, Final, TextIO

_STANDARD: Final = (0, 1, 2)


class _Output(io.FileIO):
    """A descriptor to write to. What a command did decides its exit code, not who reads of it.

    After the first error the descriptor is the null device. A reader that went away is no news
    (``| head``); a full disk is.
    """

    def write(self, data: Any, /) -> int:
        """Write, or drop what cannot be written."""
        try:
            return super().write(data)
        except OSError as error:
            number = self.fileno()
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)
            if number == 1 and not isinstance(error, BrokenPipeError):
                reason = error.strerror or type(error).__name__
                sys.stderr.write(f"pts-worker: standard output cannot be written: {reason}\n")
            return memoryview(data).nbytes


def open_streams() -> None:
    """Make 0, 1 and 2 usable. Call it before anything else opens a file, which would be one."""
    for number in _STANDARD:
        try:
            os.fstat(number)
        except OSError:
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
