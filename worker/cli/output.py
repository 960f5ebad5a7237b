"""Results on standard output. Errors on standard error, or as a JSON document."""

import contextlib
import io
import json
import os
import re
import shutil
import socket
import sys
import textwrap
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Literal, TextIO

import click

from worker.core.display import visible, visible_lines
from worker.core.times import format_duration
from worker.errors import UsageError, WorkerError, safe_traceback
from worker.masking import masked

NOTHING_YET: Final = "nothing is published yet: run `pts-worker sync` first"
IDENTIFIER_HINT: Final = (
    "give one identifier on standard input, never as an argument: others on this machine can read "
    "it there, and the shell remembers it"
)
_EXAMPLE: Final = re.compile("Example: (`[^`]+`)")
_WIDEST: Final = 10_000
"""Width of a table, in characters. ``fitted`` wraps its rows for a terminal."""
_STATUS_MAX: Final = 180
"""Maximum length of a unit's status, so that an alert has room for it and for commands."""


def instant(at: datetime | None) -> str:
    """Format a time in UTC, to the second."""
    return "never" if at is None else f"{at:%Y-%m-%d %H:%M:%S} UTC"


def span(seconds: float) -> str:
    """Format a duration: to the second below one hour, else to the minute, such as ``5h12m``."""
    unit_s = 60 if seconds >= 3600 else 1  # noqa: PLR2004 - an hour
    return format_duration(timedelta(seconds=round(max(seconds, 0.0) / unit_s) * unit_s))


def fitted(text: str, stream: TextIO, *, hanging: int = 2) -> str:
    """Wrap long lines between words, if the stream is a terminal.

    Args:
        hanging: extra indent of the continuation lines.
    """
    if not stream.isatty():
        return text
    width = shutil.get_terminal_size().columns
    return "".join(_wrapped(line, width, hanging) for line in text.splitlines(keepends=True))


def _wrapped(line: str, width: int, hanging: int) -> str:
    if len(line.rstrip()) <= width:
        return line
    indent = " " * (len(line) - len(line.lstrip()) + hanging)
    # Long words are paths, hashes and commands, which a reader copies: they stay whole.
    pieces = textwrap.wrap(
        line.rstrip(),
        width,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join(pieces) + line[len(line.rstrip()) :]


def print_table(
    headers: Sequence[str], rows: Sequence[Sequence[Any]], *, indent: str = "", gap: int = 2
) -> None:
    """Print rows in aligned columns, with a header row unless ``headers`` is empty."""
    from rich.console import Console  # noqa: PLC0415 - not for --help
    from rich.table import Table  # noqa: PLC0415 - as above
    from rich.text import Text  # noqa: PLC0415 - as above

    if not rows:
        return
    table = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), show_header=bool(headers))
    for header, value in zip(headers or [""] * len(rows[0]), rows[0], strict=True):
        justify: Literal["left", "right"] = "right" if isinstance(value, int) else "left"
        table.add_column(header, justify=justify, header_style="none")
    for row in rows:
        # Text, not str: Rich would read square brackets in a value as markup.
        table.add_row(*(Text(_cell(value)) for value in row))
    console = Console(file=io.StringIO(), width=_WIDEST, color_system=None)
    with console.capture() as printed:
        console.print(table, soft_wrap=True)
    for line in printed.get().splitlines():
        print(f"{indent}{line}".rstrip())


def print_document(document: Mapping[str, Any], *, indent: str = "") -> None:
    """Print a document as names and values. Lists follow, each item as a document of its own."""
    named = {name.replace("_", " "): value for name, value in document.items()}
    lists = {name: value for name, value in named.items() if isinstance(value, list)}
    cells = [(name, _cell(value)) for name, value in named.items() if name not in lists]
    print_table((), [(name, cell) for name, cell in cells if cell], indent=indent)
    for name, value in lists.items():
        if not value:
            print(f"{indent}{name}: none")
        for part in value:
            print(f"{indent}{name}:")
            print_document(part, indent=f"{indent}  ")


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return instant(value)
    if isinstance(value, Mapping):
        cells = {name.replace("_", " "): _cell(part) for name, part in value.items()}
        return ", ".join(f"{name} {cell}" for name, cell in cells.items() if cell)
    # A bool is also an int.
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.1f}"
    return f"{value:,}" if isinstance(value, int) else visible(str(value))


def print_json(document: Any) -> None:
    """Print one JSON document on standard output."""
    print(json_text(document), end="", flush=True)


def json_text(document: Any) -> str:
    """Return a result as a JSON document in ASCII. See ``plain``."""
    return json.dumps(plain(document), indent=2) + "\n"


def plain(document: Any, *kept: type) -> Any:
    """Convert a result to JSON types. Times become text in ISO 8601 and UTC.

    Args:
        document: a mapping, or a dataclass or struct whose fields are the document's members.
        kept: types of values that are not converted.
    """
    from msgspec import to_builtins  # noqa: PLC0415 - not for --help

    return to_builtins(document, str_keys=True, builtin_types=kept, enc_hook=_plain)


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else str(value)


def notify(*assignments: str) -> None:
    """Notify systemd (sd_notify(3)). Does nothing if systemd is absent or does not listen.

    An alert repeats the last ``STATUS=``, so a long one is shortened.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address.startswith("@"):  # the null byte of an abstract socket (unix(7))
        address = "\0" + address[1:]
    text = "\n".join(
        textwrap.shorten(assignment, _STATUS_MAX, placeholder=" …") for assignment in assignments
    )
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
        # A full socket must not delay a run.
        client.setblocking(False)  # noqa: FBT003 - no keyword
        client.sendto(text.encode(errors="replace"), address)


def report_usage_error(
    error: click.ClickException, arguments: Sequence[str], *, as_json: bool
) -> None:
    """Report a usage error of click, with an example of the command."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError) and not as_json:
        print(error.format_message(), file=sys.stderr)
        return
    usage_error = UsageError(error.format_message())
    if any(masked(word) != word for word in arguments):
        usage_error.hint = IDENTIFIER_HINT
    elif isinstance(error, click.UsageError) and error.ctx is not None:
        example = _EXAMPLE.search(error.ctx.command.help or "")
        usage_error.hint = f"for example {' '.join(example[1].split())}; " if example else ""
        usage_error.hint += f"`{error.ctx.command_path} --help` shows the usage"
    report_error(usage_error, as_json=as_json)


def report_error(error: WorkerError, *, as_json: bool) -> None:
    """Report an error with its hint, on standard error or as a JSON document."""
    notify(f"STATUS={error.message}")
    if as_json:
        document = {
            "exit_code": error.exit_code,
            "name": error.exit_code.name.lower(),
            "message": error.message,
            "hint": error.hint,
            "problems": error.problems,
        }
        print_json({"error": document})
        return
    text = f"pts-worker: {error.message}" + (error.hint and f"\n  → {error.hint}")
    print(fitted(visible_lines(text), sys.stderr), file=sys.stderr)


def report_bug(error: BaseException, *, as_json: bool) -> None:
    """Report a bug, with its traceback."""
    # An ordinary traceback shows values, and these may be identifiers.
    print(safe_traceback(error), file=sys.stderr)
    bug = WorkerError(
        f"this is a bug ({type(error).__name__})",
        hint="please report it with the traceback above; it contains no personal values",
    )
    report_error(bug, as_json=as_json)
