"""Whether live answers have ever been as the contract in force declares them."""

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.core.model import RunStatus
from worker.store.database import Database, execute
from worker.store.schema.tables import run, store_identity


async def is_proven(connection: AsyncConnection, contract: str) -> bool:
    """Whether a probe succeeded under this contract, or a run that published records.

    Args:
        contract: ``core.contract.fingerprints`` of the configured areas.
    """
    probed = (await connection.execute(select(store_identity.c.probed_contract))).scalar_one()
    if probed == contract:
        return True
    runs = select(run.c.run_id).where(
        run.c.contract == contract, run.c.status == RunStatus.PUBLISHED, run.c.rows_read > 0
    )
    return (await connection.execute(runs.limit(1))).first() is not None


async def note_probe(database: Database, contract: str) -> None:
    """Remember that a probe succeeded under this contract.

    Raises:
        WorkerError: the database is away, or may not be written.
    """
    await database.write(execute, update(store_identity).values(probed_contract=contract))
