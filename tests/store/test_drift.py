"""Fields that the contract does not declare are counted by name, up to a limit."""

import pytest
from msgspec.structs import replace

from tests.support.store_world import read, world_on
from worker.core.record import LEDGER_DRIFT_MAX

pytestmark = pytest.mark.promise("9")


def with_drift(person_read, counted):
    """The same read, with these undeclared fields in its first area."""
    first, *others = person_read.areas
    return replace(person_read, areas=(replace(first, drift=counted), *others))


async def test_a_field_is_counted_in_the_last_run_that_saw_it(database_url):
    """Over its batches; when it was first seen stays."""
    async with world_on(database_url) as world:
        for nights, counted in enumerate(({"x": 1}, {"x": 2, "y": 1}, {})):
            attempt = await world.begin()
            await attempt.write(with_drift(read(world, "a", "r"), counted))
            await attempt.write(with_drift(read(world, "b", "s"), counted))
            await attempt.publish()
            world.fake.advance(3_600.0)
            rows = await world.rows("SELECT field, records FROM report_drift ORDER BY field")
            assert rows == [[("x", 2)], [("x", 4), ("y", 2)], [("x", 4), ("y", 2)]][nights]
        first = await world.rows("SELECT field, first_run FROM drift ORDER BY field")
        assert first == [("x", 1), ("y", 2)]


@pytest.mark.promise("10")
async def test_the_ledger_has_a_limit(database_url):
    """Once it is full no other field is noted, and what is known is counted on."""
    most = LEDGER_DRIFT_MAX
    async with world_on(database_url) as world:
        for first in (0, most // 2, most - 100):
            attempt = await world.begin()
            for start, end in ((first, first + 150), (first + 100, first + most // 2)):
                counted = {f"f{number:05}": 1 for number in range(start, end)}
                await attempt.write(with_drift(read(world, "a", "x"), counted))
            await attempt.publish()
        noted = await world.rows("SELECT area, field FROM drift ORDER BY field")
        assert noted == [("patient-safety", f"f{number:05}") for number in range(most)]
