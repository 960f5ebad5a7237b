"""Who looks at whom: the person a command is about, and the row of the access log that says so."""

import os
import pwd
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from worker.errors import ConfigurationError, UnavailableError, UsageError
from worker.offid import mask_identifiers

if TYPE_CHECKING:
    from worker.app import App
    from worker.cli.options import Cli
    from worker.core.identity import Identity, NationalId
    from worker.store.database import Database

_PURPOSE_CHARACTERS_MAX: Final = 200
_PURPOSE_LETTERS_MIN: Final = 2
_LOGIN_USER: Final = Path("/proc/self/loginuid")
"""Set by Linux at login and kept through sudo (proc_pid_loginuid in proc(5)).

A service has none. There ``pts-admin`` passes ``SUDO_USER``, which is not verified.
"""
_ACCOUNT: Final = re.compile(r"[A-Za-z_][A-Za-z0-9._-]{0,31}")
_NO_USER: Final = 0xFFFFFFFF
_WRITE_HINT: Final = (
    "let this account write the database (PostgreSQL: INSERT on access_log and USAGE on its "
    "sequence)"
)


def _purpose(_context: object, _parameter: object, purpose: str | None) -> str | None:
    """The purpose as it is kept, without blanks around it; None for none.

    Raises:
        UsageError: it says nothing, is long, holds control characters or an identifier. Not
            repeated.
    """
    if purpose is None:
        return None
    text = purpose.strip()
    if mask_identifiers(text) != text:
        raise UsageError(
            "--purpose: this holds an identifier, which every process of the machine can read here",
            hint="give a case number; the access log names the person by itself",
        )
    says_something = sum(map(str.isalnum, text)) >= _PURPOSE_LETTERS_MIN
    if not says_something or not text.isprintable() or len(text) > _PURPOSE_CHARACTERS_MAX:
        raise UsageError(
            f"--purpose: {len(text):,} characters that are no purpose",
            hint=f"give one line of {_PURPOSE_LETTERS_MIN} to {_PURPOSE_CHARACTERS_MAX} printable "
            "characters, a case number, say; or leave the option out",
        )
    return text


purpose_option = click.option(
    "--purpose",
    metavar="TEXT",
    callback=_purpose,
    help="Why, for the access log; a case number, say. No identifier.",
)


def ask_person(cli: "Cli") -> tuple["App", "NationalId"]:
    """The app, and the person whom standard input names.

    Raises:
        ConfigurationError: before the question.
        UsageError: standard input holds no identifier.
    """
    from worker.cli.rosters import read_identifier  # noqa: PLC0415 - not for --help

    app = cli.load("person")
    app.identity()
    return app, read_identifier()


@asynccontextmanager
async def open_person(
    app: "App", off_id: "NationalId", command: str, purpose: str | None
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
) -> None:
    """Commit the row. Call it before anything is shown.

    Args:
        person_key: the person; None for all persons.

    Raises:
        ConfigurationError: the row cannot be written.
        UnavailableError: the same, for a transient cause.
    """
    from worker.store.privacy import Access, record_access  # noqa: PLC0415 - as above

    account = os.getuid()
    access = Access(
        os_user=_name_of(account),
        login_user=_login_user(account),
        host=socket.gethostname(),
        command=command,
        purpose=purpose,
    )
    try:
        await record_access(database, access, person_key=person_key)
    except (ConfigurationError, UnavailableError) as error:
        hint = error.hint if isinstance(error, UnavailableError) else _WRITE_HINT
        raise type(error)(
            f"{command}: nothing is shown: the access log cannot be written: {error.message}",
            hint=hint,
        ) from error


def _name_of(account: int) -> str:
    try:
        return pwd.getpwuid(account).pw_name
    except KeyError:
        return str(account)


def _login_user(account: int) -> str | None:
    try:
        login = int(_LOGIN_USER.read_text(encoding="ascii"))
    except (OSError, ValueError):
        login = _NO_USER
    if login != _NO_USER:
        return None if login == account else _name_of(login)
    sudo_user = os.environ.get("SUDO_USER", "")
    return sudo_user if _ACCOUNT.fullmatch(sudo_user) and sudo_user != _name_of(account) else None
