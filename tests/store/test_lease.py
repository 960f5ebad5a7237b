"""Who holds the lease, distinguished by more than a process id."""

import os
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.support.store_world import World, world_on
from worker.errors import LeaseHeldError
from worker.store.runs.lease import acquire
from worker.store.runs.process_identity import Holder, has_died, this_process

pytestmark = pytest.mark.promise("4")


async def test_a_reused_process_id_is_another_process(database_url: str):
    """The id is in use again, by a process that began at another time: the holder is dead.

    Its lease is taken over at once, though it has not expired; that of a process that lives is not.
    """
    async with world_on(database_url) as world:
        ours = this_process("first")
        gone = replace(ours, holder_id="gone", process=f"{os.getpid()}:1")
        await acquire(world.database, gone, ttl_s=50)
        again = await acquire(world.database, ours, ttl_s=50)
        assert again.fencing_token == 2
        with pytest.raises(LeaseHeldError, match=f"process {os.getpid()}"):
            await acquire(world.database, replace(ours, holder_id="x"), ttl_s=50)


async def test_a_process_of_elsewhere_is_not_known_to_be_dead(sqlite_url: str):
    """Another machine, another boot or another namespace has ids of its own."""
    async with world_on(sqlite_url) as world:
        ours = this_process("first")
        host, boot, namespace = ours.host.split("/", 2)
        for number, place in enumerate(
            (f"other/{boot}/{namespace}", f"{host}/other/{namespace}", f"{host}/{boot}/other")
        ):
            there = replace(ours, holder_id=f"h{number}", host=place, process=f"{os.getpid()}:1")
            await acquire(world.database, there, ttl_s=50)
            with pytest.raises(LeaseHeldError, match="another run holds the lease"):
                await acquire(world.database, ours, ttl_s=50)
            await give_back(world, there)


async def give_back(world: World, holder: Holder) -> None:
    """The holder gives its lease back."""
    lease = await acquire(world.database, holder, ttl_s=50)
    await lease.release()


def test_the_first_process_of_this_machine_lives():
    """One that is not ours, and that has the start that the system tells."""
    stat = Path("/proc/1/stat").read_text(encoding="ascii")
    start = stat[stat.rindex(")") + 2 :].split()[19]
    ours = this_process("me")
    assert not has_died(ours.host, f"1:{start}")
    assert has_died(ours.host, f"1:{int(start) + 1}")
