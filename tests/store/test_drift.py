"""What PTS sends beyond the declaration is noted up to a limit."""

import pytest
from msgspec.structs import replace

from tests.support.store_world import read, world_on
from worker.core.budgets import LEDGER_DRIFT_MAX
from worker.core.model import Drift


def with_drift(person_read, numbers, left_out=0):
    """The same read, with these unknown fields in its first area."""
    drift = frozenset(Drift(field=f"[].f{n:05}", kind="unknown_field") for n in numbers)
    first, *others = person_read.areas
    first = replace(first, drift=drift, drift_left_out=left_out)
    return replace(person_read, areas=(first, *others))


@pytest.mark.promise("10")
async def test_the_ledger_has_a_limit(database_url):
    """Runs and persons add to it until it is full; what is known is known, and the rest counted.

    Of one batch as many fields are noted as there is room for.
    """
    most = LEDGER_DRIFT_MAX
    async with world_on(database_url) as world:
        for first in (0, most // 2, most - 100):
            attempt = await world.begin()
            some = range(first, first + 150)
            more = range(first + 100, first + most // 2)
            await attempt.write(
                with_drift(read(world, "a", "x"), some),
                with_drift(read(world, "b", "y"), more, left_out=7),
            )
            await attempt.publish()
        noted = await world.rows("SELECT area, field FROM drift ORDER BY field")
        assert noted == [("patient-safety", f"[].f{n:05}") for n in range(most)]
