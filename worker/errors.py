"""Every error of the worker, and the exit code that each ends a run with.

::

    WorkerError(message, hint)
    ├── UsageError              2   the call is wrong
    ├── LeaseHeldError          4   another run is on; nothing was done
    ├── WithheldError           5   a guard held the run back
    ├── DataContractError      65   the roster or PTS's answers cannot be understood
    │   └── RosterError
    ├── UnavailableError       69   HelseID, PTS or the database, after all retries
    ├── StoppedError           75   asked to stop, deadline, or the lease was lost
    │   └── LeaseLostError
    ├── RefusedError           77   HelseID or PTS denies this client
    ├── ConfigurationError     78   stop and fix
    │   └── SchemaError             the database is behind or ahead of the program
    └── AreaError               -   one person's one area; never ends a run
        ├── TransientError          retried, then a gap
        │   └── StaleConnectionError    a kept connection had been closed; repeated at once
        ├── RejectedError           PTS says no to this request
        ├── DeniedError             PTS says no to this client
        ├── ContractError           the answer is not what it must be
        └── PagingError             the answer cannot be read to its end

Messages say what is wrong and where (file and line, key, field); ``hint`` says what to do. Neither
ever holds a personal value, a token, a key or a response body.
"""

import enum
from collections.abc import Sequence


class ExitCode(enum.IntEnum):
    """The exit codes that cron lines, units and manifests rely on (README, "Exit codes")."""

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


class WorkerError(Exception):
    """Something went wrong that the worker knows how to name.

    Attributes:
        message: what is wrong and where.
        hint: what the reader can do about it; may be empty.
    """

    exit_code: ExitCode = ExitCode.BUG

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(WorkerError):
    """The command was called wrongly."""

    exit_code = ExitCode.USAGE


class LeaseHeldError(WorkerError):
    """Another run holds the lease; nothing was done."""

    exit_code = ExitCode.LEASE_HELD


class WithheldError(WorkerError):
    """A guard held the run back: the last published state stands."""

    exit_code = ExitCode.WITHHELD


class DataContractError(WorkerError):
    """What we read is not in a shape that we understand, as a whole and not for one person."""

    exit_code = ExitCode.DATA_CONTRACT


class RosterError(DataContractError):
    """The roster cannot be read: no file, no such column, not one identifier."""


class UnavailableError(WorkerError):
    """HelseID, PTS or the database is unavailable after all retries."""

    exit_code = ExitCode.UNAVAILABLE


class StoppedError(WorkerError):
    """The run was stopped on request or by its deadline; what was read is kept."""

    exit_code = ExitCode.STOPPED


class LeaseLostError(StoppedError):
    """Another holder took the lease over; this process may not write any more."""


class RefusedError(WorkerError):
    """HelseID or PTS denies this client.

    Attributes:
        code: the error code that the service gave, e.g. ``invalid_client``; may be empty.
    """

    exit_code = ExitCode.REFUSED

    def __init__(self, message: str, *, code: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.code = code


class ConfigurationError(WorkerError):
    """The configuration cannot be used.

    Attributes:
        problems: one line for each fault, each naming its key.
    """

    exit_code = ExitCode.CONFIGURATION

    def __init__(self, message: str, *, problems: Sequence[str] = (), hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.problems = tuple(problems)


class SchemaError(ConfigurationError):
    """The database's schema is behind or ahead of the program."""


class AreaError(WorkerError):
    """One person's one area could not be read; the run goes on and the old state stands.

    Attributes:
        status: the HTTP status that was answered, if one was.
        attempts: HTTP attempts made for the area; whoever reads the area to its end sets it.
    """

    def __init__(self, message: str, *, status: int | None = None, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.attempts = 0


class TransientError(AreaError):
    """A failure that another attempt may cure: time-out, lost connection, 429, 5xx."""


class StaleConnectionError(TransientError):
    """A connection that was kept had been closed by the other side before any byte of an answer.

    It says nothing about the service: every server closes idle connections at some time.
    """


class RejectedError(AreaError):
    """PTS said no to this request, and would again."""


class DeniedError(AreaError):
    """PTS denies this client (401 or 403), with a fresh token and proof."""


class ContractError(AreaError):
    """The answer is not recognisably a list of this person's restrictions.

    Attributes:
        field: the place of the fault, as a path such as ``[2].confidentialityCode``; may be empty.
    """

    def __init__(self, message: str, *, field: str = "", status: int | None = None) -> None:
        super().__init__(f"{message} (at {field})" if field else message, status=status)
        self.field = field


class PagingError(AreaError):
    """The answer cannot be read to its end: a loop, a wrong total, an unknown continuation."""
