"""Logging setup: structlog and library logs, redacted, to standard error.

Types (``worker.core.identity``) and the logging code keep identifiers and tokens out of logs.
Redaction is the last line of defence: it masks text that looks like an identifier, a token or a
key. An exception is logged with class and frames only, a library's message with its template only.
"""

import logging
import os
import re
import sys
from collections.abc import Collection, Mapping
from typing import Any, Final, TextIO

import structlog
from structlog.typing import EventDict, WrappedLogger

from worker.core.display import visible, visible_lines
from worker.errors import describe, safe_traceback
from worker.masking import MASK, masked

_VALUE_START: Final = re.compile(r"""[\n<({\['"]""")
_SECRET_KEY: Final = re.compile(
    "(access_|subject_)?token|client_(assertion|secret)|authorization|dpop|proof|password|"
    "private_jwk|off_?id",
    re.IGNORECASE,
)
_EXCEPTION: Final = "exception"
_FIRST_KEYS: Final = ("timestamp", "level", "event")
_ELEVEN_DIGIT_NUMBERS: Final = range(10**10, 10**11)


def configure(
    level: str,
    log_format: str = "auto",
    stream: TextIO | None = None,
    *,
    hidden: Collection[str] = (),
) -> None:
    """Send all logs to one stream. A later call replaces the configuration.

    Args:
        level: ``DEBUG``, ``INFO``, ``WARNING`` or ``ERROR``, for the worker's own events.
        log_format: ``console``, ``json``, or ``auto``: console on a terminal, else JSON.
        stream: where to write. Default: the current ``sys.stderr`` at each event, because a
            progress bar replaces it while shown.
        hidden: events that are not written.
    """

    def without_hidden(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        if event["event"] in hidden:
            raise structlog.DropEvent
        return event

    is_terminal = (stream or sys.stderr).isatty()
    is_console = log_format == "console" or (log_format == "auto" and is_terminal)
    colours = is_terminal and not os.environ.get("NO_COLOR")
    level_number = logging.getLevelNamesMapping()[level]
    structlog.configure(
        processors=[
            without_hidden,
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _redact,
            structlog.dev.ConsoleRenderer(colors=colours, sort_keys=False)
            if is_console
            else structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
        logger_factory=lambda *_: structlog.PrintLogger(stream or sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(level_number),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    others = [handler for handler in root.handlers if not isinstance(handler, _LibraryHandler)]
    root.handlers = [*others, _LibraryHandler()]
    # At least WARNING, whatever the level. At DEBUG, aiosqlite and SQLAlchemy log parameters. At
    # INFO, httpx logs addresses, and APScheduler repeats the worker's own events.
    root.setLevel(max(level_number, logging.WARNING))
    logging.captureWarnings(capture=True)


class _LibraryHandler(logging.Handler):
    """Writes log records of libraries as events.

    The message is the template without arguments, cut where a value may start. asyncio, for
    example, formats the exception of a failed task into it.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        event = _VALUE_START.split(str(record.msg), maxsplit=1)[0].strip()
        error = record.exc_info[1] if record.exc_info else None
        structlog.get_logger().log(record.levelno, event, logger=record.name, exc_info=error)


def _redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    # structlog accepts an exception, True (the current one) or None.
    error = event.pop("exc_info", None)
    error = sys.exc_info()[1] if error is True else error
    if error is not None:
        event[_EXCEPTION] = safe_traceback(error).rstrip()
    first = {key: event[key] for key in _FIRST_KEYS if key in event}
    return {key: _redacted(value, key) for key, value in {**first, **event}.items()}


def _redacted(value: object, key: str = "") -> Any:
    """The value as JSON types, redacted at every level."""
    if value is None or isinstance(value, (bool, float)):
        return value
    # An identifier may be logged as a number, which ``masked`` does not see.
    if _SECRET_KEY.fullmatch(key) or (
        isinstance(value, int) and abs(value) in _ELEVEN_DIGIT_NUMBERS
    ):
        return MASK
    if isinstance(value, int):
        return int(value)
    if isinstance(value, Mapping):
        return {masked(str(name)): _redacted(item, str(name)) for name, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_redacted(item) for item in value]
    text = masked(describe(value) if isinstance(value, BaseException) else str(value))
    return visible_lines(text) if key == _EXCEPTION else visible(text)
