"""Whom a command is about: a roster, or identifiers from standard input, typed without an echo."""

import io
import sys
import termios
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from getpass import getpass
from typing import TYPE_CHECKING, BinaryIO, Final

from worker.core.identity import NationalId
from worker.core.model import RosterLineError
from worker.core.plurals import counted
from worker.errors import RosterError, UsageError
from worker.offid import normalise, problem
from worker.ports import Roster

if TYPE_CHECKING:
    from worker.app import App

_LINE_LENGTH_MAX: Final = 200


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
    """
    if str(app.settings.roster.path) != "-" or not sys.stdin.isatty():
        return app.roster()
    app.identity()
    return app.roster(stdin=read_identifiers())


def read_identifiers() -> BinaryIO:
    """What is typed or pasted on the terminal, without an echo, up to Ctrl-D.

    Raises:
        RosterError: nothing was typed.
    """
    with _without_echo(sys.stdin.fileno()):
        print("Identifiers, one a line, not shown; Ctrl-D ends the list:", file=sys.stderr)
        typed = sys.stdin.buffer.read()
    if not typed:
        raise RosterError("standard input is empty", hint="nothing was done; type an identifier")
    print(f"{counted(len(typed.splitlines()), 'line')} read", file=sys.stderr)
    return io.BytesIO(typed)


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


@dataclass(slots=True)
class RosterCount:
    """Roster entries, including duplicates, and roster errors.

    Attributes:
        first_fault: the place and problem of the first error, without a value; "" for none.
        h_numbers: entries with an H-number.
    """

    entries: int = 0
    faults: int = 0
    first_fault: str = ""
    h_numbers: int = 0


async def count_roster(roster: Roster) -> RosterCount:
    """Count the roster.

    Raises:
        RosterError: it cannot be read.
    """
    count = RosterCount()
    async with aclosing(roster.entries()) as lines:
        async for entry in lines:
            if isinstance(entry, RosterLineError):
                count.faults += 1
                count.first_fault = count.first_fault or f"{entry.where}: {entry.problem}"
            else:
                count.entries += 1
                count.h_numbers += entry.is_h_number
    return count
