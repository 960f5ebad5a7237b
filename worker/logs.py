"""Logging setup: structlog and library logs, redacted, to standard error.

Types (``worker.core.identity``) and the logging code keep identifiers and tokens out of logs.
Exceptions are logged without their text (``worker.tracebacks``), library messages without their
arguments. Redaction is the last line of defence: it masks text that looks like an identifier, a
token or a key.
"""

import logging
import os
import re
import sys
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any, Final, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from worker import tracebacks
from worker.core.escaping import visible, visible_lines
from worker.masking import MASK, masked

_COMPLETE_MESSAGES: Final = ("worker", "py.warnings", "apscheduler")
_VALUE_START: Final = re.compile(r"""[\n<({\['"]""")

_SECRET_KEYS: Final = frozenset(
    {
        "access_token",
        "authorization",
        "client_assertion",
        "client_secret",
        "dpop",
        "off_id",
        "offid",
        "password",
        "private_jwk",
        "proof",
        "subject_token",
        "token",
    }
)
_MULTILINE_KEYS: Final = frozenset({"exception", "stack"})
_FIRST: Final = ("timestamp", "level", "event")
_ELEVEN_DIGITS: Final = range(10**10, 10**11)


def redact(text: str) -> str:
    """Mask everything that looks like an identifier, token, key or password."""
    return visible_lines(masked(text))


def redact_value(value: object) -> Any:
    """The value as JSON types, redacted at every level."""
    if value is None or isinstance(value, (bool, float)):
        return value
    if isinstance(value, str):
        return redact(str(value))
    if isinstance(value, int):
        return MASK if abs(value) in _ELEVEN_DIGITS else int(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"<{len(value)} bytes>"
    if isinstance(value, Mapping):
        return {redact(str(key)): _redact_member(str(key), item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [redact_value(item) for item in value]
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    return redact(tracebacks.describe(value) if isinstance(value, BaseException) else repr(value))


def _redact_member(key: str, value: object) -> Any:
    if key.lower() in _SECRET_KEYS and value is not None:
        return MASK
    redacted = redact_value(value)
    is_one_line = isinstance(redacted, str) and key not in _MULTILINE_KEYS
    return visible(redacted) if is_one_line else redacted


def configure(level: str, log_format: str = "auto", stream: TextIO | None = None) -> None:
    """Send all logs to one stream. A later call replaces the configuration.

    Args:
        level: ``DEBUG``, ``INFO``, ``WARNING`` or ``ERROR``, for the worker's own events.
        log_format: ``console``, ``json``, or ``auto``: console on a terminal, else JSON.
        stream: where to write. Default: the current ``sys.stderr`` at each event, because a
            progress bar replaces it while shown.
    """
    terminal = (sys.stderr if stream is None else stream).isatty()
    console = log_format == "console" or (log_format == "auto" and terminal)
    colours = terminal and not os.environ.get("NO_COLOR")
    render = (
        structlog.dev.ConsoleRenderer(colors=colours, sort_keys=False)
        if console
        else structlog.processors.JSONRenderer(ensure_ascii=False)
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_shared_processors(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = _Handler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[_cut_library_message, *_shared_processors()],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.ExceptionRenderer(
                    lambda info: tracebacks.safe_traceback(info[1]).rstrip()
                ),
                _redact_event,
                render,
            ],
        )
    )
    _set_levels(handler, logging.getLevelNamesMapping()[level.upper()])


class _Handler(logging.StreamHandler[TextIO]):
    """A handler that reports a lost event without printing its content."""

    def __init__(self, stream: TextIO | None) -> None:
        logging.Handler.__init__(self)
        self._stream = stream

    @property
    def stream(self) -> TextIO:  # type: ignore[override]  # as logging's lastResort handler does
        """The stream to write to."""
        return sys.stderr if self._stream is None else self._stream

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 -- logging's name
        """Report that an event was lost and where it was logged."""
        kind = sys.exc_info()[0]
        name = kind.__name__ if kind else "unknown error"
        try:
            self.stream.write(f"log event lost: {name} ({record.name}:{record.lineno})\n")
        except (OSError, ValueError):
            return


def _set_levels(handler: logging.Handler, level: int) -> None:
    root = logging.getLogger()
    for old in root.handlers[:]:
        if isinstance(old, _Handler):
            root.removeHandler(old)
    root.addHandler(handler)
    # Libraries from WARNING, whatever the level: at DEBUG, aiosqlite and SQLAlchemy's engine log
    # parameters; at INFO, httpx logs addresses and APScheduler what the events say.
    root.setLevel(max(level, logging.WARNING))
    logging.getLogger("worker").setLevel(level)
    logging.captureWarnings(capture=True)


def _shared_processors() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]


def _cut_library_message(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Keep only the template of a library's message, without its arguments.

    A message that was formatted before logging is cut where a value may start: asyncio, for
    example, formats the exception of a failed task.
    """
    record: logging.LogRecord = event["_record"]
    if not record.name.startswith(_COMPLETE_MESSAGES):
        event["event"] = _VALUE_START.split(str(record.msg), maxsplit=1)[0].strip()
    return event


def _redact_event(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    first = [key for key in _FIRST if key in event]
    keys = [*first, *(key for key in event if key not in first)]
    return {str(key): _redact_member(str(key), event[key]) for key in keys}
