"""Whether live answers have ever been as the contract in force declares them."""

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.store.database import Database, execute
from worker.store.schema.tables import store_identity


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
