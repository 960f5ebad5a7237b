"""The identity of a store: its person keys, and its PTS. The first run sets both.

Both are checked before the first request. Also stores the contract of the last successful probe.
"""

from typing import Any

from sqlalchemy import Row, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.core.identity import Identity
from worker.errors import ConfigurationError
from worker.store.database import Database, execute
from worker.store.runs.lease import Lease
from worker.store.schema.tables import run, store_identity


async def stored_identity(connection: AsyncConnection) -> Row[Any]:
    """The row of ``store_identity``. Its texts are empty before the first run."""
    return (await connection.execute(select(store_identity))).one()


async def has_plain_keys(connection: AsyncConnection) -> bool:
    """Whether the store is in plain mode: its keys are identifiers, which no list may show."""
    return bool((await stored_identity(connection)).identity == "plain")


def require_identity(stored: Row[Any], identity: Identity) -> None:
    """Refuse a store with person keys of another identity mode or another pseudonym key.

    Otherwise, all persons in the store would look departed, and all persons on the roster new.

    Args:
        stored: ``stored_identity``.

    Raises:
        ConfigurationError: the identity mode or the key is not that of the store.
    """
    if stored.identity not in {"", identity.mode}:
        raise ConfigurationError(
            f"privacy.identity is {identity.mode}, but this database was created with "
            f"{stored.identity}",
            hint="set privacy.identity back, or create a new database",
        )
    # Before the first run there is no key to compare with.
    if stored.identity and stored.key_check != identity.key_check:
        raise ConfigurationError(
            "privacy.pseudonym_key_file: this is not the key that the database was created with",
            hint="restore the original key (every byte of its file counts, even a line break at "
            "the end); if it is lost, create a new database and run a full sync",
        )


async def verify_identity(database: Database, identity: Identity) -> None:
    """Compare the stored identity with that of the configuration (``require_identity``).

    Raises:
        ConfigurationError: the identity mode or the key differs.
    """
    require_identity(await database.read(stored_identity), identity)


async def establish_identity(lease: Lease, identity: Identity) -> None:
    """Like ``verify_identity``, but the first run stores its identity.

    Raises:
        ConfigurationError: the identity mode or the key differs.
        LeaseLostError: another holder took over.
    """

    # Check and write in one transaction, so that two first runs cannot both set an identity.
    async def work(connection: AsyncConnection) -> None:
        require_identity(await stored_identity(connection), identity)
        await connection.execute(
            update(store_identity).values(identity=identity.mode, key_check=identity.key_check)
        )

    await lease.write(work)


async def establish_service(lease: Lease, service: str, *, is_accepted: bool) -> None:
    """Refuse a store filled from another PTS (promise 12). The first run stores its PTS.

    Until a read has succeeded, the PTS can still change, so a mistyped address can be fixed.

    Args:
        service: ``core.hosts.service_of``.
        is_accepted: the operator confirms that it is the same PTS at a new address.

    Raises:
        ConfigurationError: the store was filled from another PTS.
        LeaseLostError: another holder took over.
    """

    async def work(connection: AsyncConnection) -> None:
        # An accepted address replaces the stored one, so `--accept-service` is needed only once.
        if not is_accepted:
            await require_service(connection, service)
        await connection.execute(update(store_identity).values(service=service))

    await lease.write(work)


async def require_service(connection: AsyncConnection, service: str) -> None:
    """Like ``establish_service``, but only checks.

    Raises:
        ConfigurationError: the store was filled from another PTS.
    """
    stored_service = (await stored_identity(connection)).service
    # A run records its progress with the first complete read.
    has_read = await connection.execute(
        select(run.c.run_id).where(run.c.progressed_at.is_not(None)).limit(1)
    )
    if stored_service not in {"", service} and has_read.first() is not None:
        raise ConfigurationError(
            f"this database was filled from another PTS ({stored_service}, now {service}), and a "
            "database must not mix two",
            hint="check api.base_url; give each PTS its own database.url; if it is the same PTS at "
            "a new address, run `pts-worker sync --accept-service` once",
        )


async def record_probe(database: Database, contract: str) -> None:
    """Record that a probe with this contract succeeded.

    Args:
        contract: ``core.contract.fingerprints`` of the configured areas.

    Raises:
        WorkerError: the database is unavailable or read-only.
    """
    await database.write(execute, update(store_identity).values(probed_contract=contract))
