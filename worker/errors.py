"""The worker's errors and their exit codes, and tracebacks without values.

A message names the problem and its place (file and line, key, field), and ``hint`` the remedy.
Neither contains a personal value, a token, a key or a response body. Errors are printed, logged and
stored as the run's reason, so their texts are masked: a path typed by mistake can be an identifier.

The text of any other exception may contain values: a statement's parameter, a header with a token,
a part of a body. No pattern finds all of them, so such a text is never shown.
"""

import enum
import errno
import re
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Final

from worker.masking import masked

_CODE: Final = re.compile(r"[A-Z0-9_]{1,60}")
_EXCEPTIONS_MAX: Final = 30
"""Maximum number of exceptions in one traceback. Groups and chains can have thousands."""
_LOOP_CLOSED: Final = "Event loop is closed"
"""Raised in aiosqlite's thread if a file could not be opened. Not printed."""


def reason_of(error: OSError) -> str:
    """The system's description of an error, without the file name."""
    return (error.strerror or type(error).__name__).lower()


class ExitCode(enum.IntEnum):
    """Exit codes, part of the public interface (docs/reference/exit-codes.md)."""

    OK = 0
    USAGE = 2
    GAPS = 3
    LEASE_HELD = 4
    WITHHELD = 5
    DATA_CONTRACT = 65
    UNAVAILABLE = 69
    BUG = 70
    STOPPED = 75
    REFUSED = 77
    CONFIGURATION = 78


class FailureKind(enum.StrEnum):
    """Why an area could not be read."""

    TRANSIENT = "transient"
    """Time-outs, lost connections, 429 and 5xx after all retries."""
    REJECTED = "rejected"
    """PTS rejected this request with a 4xx status."""
    REFUSED = "refused"
    """PTS denies this client (401 or 403), with a new token and DPoP proof."""
    CONTRACT = "contract"
    """The answer is not as the contract declares it."""
    PAGING = "paging"
    """The pages could not be read to the last one."""
    UNSTABLE = "unstable"
    """Two complete reads contradict each other, or do not prove the removal that they show."""


class WorkerError(Exception):
    """Base class of all expected errors.

    Attributes:
        message: the problem and its place, without identifiers.
        hint: the remedy, without identifiers. May be empty.
        problems: several problems, each as a line with its remedy. ``message`` includes them.
        kind: the kind of failure, if an area could not be read.
        retry_after_s: the service's ``Retry-After`` in seconds.
    """

    exit_code: ExitCode = ExitCode.BUG
    kind = FailureKind.CONTRACT
    retry_after_s = 0.0
    problems: Sequence[str] = ()

    def __init__(self, message: str, *, hint: str = "") -> None:
        self.message = masked(message)
        self.hint = masked(hint)
        super().__init__(self.message)

    @property
    def advice(self) -> str:
        """The message with its remedy."""
        return " → ".join(filter(None, (self.message, self.hint)))


class UsageError(WorkerError):
    """Wrong usage of a command."""

    exit_code = ExitCode.USAGE


class LeaseHeldError(WorkerError):
    """Another run has the lease. Nothing was done."""

    exit_code = ExitCode.LEASE_HELD


