"""The access log: who accessed persons' data in the store, with which command, and why."""

from datetime import timedelta
from typing import Final

import msgspec
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.core.value import Value
from worker.store.database import Database
from worker.store.schema.tables import access_log

KEPT_AT_LEAST: Final = timedelta(days=90)
"""No row is deleted before this age: database triggers refuse it."""


class Access(Value, frozen=True, kw_only=True):
    """One access.

    Attributes:
        os_user: the operating-system account of the process.
        login_user: the account that logged in, if it is different and the system knows it.
        command: the command's name, without arguments.
        purpose: as given by the user.
    """

    os_user: str
    login_user: str | None
    host: str
    command: str
    purpose: str | None


async def record_access(
    database: Database, access: Access, *, person_key: str | None = None
) -> None:
    """Add a row to the access log, and commit it.

    It names the person by the key of the store, also if nothing was found; ``erase`` clears it.

    Args:
        person_key: the person; None if all persons were accessed.

    Raises:
        UnavailableError: the database cannot be used after all retries.
        ConfigurationError: the database cannot be written until someone fixes the cause.
    """

    async def work(connection: AsyncConnection) -> None:
        await connection.execute(
            insert(access_log).values(
                accessed_at=await database.now(connection),
                person_key=person_key,
                **msgspec.structs.asdict(access),
            )
        )

    await database.write(work)
