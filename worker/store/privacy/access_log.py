"""The access log: who looked at persons' data in the store, with which command, and why."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.store.database import Database
from worker.store.schema.tables import access_log, person

KEPT_AT_LEAST: Final = timedelta(days=90)
"""No row goes before that age: triggers of the database see to it (migration 0007)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """One access.

    Attributes:
        os_user: the operating-system account of the process.
        login_user: the account that logged in, where it is another one and the system knows it.
        command: the command's name, without arguments.
        purpose: as the user gave it.
    """

    os_user: str
    login_user: str | None
    host: str
    command: str
    purpose: str | None


async def record_access(
    database: Database, tenant_id: int, access: Access, *, person_key: str | None = None
) -> None:
    """Add a row to the access log, and commit it.

    The row names the person by their row in the store, so it never holds an identifier, and names
    nobody once the person is erased.

    Args:
        database: the store.
        tenant_id: whose.
        access: who, with what, why.
        person_key: of whom; None where it is everybody. A key that the store does not know is
            not kept.

    Raises:
        UnavailableError: the database cannot be used after all retries.
        ConfigurationError: it cannot be written before somebody mends something.
    """
    person_id = (
        select(person.c.person_id)
        .where(person.c.tenant_id == tenant_id, person.c.person_key == person_key)
        .scalar_subquery()
    )

    async def work(connection: AsyncConnection) -> None:
        await connection.execute(
            insert(access_log).values(
                tenant_id=tenant_id,
                accessed_at=await database.now(connection),
                os_user=access.os_user,
                login_user=access.login_user,
                host=access.host,
                command=access.command,
                purpose=access.purpose,
                person_id=None if person_key is None else person_id,
            )
        )

    await database.write(work)