class WithheldError(WorkerError):
    """The guard withheld the run. The last published state remains.

    Attributes:
        facts: the guard's counts, as JSON.
    """

    exit_code = ExitCode.WITHHELD

    def __init__(self, message: str, *, hint: str = "", facts: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.facts = facts


class DataContractError(WorkerError):
    """Input has an unknown format, for all persons and not just for one."""

    exit_code = ExitCode.DATA_CONTRACT


class RosterError(DataContractError):
    """The roster cannot be read, or has no column ``off_id`` or no identifier."""


class UnavailableError(WorkerError):
    """HelseID, PTS or the database is unavailable after all retries."""

    exit_code = ExitCode.UNAVAILABLE
    kind = FailureKind.TRANSIENT


class StoppedError(WorkerError):
    """The run was stopped on request or by its deadline. Completed reads are kept."""

    exit_code = ExitCode.STOPPED


class LeaseLostError(StoppedError):
    """Another process took over the lease. This process must not write any more."""


class RefusedError(WorkerError):
    """HelseID or PTS denies this client.

    Attributes:
        code: the service's error code, e.g. ``invalid_client``. May be empty.
    """

    exit_code = ExitCode.REFUSED
    kind = FailureKind.REFUSED

    def __init__(self, message: str, *, code: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.code = code


class ConfigurationError(WorkerError):
    """The configuration is invalid."""

    exit_code = ExitCode.CONFIGURATION

    def __init__(self, message: str, *, problems: Sequence[str] = (), hint: str = "") -> None:
        # Further lines of a problem are indented below its dash.
        nested = (problem.replace("\n", "\n  ") for problem in problems)
        super().__init__("\n  - ".join([message, *nested]), hint=hint)
        self.problems = tuple(map(masked, problems))


class FlagError(ConfigurationError):
    """A configuration value on the command line cannot be used."""

    exit_code = ExitCode.USAGE


class AreaError(WorkerError):
    """One area of one person could not be read. The run continues. The area keeps its last state.

    Attributes:
        status: the HTTP status, if there was a response.
        attempts: HTTP attempts for the area, set by ``PtsReader.read``.
    """

    def __init__(self, message: str, *, status: int | None = None, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.attempts = 0


class TransientError(AreaError):
    """A failure that a retry may resolve: time-out, lost connection, 429, 5xx."""

    kind = FailureKind.TRANSIENT


class LateError(TransientError):
    """No connection or no complete response in time. An immediate retry may take as long."""


class HostNameError(TransientError):
    """The host name cannot be resolved. This cannot be caused by one person."""


class NotRequestedError(AreaError):
    """No request was sent: the area was given up, or this person's ``Retry-After`` is running."""

    def __init__(self, message: str, kind: FailureKind) -> None:
        super().__init__(f"not requested: {message}")
        self.kind = kind


class RejectedError(AreaError):
    """PTS rejects this request. A retry would not help."""

    kind = FailureKind.REJECTED


class DeniedError(AreaError):
    """PTS denies this client (401 or 403), even with a new token and DPoP proof."""

    kind = FailureKind.REFUSED


class ContractError(AreaError):
    """The response is not recognised as a list of this person's restrictions.

    Attributes:
        field: path of the invalid field, e.g. ``[2].confidentialityCode``. May be empty.
    """

    def __init__(self, message: str, *, field: str = "", status: int | None = None) -> None:
        super().__init__(f"{message} (at {field})" if field else message, status=status)
        self.field = field
        self._problem = message

    def inside(self, where: str) -> "ContractError":
        """The error with the path of the enclosing element before its field."""
        return ContractError(self._problem, field=".".join(filter(None, (where, self.field))))


class PagingError(AreaError):
    """The pages cannot be read to the end: a loop, a wrong total or an unknown continuation."""

    kind = FailureKind.PAGING


class UnstableError(AreaError):
    """Two complete reads contradict each other."""

    kind = FailureKind.UNSTABLE


def describe(error: BaseException) -> str:
    """One line: the class, with the message of a ``WorkerError`` or an error code."""
    error_class = type(error)
    name = error_class.__qualname__
    if error_class.__module__ not in {"builtins", "__main__"}:
        name = f"{error_class.__module__}.{name}"
    detail = _detail(error)
    return f"{name}: {detail}" if detail else name


def _detail(error: BaseException) -> str:
    """The message of a ``WorkerError``, or the code of a system or database error. Else empty."""
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
    """The traceback of an exception, after those of its causes. A group's members follow."""
    lines: list[str] = []
    for related in _related(error, set()):
        # A frame has the source line, never a value.
        frames = traceback.format_tb(related.__traceback__)
        lines += ["Traceback (most recent call last):\n", *frames, f"{describe(related)}\n"]
    return "".join(lines)


def _related(error: BaseException | None, seen: set[int]) -> Iterator[BaseException]:
    # ``seen`` also ends a cycle: an exception can be its own indirect cause.
    if error is not None and id(error) not in seen and len(seen) < _EXCEPTIONS_MAX:
        seen.add(id(error))
        # `raise … from None` hides the context, as in Python's own tracebacks.
        context = None if error.__suppress_context__ else error.__context__
        yield from _related(error.__cause__ or context, seen)
        yield error
        for member in error.exceptions if isinstance(error, BaseExceptionGroup) else ():
            yield from _related(member, seen)


def install_safe_hooks() -> None:
    """Make Python print uncaught exceptions without values.

    This covers the main thread, other threads, and exceptions that cannot be raised (in a
    finalizer or a callback from C).
    """
    sys.excepthook = lambda _kind, error, _traceback: _print(error)
    threading.excepthook = lambda args: _print(args.exc_value)
    sys.unraisablehook = lambda args: _print(args.exc_value)


def _print(error: BaseException | None) -> None:
    # Without a descriptor 2, ``sys.stderr`` is None.
    if error is None or isinstance(error, SystemExit) or sys.stderr is None:
        return
    if isinstance(error, RuntimeError) and str(error) == _LOOP_CLOSED:
        return
    with suppress(OSError, ValueError):
        sys.stderr.write(safe_traceback(error))
