"""Identifiers that a command reads: from standard input, or typed without an echo."""

import io
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from getpass import getpass
from typing import TYPE_CHECKING, BinaryIO, Final

from worker.core.identity import NationalId
from worker.core.plurals import counted
from worker.errors import RosterError, UsageError
from worker.offid import normalise, problem
from worker.ports import Roster

if TYPE_CHECKING:
    from worker.app import App

_LINE_LENGTH_MAX: Final = 200
_TYPED_LINES_MAX: Final = 10_000


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
