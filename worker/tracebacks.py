"""Tracebacks without values, safe for logs and bug reports.

The text of an exception may contain values: a statement's parameter, a header with its token, a
part of a body. No pattern can find all of them. So a traceback shows an exception's class, its
error code if it has one, and its frames with source lines. It shows a message only for a
``WorkerError``, whose messages contain no values. It never shows notes or local variables.
"""

import errno
import re
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import suppress
from textwrap import indent
from typing import Final

from worker.errors import WorkerError

_LOOP_CLOSED: Final = "Event loop is closed"
"""What a thread of aiosqlite reports after a file that could not be opened."""
_CHAIN_MAX: Final = 20
_GROUP_MAX: Final = 15
_CAUSE: Final = "The above exception was the direct cause of the following exception:"
_CONTEXT: Final = "During handling of the above exception, another exception occurred:"
_CODE: Final = re.compile(r"[A-Z0-9_]{1,60}")


def describe(error: BaseException) -> str:
    """One line: the class, with the message of a ``WorkerError`` or an error code."""
    kind = type(error)
    name = kind.__qualname__
    if kind.__module__ not in {"builtins", "__main__"}:
        name = f"{kind.__module__}.{name}"
    detail = _detail(error)
    return f"{name}: {detail}" if detail else name


def _detail(error: BaseException) -> str:
    """The message of a ``WorkerError``, or the code of a system or database error; else empty."""
    if isinstance(error, WorkerError):
        return error.message
    if isinstance(error, OSError) and error.errno is not None:
        return errno.errorcode.get(error.errno, str(error.errno))
    origin = getattr(error, "orig", None) or error  # SQLAlchemy wraps the driver's error
    for name in ("sqlstate", "sqlite_errorname"):
        code = getattr(origin, name, None)
        if isinstance(code, str) and _CODE.fullmatch(code):
            return code
    return ""


def safe_traceback(error: BaseException) -> str:
    """The complete traceback as text, with causes and groups, in Python's order."""
    return "".join(_lines(error, []))


def _lines(error: BaseException, later: list[BaseException]) -> Iterator[str]:
    """The lines of an exception, and before them of what it came from.

    Args:
        later: the exceptions that came from this one.
    """
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    chain = [*later, error]
    if before is not None and before not in chain and len(chain) < _CHAIN_MAX:
        yield from _lines(before, chain)
        yield f"\n{_CAUSE if error.__cause__ else _CONTEXT}\n\n"
    if error.__traceback__ is not None:
        yield "Traceback (most recent call last):\n"
        yield from traceback.format_tb(error.__traceback__)
    yield f"{describe(error)}\n"
    members = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    for number, member in enumerate(members[:_GROUP_MAX], 1):
        yield f"  ---- {number} of {len(members)} ----\n"
        yield indent("".join(_lines(member, chain)), "  ")


def guard_hooks() -> None:
    """Make Python print uncaught exceptions without values.

    This covers the main thread, other threads, and exceptions that cannot be raised (in a
    finalizer or a callback from C).
    """
    sys.excepthook = lambda _kind, error, _traceback: _print(error)
    threading.excepthook = lambda args: _print(args.exc_value)
    sys.unraisablehook = lambda args: _print(args.exc_value)


def _print(error: BaseException | None) -> None:
    if error is None or isinstance(error, SystemExit) or sys.stderr is None:
        return
    if isinstance(error, RuntimeError) and str(error) == _LOOP_CLOSED:
        return
    with suppress(OSError, ValueError):
        sys.stderr.write(safe_traceback(error))
