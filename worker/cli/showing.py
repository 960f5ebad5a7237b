"""Results as text, and the identifier that a command reads."""

import io
import math
import os
import sys
import termios
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from getpass import getpass
from shutil import get_terminal_size
from textwrap import wrap
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from worker.core.durations import format_duration
from worker.core.escaping import visible
from worker.core.identity import NationalId
from worker.core.plurals import counted
from worker.errors import RosterError, UsageError
from worker.offid import normalise, problem
from worker.ports import Roster

if TYPE_CHECKING:
    from worker.app import App

_LINE_LENGTH_MAX = 200
_NOTE_COLUMNS = 78
_TYPED_LINES_MAX = 10_000


def instant(at: datetime | None, *, missing: str = "never") -> str:
    """A time as text, in UTC and to the second."""
    return missing if at is None else f"{at:%Y-%m-%d %H:%M:%S} UTC"


def span(seconds: float) -> str:
    """A duration as text, to the second below an hour and to the minute above: ``5h12m``."""
    unit_s = 60 if seconds >= 3600 else 1  # noqa: PLR2004 - an hour
    return format_duration(timedelta(seconds=round(max(seconds, 0.0) / unit_s) * unit_s))


def coloured(text: str, verdict: str) -> str:
    """The text in the colour of OK, WARN or FAIL, on a terminal where NO_COLOR is not set."""
    colour = {"OK": "green", "WARN": "yellow", "FAIL": "red"}.get(verdict)
    if colour is None or os.environ.get("NO_COLOR") or not sys.stdout.isatty():
        return text
    return click.style(text, fg=colour)


def columns(
    heads: Sequence[str],
    rows: Sequence[Sequence[Any]],
    *,
    indent: str = "",
    notes: Sequence[str] = (),
) -> None:
    """Print rows, under heads if there are any: aligned, and never cut, so that it can be piped.

    What is wider than a terminal is printed there by row, a line for each cell. ``notes`` are texts
    that belong to the rows, printed below each, in lines of at most 80 characters.
    """
    if not rows:
        return
    lines = [list(heads)] if heads else []
    lines += [["" if value is None else _cell(value) for value in row] for row in rows]
    widths = [max(map(len, place)) for place in zip(*lines, strict=True)]
    gaps = len(widths) - 1
    room = _terminal_columns() - len(indent) - sum(widths) if heads else math.inf
    if gaps > room:
        _print_records(lines, notes)
        return
    gap = "  " if 2 * gaps <= room else " "
    right = [isinstance(value, int) for value in rows[0]]
    below = iter([*[""] * bool(heads), *notes])
    for line in lines:
        words = [
            word.rjust(width) if is_right else word.ljust(width)
            for word, width, is_right in zip(line, widths, right, strict=True)
        ]
        print(f"{indent}{gap.join(words)}".rstrip())
        _print_note(next(below, ""))


def _terminal_columns() -> float:
    """How much fits a line; everything where a file or a program reads it."""
    is_read = sys.__stdout__ is not None and sys.__stdout__.isatty()
    return get_terminal_size().columns if is_read else math.inf


def _print_note(note: str) -> None:
    for line in wrap(visible(note), _NOTE_COLUMNS, break_long_words=False):
        print(f"  {line}")


def _print_records(lines: Sequence[Sequence[str]], notes: Sequence[str]) -> None:
    """Each row as a paragraph, a line for each of its cells."""
    heads, *rows = lines
    width = max(map(len, heads))
    for number, row in enumerate(rows):
        if number:
            print()
        for head, cell in zip(heads, row, strict=True):
            print(f"{head.ljust(width)}  {cell}".rstrip())
        _print_note(notes[number] if notes else "")


def _cell(value: Any) -> str:
    if isinstance(value, datetime):
        return instant(value)
    return f"{value:,}" if isinstance(value, int) else visible(str(value))


def read_identifier() -> NationalId:
    """One identifier from standard input; asked for without an echo if that is a terminal.

    Raises:
        UsageError: there is none, or it is not one. The message does not hold it.
    """
    if sys.stdin.isatty():
        line = getpass("Identifier (not shown): ")
    else:
        line = sys.stdin.readline(_LINE_LENGTH_MAX)
    digits = normalise(line)
    if digits is None:
        raise UsageError(
            f"standard input: {problem(line)}",
            hint="give one identifier on one line of standard input; never as an argument, which "
            "every process of the machine can read",
        )
    return NationalId(digits)


def roster_of(app: "App") -> Roster:
    """The configured roster; if that is the terminal, what is typed there.

    Raises:
        ConfigurationError: of the configuration, before the question.
        RosterError: nothing was typed.
        UsageError: more than 10,000 lines were.
    """
    if str(app.settings.roster.path) != "-" or not sys.stdin.isatty():
        return app.roster()
    app.identity()
    return app.roster(stdin=read_identifiers())


def read_identifiers() -> BinaryIO:
    """What is typed or pasted on the terminal, without an echo, up to Ctrl-D.

    Raises:
        RosterError: nothing was typed.
        UsageError: more than 10,000 lines were.
    """
    typed = io.BytesIO()
    lines = 0
    prompt = "Identifiers, one a line, not shown; Ctrl-D ends the list:"
    with _without_echo(sys.stdin.fileno()):
        print(prompt, file=sys.stderr, flush=True)
        while text := sys.stdin.buffer.readline(_LINE_LENGTH_MAX):
            typed.write(text)
            lines += 1
            if lines > _TYPED_LINES_MAX:
                raise UsageError(
                    f"standard input: more than {_TYPED_LINES_MAX:,} lines were typed",
                    hint="write them to a file, and give that as --roster",
                )
    if not lines:
        raise RosterError("standard input is empty", hint="nothing was done; type an identifier")
    print(f"{counted(lines, 'line')} read", file=sys.stderr, flush=True)
    typed.seek(0)
    return typed


@contextmanager
def _without_echo(terminal: int) -> Iterator[None]:
    """What is typed meanwhile is not shown. Nothing that was typed ahead is lost."""
    former = termios.tcgetattr(terminal)
    hidden = former[:]
    hidden[3] &= ~termios.ECHO
    termios.tcsetattr(terminal, termios.TCSADRAIN, hidden)
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, former)
