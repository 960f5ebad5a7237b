"""Makes all shards agree on the record key path of each area before they write records.

In one process the first record decides (``worker/sync/record_keys.py``). With shards, the first
shard that claims a path decides, and commits the claim to the ledger before it writes records.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy.ext.asyncio import AsyncConnection

from worker.core.model import AreaRead, CompleteArea, PersonRead, keyed_otherwise
from worker.core.run import RunHandle
from worker.store.runs.lease import Lease
from worker.store.runs.ledger import key_paths
from worker.store.writes.notes import claim_key_paths


@dataclass(slots=True, kw_only=True)
class AgreedRecordKeys:
    """The agreed paths that this shard has needed so far."""

    lease: Lease
    handle: RunHandle
    _agreed: dict[str, str] = field(default_factory=dict)

    async def agreed(self, batch: Sequence[PersonRead]) -> Sequence[PersonRead]:
        """The batch, with a failure for each area whose records use another key path.

        Raises:
            LeaseLostError: another process took over this shard.
        """
        found = {
            area.area: area.proof.key_path
            for read in reversed(batch)
            for area in read.areas
            if isinstance(area, CompleteArea) and area.proof.key_path
        }
        new = {area: path for area, path in sorted(found.items()) if area not in self._agreed}
        if new:
            self._agreed |= await self._claim(new)
        if all(self._is_agreed(area) for read in batch for area in read.areas):
            return batch
        return [
            PersonRead(person=read.person, areas=tuple(map(self._checked, read.areas)))
            for read in batch
        ]

    async def _claim(self, paths: Mapping[str, str]) -> Mapping[str, str]:
        async def work(connection: AsyncConnection) -> Mapping[str, str]:
            dialect = self.lease.database.dialect
            await claim_key_paths(connection, dialect, paths.items(), run_id=self.handle.run_id)
            kept = await key_paths(connection)
            return {area: kept[area] for area in paths}

        return await self.lease.write(work)

    def _is_agreed(self, read: AreaRead) -> bool:
        if not isinstance(read, CompleteArea) or not read.proof.key_path:
            return True
        return read.proof.key_path == self._agreed[read.area]

    def _checked(self, read: AreaRead) -> AreaRead:
        if self._is_agreed(read) or not isinstance(read, CompleteArea):
            return read
        return keyed_otherwise(read, f"but another shard uses {self._agreed[read.area]}")
