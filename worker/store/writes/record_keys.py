"""Which record key path each area uses, agreed among shards before any of them writes a record.

In one process the first record decides (``worker/sync/record_keys.py``). Of shards, the first to
claim a path decides, and the claim is in the ledger before its records are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.core.model import AreaFailure, AreaRead, CompleteArea, FailureKind, PersonRead
from worker.core.run import RunHandle
from worker.store.database import Database
from worker.store.runs.lease import Lease
from worker.store.schema.tables import area_key


@dataclass(slots=True, kw_only=True)
class AgreedRecordKeys:
    """The paths that all shards keep to, as far as this one has come across them."""

    database: Database
    lease: Lease
    handle: RunHandle
    _agreed: dict[str, str] = field(default_factory=dict)

    async def agreed(self, batch: Sequence[PersonRead]) -> Sequence[PersonRead]:
        """The batch, with a failure in place of each area whose records are keyed otherwise.

        Raises:
            LeaseLostError: another process took over this shard.
        """
        found = {
            area.area: area.proof.key_path
            for one in reversed(batch)
            for area in one.areas
            if isinstance(area, CompleteArea) and area.proof.key_path
        }
        new = {area: path for area, path in sorted(found.items()) if area not in self._agreed}
        if new:
            self._agreed |= await self._claim(new)
        if all(self._is_agreed(area) for one in batch for area in one.areas):
            return batch
        return [
            PersonRead(person=one.person, areas=tuple(map(self._admitted, one.areas)))
            for one in batch
        ]

    async def _claim(self, paths: Mapping[str, str]) -> Mapping[str, str]:
        async def work(connection: AsyncConnection) -> Mapping[str, str]:
            await self.lease.renew(self.database, connection)
            tenant_id = self.lease.tenant_id
            await connection.execute(
                self.database.dialect.insert(area_key).on_conflict_do_nothing(),
                [
                    {
                        "tenant_id": tenant_id,
                        "area": area,
                        "key_path": path,
                        "since_run": self.handle.run_id,
                    }
                    for area, path in paths.items()
                ],
            )
            rows = await connection.execute(
                select(area_key.c.area, area_key.c.key_path).where(
                    area_key.c.tenant_id == tenant_id, area_key.c.area.in_(list(paths))
                )
            )
            return {row.area: row.key_path for row in rows}

        return await self.database.write(work)

    def _is_agreed(self, read: AreaRead) -> bool:
        if not isinstance(read, CompleteArea) or not read.proof.key_path:
            return True
        return read.proof.key_path == self._agreed[read.area]

    def _admitted(self, read: AreaRead) -> AreaRead:
        if self._is_agreed(read) or not isinstance(read, CompleteArea):
            return read
        return AreaFailure(
            area=read.area,
            kind=FailureKind.CONTRACT,
            reason=f"records are keyed by {read.proof.key_path}, another shard has found "
            f"{self._agreed[read.area]}",
            attempts=1,
            failed_at=read.proof.read_at,
            status=200,
        )
