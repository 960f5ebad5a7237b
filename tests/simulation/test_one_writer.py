"""A second start beside a run that has nothing to write."""

import shutil

import anyio
import pytest

from tests.support.simulation.materials import fast_folder
from tests.support.simulation.nth_call import VirtualStage, apart, in_world


@pytest.mark.promise("4")
def test_a_run_that_waits_for_pts_keeps_its_lease():
    """PTS asks everybody to wait for longer than a lease lasts: the second start ends with 4."""
    folder = fast_folder()
    stage = VirtualStage(folder)
    quiet_s = 10 * stage.settings.lease.ttl_s
    stage.upstream.arm(
        [
            {
                "action": "status",
                "status": 503,
                "headers": {"retry-after": f"{quiet_s:g}"},
                "area": "pts",
                "times": 3,
            }
        ]
    )
    codes = {}

    async def start(name, after_s):
        await anyio.sleep(after_s)
        codes[name] = (await apart(stage)).code

    async def live():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(start, "first", 0.0)
            tasks.start_soon(start, "second", quiet_s / 2)

    in_world(stage, live)
    stage.close()
    shutil.rmtree(folder)
    assert codes == {"first": 0, "second": 4}
