"""Commands about one person: read the identifier, and log the access."""

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
    ". Its check digits are wrong: check the number (synthetic persons may have such digits)"
)
_ACCOUNT: Final = re.compile(r"[A-Za-z_][A-Za-z0-9._-]{0,31}")


def read_identifier() -> NationalId:
    """Read one identifier from standard input. A terminal gets a prompt without echo.

    Raises:
        UsageError: there is no identifier, or it is malformed. The message does not repeat it.
    """
    if sys.stdin.isatty():
        line = getpass("Identifier (not shown): ")
    else:
        line = sys.stdin.read(_LENGTH_MAX)
    # Input of this length may be cut, and several lines are several persons: both are errors,
    # because a command must not act on the first person and ignore the rest.
    digits = normalise_off_id(line) if len(line) < _LENGTH_MAX else None
    if len(line.split()) > 1 and digits is None:
        raise UsageError("standard input: more than one line or word", hint=IDENTIFIER_HINT)
    if digits is None:
        raise UsageError(f"standard input: {off_id_problem(line)}", hint=IDENTIFIER_HINT)
    return NationalId(digits)


def unknown_person(off_id: NationalId) -> str:
    """Return the message for a person who is not in the store."""
    # A mistyped digit asks about a different person, so wrong check digits are worth a hint.
    hint = "" if checksum_ok(off_id.reveal()) else _WRONG_DIGITS
    return f"no person with this identifier is stored{hint}"


def roster_of(app: "App") -> Roster:
    """Return the configured roster. If it is a terminal, prompt for one person.

    Raises:
        ConfigurationError: the configuration is wrong. Raised before the prompt.
        UsageError: the input is not an identifier.
    """
    if app.settings.roster.path == "-" and sys.stdin.isatty():
        app.identity()  # a key that cannot be read is reported before the prompt
        return app.roster(stdin=io.BytesIO(read_identifier().reveal().encode()))
    return app.roster()


def _purpose(_context: object, _parameter: object, purpose: str | None) -> str | None:
    """Return the purpose without blanks around it, or None. A message never repeats it."""
    text = (purpose or "").strip()
    if not text.isprintable() or len(text) > _LENGTH_MAX:
        raise click.BadParameter(f"give one line of up to {_LENGTH_MAX} printable characters")
    return text or None


purpose_option = click.option(
    "--purpose",
    metavar="TEXT",
    callback=_purpose,
    help="The reason for the access log, such as a case number. No identifier.",
)


def ask_person(cli: "Cli") -> tuple["App", NationalId]:
    """Load the app, and read the person's identifier from standard input.

    Raises:
        ConfigurationError: the configuration is wrong. Raised before the prompt.
        UsageError: standard input contains no identifier.
    """
    app = cli.load("person")
    app.identity()
    return app, read_identifier()


@asynccontextmanager
async def open_person(
    app: "App", off_id: NationalId, command: str, purpose: str | None
) -> AsyncIterator[tuple["Database", "Identity", str]]:
    """Log the access, then yield the store, its identity scheme and the person's key.

    Raises:
        ConfigurationError: the pseudonym key is not that of the store, or the access cannot be
            logged.
    """
    from worker.store.identity import verify_identity  # noqa: PLC0415 - not for --help

    async with app.database() as store:
        identity = app.identity()
        await verify_identity(store, identity)
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
    """Commit a row of the access log. Call it before anything is shown.

    Args:
        person_key: the person. None for all persons.
        options: the options that select the output, by name.

    Raises:
        ConfigurationError: the row cannot be written.
        UnavailableError: the row cannot be written, for a transient cause.
    """
    from worker.store.privacy import Access, record_access  # noqa: PLC0415 - as above

    account = _account()
    access = Access(
        os_user=account,
        login_user=_login_user(account),
        host=socket.gethostname(),
        command=" ".join([command, *map(shlex.quote, _arguments(options))]),
        purpose=purpose,
    )
    await record_access(database, access, person_key=person_key)


def _arguments(options: Mapping[str, object]) -> Iterator[str]:
    for name, value in options.items():
        for part in value if isinstance(value, tuple) else (value,):
            if part is not None:
                yield f"--{name.replace('_', '-')}"
                yield visible(str(part))[:_LENGTH_MAX]


def _account() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # containers run as a number that /etc/passwd does not have
        return str(os.getuid())


def _login_user(account: str) -> str | None:
    """Return the account of the login session, if it differs. Linux keeps it through sudo."""
    try:
        login = os.getlogin()
    except OSError:  # no session, e.g. in a service. ``SUDO_USER`` from ``pts-admin`` is unverified
        login = os.environ.get("SUDO_USER", "")
    return login if _ACCOUNT.fullmatch(login) and login != account else None
