"""The access log row that a use case commits before it shows a person's data."""

import os
import pwd
import re
import socket
from pathlib import Path
from typing import Final

import structlog

from worker.app import App
from worker.errors import ConfigurationError, UnavailableError
from worker.store.database import Database
from worker.store.privacy.access_log import Access, record_access

_LOGIN_USER: Final = Path("/proc/self/loginuid")
"""Set by Linux at login and kept through sudo (proc_pid_loginuid in proc(5)).

A service has none. There ``pts-admin`` passes ``SUDO_USER``, which is not verified.
"""
_ACCOUNT: Final = re.compile(r"[A-Za-z_][A-Za-z0-9._-]{0,31}")
_NO_USER: Final = 0xFFFFFFFF
_WRITE_HINT: Final = (
    "let this account write the database (PostgreSQL: INSERT on access_log and USAGE on its "
    'sequence), or set privacy.access_log = "if-possible"'
)


async def log_access(
    app: App,
    database: Database,
    command: str,
    purpose: str | None,
    *,
    person_key: str | None = None,
) -> None:
    """Commit the row. Call it before anything is shown.

    Args:
        person_key: the person; None for all persons.

    Raises:
        ConfigurationError: the row cannot be written, and ``privacy.access_log`` requires it.
        UnavailableError: the same, for a transient cause.
    """
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
        if app.settings.privacy.access_log == "if-possible":
            structlog.get_logger(__name__).warning(
                "access.not_logged", command=command, reason=error.message
            )
            return
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
