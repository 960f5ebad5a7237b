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
from typing import Final

from worker.errors import WorkerError

_LOOP_CLOSED: Final = "Event loop is closed"
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
    return "".join(_lines(error))


def _lines(error: BaseException) -> Iterator[str]:
    chain = list(_chain(error))
    for number, (link, text) in enumerate(reversed(chain)):
        if number:
            yield f"\n{text}\n\n"
        if link.__traceback__ is not None:
            yield "Traceback (most recent call last):\n"
            yield from traceback.format_tb(link.__traceback__)
        yield f"{describe(link)}\n"
        yield from _members(link)


def _members(error: BaseException) -> Iterator[str]:
    if not isinstance(error, BaseExceptionGroup):
        return
    for number, member in enumerate(error.exceptions[:_GROUP_MAX], 1):
        yield f"  ---- {number} of {len(error.exceptions)} ----\n"
        for text in _lines(member):
            yield from (f"  {line}" for line in text.splitlines(keepends=True))


def _chain(error: BaseException) -> Iterator[tuple[BaseException, str]]:
    """The exception and its causes, each with the text that separates it from the previous one."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen and len(seen) < _CHAIN_MAX:
        seen.add(id(link))
        is_cause = link.__cause__ is not None
        yield link, _CAUSE if is_cause else _CONTEXT
        link = link.__cause__ if is_cause or link.__suppress_context__ else link.__context__


def guard_hooks() -> None:
    """Make Python print uncaught exceptions without values.

    This covers the main thread, other threads, and exceptions that cannot be raised (in a
    finalizer or a callback from C).
    """
    sys.excepthook = lambda _kind, error, _traceback: _print(error)
    threading.excepthook = lambda args: _print_of_thread(args.exc_value)
    sys.unraisablehook = lambda args: _print(args.exc_value)


def _print_of_thread(error: BaseException | None) -> None:
    """Ignore a driver's thread that reports to a closed event loop."""
    if isinstance(error, RuntimeError) and str(error) == _LOOP_CLOSED:
        return
    _print(error)


def _print(error: BaseException | None) -> None:
    if error is None or isinstance(error, SystemExit) or sys.stderr is None:
        return
    try:
        sys.stderr.write(safe_traceback(error))
    except (OSError, ValueError):
        return
