"""Tracebacks without values: where it happened and what kind of fault it was.

The text of an exception may hold whatever the code had at hand: a parameter of a statement, a
header with its token, a line of a body. No pattern finds a word of a payload in it. So an exception
is told by its class, its code if it has one, and its frames with their lines of source; in words
only an error of our own, whose message is made without values (``worker.errors``). Notes and local
variables never stand in it.
"""

import errno
import re
import sys
import threading
import traceback
from collections.abc import Iterator
from typing import Any, Final

from worker.errors import WorkerError

_LOOP_CLOSED: Final = "Event loop is closed"
_CHAIN_MAX: Final = 20
_GROUP_MAX: Final = 15
_CAUSE: Final = "The above exception was the direct cause of the following exception:"
_CONTEXT: Final = "During handling of the above exception, another exception occurred:"
_CODE: Final = re.compile(r"[A-Z0-9_]{1,60}")


def describe(error: BaseException) -> str:
    """One line: the class, and the message of an error of ours or the code of another's."""
    kind = type(error)
    name = kind.__qualname__
    if kind.__module__ not in {"builtins", "__main__"}:
        name = f"{kind.__module__}.{name}"
    words = _words(error)
    return f"{name}: {words}" if words else name


def _words(error: BaseException) -> str:
    """What may be said of it: our message, or what system or database call it; else nothing."""
    if isinstance(error, WorkerError):
        return error.message
    if isinstance(error, OSError) and error.errno is not None:
        return errno.errorcode.get(error.errno, str(error.errno))
    origin = getattr(error, "orig", None) or error  # SQLAlchemy's hold the driver's
    for name in ("sqlstate", "sqlite_errorname"):
        code = getattr(origin, name, None)
        if isinstance(code, str) and _CODE.fullmatch(code):
            return code
    return ""


def safe_traceback(error: BaseException) -> str:
    """The whole traceback as text, with causes and groups, in Python's own order."""
    return "".join(_lines(error))


def _lines(error: BaseException) -> Iterator[str]:
    chain = list(_chain(error))
    for number, (one, link) in enumerate(reversed(chain)):
        if number:
            yield f"\n{link}\n\n"
        if one.__traceback__ is not None:
            yield "Traceback (most recent call last):\n"
            yield from traceback.format_tb(one.__traceback__)
        yield f"{describe(one)}\n"
        yield from _members(one)


def _members(error: BaseException) -> Iterator[str]:
    if not isinstance(error, BaseExceptionGroup):
        return
    for number, one in enumerate(error.exceptions[:_GROUP_MAX], 1):
        yield f"  ---- {number} of {len(error.exceptions)} ----\n"
        for text in _lines(one):
            yield from (f"  {line}" for line in text.splitlines(keepends=True))


def documents(error: BaseException) -> list[dict[str, Any]]:
    """The same for a JSON log: the exception, then what it came from."""
    found: list[dict[str, Any]] = []
    for one, link in _chain(error):
        document: dict[str, Any] = {
            "exc_type": type(one).__name__,
            "exc_value": _words(one),
            "is_cause": link == _CAUSE,
            "frames": [
                {"filename": frame.filename, "lineno": frame.lineno, "name": frame.name}
                for frame in traceback.extract_tb(one.__traceback__)
            ],
        }
        if isinstance(one, BaseExceptionGroup):
            document["exceptions"] = [documents(member) for member in one.exceptions[:_GROUP_MAX]]
        found.append(document)
    return found


def _chain(error: BaseException) -> Iterator[tuple[BaseException, str]]:
    """The exception and what it came from, each with the words that lead on to the one before."""
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen and len(seen) < _CHAIN_MAX:
        seen.add(id(one))
        is_cause = one.__cause__ is not None
        yield one, _CAUSE if is_cause else _CONTEXT
        one = one.__cause__ if is_cause or one.__suppress_context__ else one.__context__


def guard_hooks() -> None:
    """Let what Python itself prints of exceptions hold no value either.

    Those are exceptions that nobody catches: in the main thread, in another one, or where they
    cannot be raised at all (a finalizer, a callback from C).
    """
    sys.excepthook = lambda _kind, error, _traceback: _print(error)
    threading.excepthook = lambda given: _print_of_thread(given.exc_value)
    sys.unraisablehook = lambda given: _print(given.exc_value)


def _print_of_thread(error: BaseException | None) -> None:
    """A driver's thread that reports to an event loop which has ended tells nobody anything."""
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
