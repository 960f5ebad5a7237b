"""How persons are keyed in a store, and which PTS fills it: settled by its first run.

Both are checked before anybody is asked. Also which contract its answers have proven.
"""

from typing import Final, NamedTuple

import structlog
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.core.identity import Identity
from worker.errors import ConfigurationError
from worker.store.database import Database, execute
from worker.store.runs.lease import Lease
from worker.store.schema.tables import run, store_identity

log = structlog.get_logger(__name__)


class StoredIdentity(NamedTuple):
    """How persons stand in a store.

    Attributes:
        mode: ``pseudonym`` or ``plain``; empty before the first run.
        key_check: the check value of the pseudonym key under the store's label.
    """

    mode: str
    key_check: str


async def stored_identity(connection: AsyncConnection) -> StoredIdentity:
    """How persons are keyed in the store."""
    row = (await connection.execute(select(store_identity))).one()
    return StoredIdentity(row.identity, row.key_check)


NEW: Final = StoredIdentity("", "")
"""Before the first run."""
WEAK_HINT: Final = (
    "the database keeps working; a new key (`pts-worker keys pseudonym`) means a new database and "
    "a full sync"
)


def checked_identity(stored: StoredIdentity, identity: Identity) -> Identity:
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


async def see_identity(database: Database, identity: Identity) -> Identity:
    """Like ``check_identity``, without writing anything.

    Raises:
        ConfigurationError: the identity mode or the key differs from what the store was begun with;
            or the store is new, and the key is too simple to begin with.
    """
    return checked_identity(await database.read(stored_identity), identity)


async def check_identity(lease: Lease, identity: Identity) -> Identity:
    """Refuse a store whose person keys were made in another way; the first run notes its own.

    Under another pseudonym key every known person would look departed and every one read new.

    Returns:
        The identity as this store has it: a store keeps the label that it was begun with.

    Raises:
        ConfigurationError: see ``see_identity``.
        LeaseLostError: another holder took over.
    """

    async def work(connection: AsyncConnection) -> Identity:
        stored = await stored_identity(connection)
        settled = checked_identity(stored, identity)
        if stored == NEW:
            await connection.execute(
                update(store_identity).values(identity=identity.mode, key_check=identity.key_check)
            )
        return settled

    return await lease.write(work)


async def check_service(lease: Lease, service: str, *, is_accepted: bool) -> None:
    """Refuse a store that another PTS has filled; the first run notes its own (promise 12).

    What nobody was read from has filled nothing: a mistyped address can be mended.

    Args:
        service: ``core.environments.service_of``.
        is_accepted: a person says that it is the same PTS at a new address.

    Raises:
        ConfigurationError: the store was filled from another PTS.
        LeaseLostError: another holder took over.
    """

    async def work(connection: AsyncConnection) -> str:
        found = await connection.execute(select(store_identity.c.service))
        noted: str = found.scalar_one()
        has_read = await connection.execute(
            select(run.c.run_id).where(run.c.progressed_at.is_not(None)).limit(1)
        )
        if not noted or is_accepted or has_read.first() is None:
            await connection.execute(update(store_identity).values(service=service))
            return service
        return noted

    noted = await lease.write(work)
    if noted != service:
        raise ConfigurationError(
            f"this database was filled from another PTS ({noted}, now {service}), and one database "
            "holds what one PTS says",
            hint="give each PTS its own database.url; if it is the same PTS at a new address, run "
            "`pts-worker sync --accept-service` once",
        )


async def is_proven(connection: AsyncConnection, contract: str) -> bool:
    """Whether the last probe that succeeded was made under this contract.

    Args:
        contract: ``core.contract.fingerprints`` of the configured areas.
    """
    probed = (await connection.execute(select(store_identity.c.probed_contract))).scalar_one()
    return bool(probed == contract)


async def note_probe(database: Database, contract: str) -> None:
    """Remember that a probe succeeded under this contract.

    Raises:
        WorkerError: the database is away, or may not be written.
    """
    await database.write(execute, update(store_identity).values(probed_contract=contract))
