"""How persons are keyed in a store: settled by its first run, and checked before all else."""

from typing import Any, Final, NamedTuple

import structlog
from sqlalchemy import Row, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.core.identity import Identity
from worker.errors import ConfigurationError, SchemaError
from worker.store.database import Database
from worker.store.runs.lease import Lease
from worker.store.schema.tables import tenant

log = structlog.get_logger(__name__)


class StoredIdentity(NamedTuple):
    """How persons stand in a store.

    Attributes:
        mode: ``pseudonym`` or ``plain``; empty before the first run.
        key_check: the check value of the pseudonym key under the store's label.
    """

    mode: str
    key_check: str


async def stored_identity(database: Database, tenant_id: int) -> StoredIdentity:
    """How persons are keyed in the store."""

    async def work(connection: AsyncConnection) -> StoredIdentity:
        columns = (tenant.c.identity, tenant.c.key_check)
        found = await connection.execute(select(*columns).where(tenant.c.tenant_id == tenant_id))
        return StoredIdentity(*found.one())

    return await database.read(work)


NEW: Final = StoredIdentity("", "")
"""Before the first run."""
WEAK_HINT: Final = (
    "the database keeps working; a new key (`pts-worker keys pseudonym`) means a new database and "
    "a full sync"
)


def judged_identity(stored: StoredIdentity, identity: Identity) -> Identity:
    """The identity as a store has it: under the label that the store was begun with.

    A key that may be guessed begins no store; a store that was begun with one goes on, and each
    command logs a warning.

    Raises:
        ConfigurationError: the identity mode or the key differs from what the store was begun with;
            or the store is new, and the key may be guessed.
    """
    if not stored.mode:
        if identity.weakness:
            raise ConfigurationError(
                f"privacy.pseudonym_key_file: {identity.weakness}; no new database begins with it",
                hint="make one with `pts-worker keys pseudonym --out FILE`",
            )
        return identity
    if stored.mode != identity.mode:
        raise ConfigurationError(
            f"privacy.identity is {identity.mode}; this database holds persons as {stored.mode}",
            hint="set privacy.identity back, or begin a new database",
        )
    settled = identity.under(stored.key_check)
    if settled is None:
        raise ConfigurationError(
            "privacy.pseudonym_key_file: this is not the key that the database was begun with",
            hint="bring the first key back (every byte of its file counts, also a line break at "
            "the end); a lost key means a new database and a full sync",
        )
    if settled.weakness:
        log.warning("privacy.weak_key", reason=settled.weakness, hint=WEAK_HINT)
    return settled


async def see_identity(database: Database, tenant_id: int, identity: Identity) -> Identity:
    """Like ``check_identity``, without writing anything.

    Raises:
        ConfigurationError: the identity mode or the key differs from what the store was begun with;
            or the store is new, and the key is too simple to begin with.
        SchemaError: rows of an earlier program are not yet rewritten.
    """
    row = await database.read(lambda connection: _row(connection, tenant_id))
    return _settled(row, identity)


async def check_identity(database: Database, lease: Lease, identity: Identity) -> Identity:
    """Refuse a store whose person keys were made in another way; the first run notes its own.

    Under another pseudonym key every known person would look departed and every one read new.

    Returns:
        The identity as this store has it: a store keeps the label that it was begun with.

    Raises:
        ConfigurationError, SchemaError: see ``see_identity``.
        LeaseLostError: another holder took over.
    """
    tenant_id = lease.tenant_id

    async def work(connection: AsyncConnection) -> Row[Any] | None:
        await lease.renew(database, connection)
        row = await _row(connection, tenant_id)
        if row.identity:
            return row
        judged_identity(NEW, identity)
        first = await connection.execute(
            update(tenant)
            .where(tenant.c.tenant_id == tenant_id, tenant.c.identity == "")
            .values(identity=identity.mode, key_check=identity.key_check)
        )
        # Else another shard was first, at this moment.
        return None if first.rowcount else await _row(connection, tenant_id)

    row = await database.write(work)
    return identity if row is None else _settled(row, identity)


async def _row(connection: AsyncConnection, tenant_id: int) -> Row[Any]:
    return (await connection.execute(select(tenant).where(tenant.c.tenant_id == tenant_id))).one()


def _settled(row: Row[Any], identity: Identity) -> Identity:
    settled = judged_identity(StoredIdentity(row.identity, row.key_check), identity)
    if row.identity and row.rewritten_to is not None:
        raise SchemaError(
            "rows of an earlier program are not yet rewritten without other persons' identifiers",
            hint="run `pts-worker db upgrade` with the pseudonym key configured",
        )
    return settled
