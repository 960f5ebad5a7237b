"""Results on standard output, errors on standard error or as a document."""

import contextlib
import io
import sys
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from shutil import get_terminal_size
from textwrap import fill
from typing import Any, Final, Literal, TextIO

import orjson

from worker.cli.notify import leave_reason
from worker.core.durations import format_duration
from worker.core.escaping import visible, visible_lines
from worker.errors import ConfigurationError, ExitCode, UsageError, WorkerError

_TYPED_IDENTIFIER: Final = (
    "give an identifier on standard input, never as an argument: others on this machine can read "
    "it there, and the shell remembers it"
)
_WIDEST: Final = 10_000
"""Columns of a line that a program reads."""


def instant(at: datetime | None, *, missing: str = "never") -> str:
    """A time as text, in UTC and to the second."""
    return missing if at is None else f"{at:%Y-%m-%d %H:%M:%S} UTC"


def span(seconds: float) -> str:
    """A duration as text, to the second below an hour and to the minute above: ``5h12m``."""
    unit_s = 60 if seconds >= 3600 else 1  # noqa: PLR2004 - an hour
    return format_duration(timedelta(seconds=round(max(seconds, 0.0) / unit_s) * unit_s))


def print_table(heads: Sequence[str], rows: Sequence[Sequence[Any]], *, indent: str = "") -> None:
    """Print rows, under heads if there are any.

    On a terminal a cell is broken between words where it is too wide; where a program reads the
    table it is aligned and never broken.
    """
    from rich.console import Console  # noqa: PLC0415 - not for --help
    from rich.table import Table  # noqa: PLC0415 - as above
    from rich.text import Text  # noqa: PLC0415 - as above

    if not rows:
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=bool(heads))
    for head, value in zip(heads or [""] * len(rows[0]), rows[0], strict=True):
        justify: Literal["left", "right"] = "right" if isinstance(value, int) else "left"
        table.add_column(head, justify=justify, header_style="none", overflow="fold")
    for row in rows:
        table.add_row(*(Text(_cell(value)) for value in row))
    is_read = sys.__stdout__ is not None and sys.__stdout__.isatty()
    width = get_terminal_size().columns - len(indent) if is_read else _WIDEST
    console = Console(file=io.StringIO(), width=width, color_system=None)
    with console.capture() as printed:
        console.print(table, soft_wrap=not is_read)
    for line in printed.get().splitlines():
        print(f"{indent}{line}".rstrip())


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return instant(value)
    return f"{value:,}" if isinstance(value, int) else visible(str(value))


def fitted(line: str, stream: TextIO | None, *, indent: int = 4) -> str:
    """The line, broken between words where a terminal ends; unchanged where a program reads it.

    Args:
        stream: where it will be printed.
        indent: spaces before what follows the first line.
    """
    if stream is None or not stream.isatty():
        return line
    return fill(
        line,
        get_terminal_size().columns,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def print_text(write: Callable[[], None]) -> None:
    """What ``write`` prints, on standard output; what would control a terminal is written out."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        write()
    sys.stdout.write(visible_lines(printed.getvalue()))
    sys.stdout.flush()


def print_json(document: Any) -> None:
    """One JSON document on standard output; times as ISO 8601 in UTC.

    Args:
        document: a mapping, or a dataclass whose fields are the document's members.
    """
    # What orjson leaves as it is, such as U+009B, is no less JSON as an escape.
    sys.stdout.buffer.write(visible_lines(json_text(document)).encode())
    sys.stdout.buffer.flush()


def json_text(document: Any) -> str:
    """The document of ``print_json``."""
    options = (
        orjson.OPT_INDENT_2
        | orjson.OPT_UTC_Z
        | orjson.OPT_APPEND_NEWLINE
        | orjson.OPT_PASSTHROUGH_DATACLASS
    )
    return orjson.dumps(_utf8(document), option=options, default=_plain).decode()


def _plain(value: Any) -> Any:
    """What orjson does not get: a dataclass or msgspec struct as a mapping, all else as text."""
    names = getattr(value, "__struct_fields__", ()) or getattr(value, "__dataclass_fields__", ())
    if names:
        return _utf8({name: getattr(value, name) for name in names})
    return _utf8(str(value))


def _utf8(value: Any) -> Any:
    """Escape surrogates (the name of a file that is not UTF-8), which orjson refuses."""
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, dict):
        return {_utf8(key): _utf8(item) for key, item in value.items()}
    if type(value) in {list, tuple}:
        return [_utf8(item) for item in value]
    return value


def report_call(error: Any, *, as_json: bool) -> None:
    """A wrong call as click reports it repeats what it was given, which may be an identifier."""
    from worker.logs import redact  # noqa: PLC0415 - structlog takes half of the time of --help

    message = redact(error.format_message())
    hint = "" if message == error.format_message() else _TYPED_IDENTIFIER
    if as_json:
        report_error(UsageError(message, hint=hint), as_json=True)
        return
    shown = io.StringIO()
    error.show(file=shown)
    lines = redact(shown.getvalue()).splitlines()
    lines += [f"→ {hint}"] if hint else []
    sys.stderr.write("".join(f"{fitted(line, sys.stderr, indent=2)}\n" for line in lines))


def report_error(error: WorkerError, *, as_json: bool) -> None:
    """An error with a name: what is wrong, where, and what to do."""
    problems = error.problems if isinstance(error, ConfigurationError) else ()
    leave_reason("; ".join([error.message, *(p for p in problems[:1] if p not in error.message)]))
    if as_json:
        print_json(
            {
                "error": {
                    "exit_code": int(error.exit_code),
                    "name": error.exit_code.name.lower(),
                    "message": error.message,
                    "hint": error.hint,
                    "problems": list(problems),
                }
            }
        )
        return
    lines = [f"pts-worker: {error.message}"]
    lines += [f"  - {problem}" for problem in problems if problem not in error.message]
    if error.hint:
        lines.append(f"  → {error.hint}")
    print(visible_lines("\n".join(fitted(line, sys.stderr) for line in lines)), file=sys.stderr)


def report_bug(error: BaseException, *, as_json: bool) -> None:
    """A bug: its traceback without values, and where to report it."""
    from worker.tracebacks import safe_traceback  # noqa: PLC0415 - only for a bug

    print(safe_traceback(error), file=sys.stderr)
    bug = WorkerError(
        f"this is a bug ({type(error).__name__})",
        hint="please report it with the traceback above; it holds no personal values",
    )
    bug.exit_code = ExitCode.BUG
    report_error(bug, as_json=as_json)
