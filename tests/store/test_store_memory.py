"""What a run has written it does not keep."""

import gc
from collections import Counter

from tests.store.test_store_scenarios import read, world_on


async def test_no_batch_is_left_to_the_garbage_collector(database_url):
    """A run may go on for long before it looks: cycles with a batch's values would grow till then.

    They did once, by 80 kB a batch (docs/performance.md): each set of keys stood in an expression
    of SQLAlchemy's, and these are cycles.
    """
    async with world_on(database_url) as world:
        turn = await world.begin()
        keys = [f"{number:064x}" for number in range(50)]
        await turn.write(*[read(world, key, key[-9:]) for key in keys])
        await turn.publish()
        turn = await world.begin()
        await turn.write(*[read(world, key, f"{key[-9:]}=L") for key in keys[:10]])
        gc.collect()
        gc.disable()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            for start in range(0, 50, 10):
                ours = [read(world, key, f"{key[-9:]}=N") for key in keys[start : start + 10]]
                await turn.write(*ours)
            gc.collect()
            left = Counter(type(one).__module__.partition(".")[0] for one in gc.garbage)
            kept = [one for one in gc.garbage if isinstance(one, list | tuple) and len(one) >= 10]
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()
        assert not left["sqlalchemy"], left
        assert not [one for one in kept if isinstance(one[0], str | int)]
