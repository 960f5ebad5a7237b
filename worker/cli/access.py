"""The person that a command reads, and the row of the access log for it."""

import io
import os
import pwd
import re
import shlex
import socket
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from getpass import getpass
from typing import TYPE_CHECKING, Final

import click

from worker.cli.output import IDENTIFIER_HINT
from worker.core.display import visible
from worker.core.identity import NationalId, normalise_off_id, off_id_problem
from worker.errors import UsageError
from worker.masking import checksum_ok
from worker.ports import Roster

if TYPE_CHECKING:
    from worker.app import App
    from worker.cli.options import Cli
    from worker.core.identity import Identity
    from worker.store.database import Database

_LENGTH_MAX: Final = 200
_WRONG_DIGITS: Final = (
    ". Its control digits are wrong: check the number (synthetic persons may have such digits)"
)
_ACCOUNT: Final = re.compile(r"[A-Za-z_][A-Za-z0-9._-]{0,31}")


def read_identifier() -> NationalId:
    """One identifier from standard input; asked for without an echo if that is a terminal.

    Raises:
        UsageError: there is none, or it is not one. The message does not hold it.
    """
    if sys.stdin.isatty():
        line = getpass("Identifier (not shown): ")
    else:
        line = sys.stdin.read(_LENGTH_MAX)
    # More than one line is refused, and what may go on: nothing is passed over.
    digits = normalise_off_id(line) if len(line) < _LENGTH_MAX else None
    if digits is None:
        raise UsageError(f"standard input: {off_id_problem(line)}", hint=IDENTIFIER_HINT)
    return NationalId(digits)


def unknown_person(off_id: NationalId) -> str:
    """The message of a command when the store does not have the person."""
    hint = "" if checksum_ok(off_id.reveal()) else _WRONG_DIGITS
    return f"no person with this identifier is stored{hint}"


def roster_of(app: "App") -> Roster:
    """The configured roster; if that is the terminal, the one person who is typed there.

    Raises:
        ConfigurationError: of the configuration, before the question.
        UsageError: the input is not an identifier.
    """
    if str(app.settings.roster.path) != "-" or not sys.stdin.isatty():
        return app.roster()
    app.identity()
    return app.roster(stdin=io.BytesIO(read_identifier().reveal().encode()))


def _purpose(_context: object, _parameter: object, purpose: str | None) -> str | None:
    """The purpose as it is kept, without blanks around it; None for none. It is not repeated."""
    text = (purpose or "").strip()
    if not text.isprintable() or len(text) > _LENGTH_MAX:
        raise click.BadParameter(f"give one line of up to {_LENGTH_MAX} printable characters")
    return text or None


purpose_option = click.option(
    "--purpose",
    metavar="TEXT",
    callback=_purpose,
    help="Why, for the access log; a case number, say. No identifier.",
)


def ask_person(cli: "Cli") -> tuple["App", NationalId]:
    """The app, and the person whom standard input names.

    Raises:
        ConfigurationError: before the question.
        UsageError: standard input holds no identifier.
    """
    app = cli.load("person")
    app.identity()
    return app, read_identifier()


@asynccontextmanager
async def open_person(
    app: "App", off_id: NationalId, command: str, purpose: str | None
) -> AsyncIterator[tuple["Database", "Identity", str]]:
    """The store, how it keys persons, and the person's key, after the access is logged.

    Raises:
        ConfigurationError: the pseudonym key is not that of the store, or nothing can be logged.
    """
    from worker.store.identity import see_identity  # noqa: PLC0415 - not for --help

    async with app.database() as store:
        identity = app.identity()
        await see_identity(store, identity)
        key = identity.person_key(off_id)
        await log_access(store, command, purpose, person_key=key)
        yield store, identity, key


async def log_access(
    database: "Database",
    command: str,
    purpose: str | None,
    *,
    person_key: str | None = None,
    **options: object,
) -> None:
    """Commit the row. Call it before anything is shown.

    Args:
        person_key: the person; None for all persons.
        options: what the command shows: its options by name, as on the command line.

    Raises:
        ConfigurationError: the row cannot be written.
        UnavailableError: the same, for a transient cause.
    """
    from worker.store.privacy import Access, record_access  # noqa: PLC0415 - as above

    account = _account()
    access = Access(
        os_user=account,
        login_user=_login_user(account),
        host=socket.gethostname(),
        command=" ".join([command, *map(shlex.quote, _words(options))]),
        purpose=purpose,
    )
    await record_access(database, access, person_key=person_key)


def _words(options: Mapping[str, object]) -> Iterator[str]:
    for name, given in options.items():
        for value in given if isinstance(given, tuple) else (given,):
            if value is not None:
                yield f"--{name.replace('_', '-')}"
                yield visible(str(value))[:_LENGTH_MAX]


def _account() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _login_user(account: str) -> str | None:
    """Who logged in, if it is another account: Linux keeps it through sudo.

    A service has none. There ``pts-admin`` passes ``SUDO_USER``, which is not verified.
    """
    try:
        login = os.getlogin()
    except OSError:
        login = os.environ.get("SUDO_USER", "")
    return login if _ACCOUNT.fullmatch(login) and login != account else None
