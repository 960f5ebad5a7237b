"""The access log: who accessed persons' data in the store, with which command, and why."""

from datetime import timedelta
from typing import Final

import msgspec
from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.core.value import Value
from worker.store.database import Database
from worker.store.schema.tables import access_log, person

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

    The row refers to the person by row id, so it never holds an identifier. Once the person is
    erased, it refers to no one.

    Args:
        person_key: the person; None if all persons were accessed. A key that is not in the store
            is not recorded.

    Raises:
        UnavailableError: the database cannot be used after all retries.
        ConfigurationError: the database cannot be written until someone fixes the cause.
    """
    person_id = (
        select(person.c.person_id).where(person.c.person_key == person_key).scalar_subquery()
    )

    async def work(connection: AsyncConnection) -> None:
        await connection.execute(
            insert(access_log).values(
                accessed_at=await database.now(connection),
                person_id=None if person_key is None else person_id,
                **msgspec.structs.asdict(access),
            )
        )

    await database.write(work)
