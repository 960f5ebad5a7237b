"""What PTS sends beyond the declaration is noted up to a limit."""

import pytest
from msgspec.structs import replace

from tests.support.store_world import read, world_on
from worker.core.budgets import LEDGER_DRIFT_MAX
from worker.core.model import Drift

COUNT = "SELECT area, count(*) FROM drift GROUP BY area"


def with_drift(person_read, numbers, left_out=0):
    """The same read, with these unknown fields in its first area."""
    drift = frozenset(Drift(field=f"[].f{n:05}", kind="unknown_field") for n in numbers)
    first, *others = person_read.areas
    first = replace(first, drift=drift, drift_left_out=left_out)
    return replace(person_read, areas=(first, *others))


@pytest.mark.promise("10")
async def test_the_ledger_has_a_limit(database_url):
    """Runs and persons add to it until it is full; what is known is known, and the rest counted."""
    async with world_on(database_url) as world:
        for number in range(13):
            attempt = await world.begin()
            found = range(100 * number, 100 * number + 100)
            await attempt.write(with_drift(read(world, "a", "x"), found))
            await attempt.publish()
        assert await world.rows(COUNT) == [("patient-safety", LEDGER_DRIFT_MAX)]
        fields = await world.rows("SELECT field FROM drift ORDER BY field")
        assert [(f"[].f{n:05}",) for n in range(LEDGER_DRIFT_MAX)] == fields
        attempt = await world.begin()
        await attempt.write(with_drift(read(world, "a", "x"), range(990, 1_010), left_out=7))
        assert await world.rows(COUNT) == [("patient-safety", LEDGER_DRIFT_MAX)]


async def test_a_batch_beyond_the_limit(database_url):
    """Of one batch as many are noted as there is room for."""
    async with world_on(database_url) as world:
        attempt = await world.begin()
        reads = [
            with_drift(read(world, f"p{n}", "x"), range(100 * n, 100 * n + 100)) for n in range(20)
        ]
        await attempt.write(*reads)
        await attempt.write(*reads)
        assert await world.rows(COUNT) == [("patient-safety", LEDGER_DRIFT_MAX)]
