"""The bytes of all answers in flight have one limit."""

from contextlib import AsyncExitStack

import anyio
import anyio.lowlevel
import pytest

from worker.http.budget import SHARE_BYTES, ByteBudget

pytestmark = pytest.mark.promise("10")

LARGE = 16 * SHARE_BYTES


async def settle() -> None:
    for _ in range(5):
        await anyio.lowlevel.checkpoint()


async def test_a_read_waits_for_room() -> None:
    """It is not asked before another answer has been read."""
    budget, asked, answered = ByteBudget(2 * SHARE_BYTES), list[int](), anyio.Event()

    async def read(number: int) -> None:
        async with budget.share():
            asked.append(number)
            await answered.wait()

    async with anyio.create_task_group() as group:
        for number in range(3):
            group.start_soon(read, number)
        await settle()
        assert asked == [0, 1]
        answered.set()
    assert asked == [0, 1, 2]


async def test_a_large_answer_gets_its_room_at_once_or_waits() -> None:
    """Two that grow at a time do not wait for each other; the second follows the first."""
    budget = ByteBudget(LARGE + 2 * SHARE_BYTES)
    granted: list[str] = []
    async with AsyncExitStack() as second:
        later = await second.enter_async_context(budget.share())
        async with budget.share() as share:
            assert (share.covers(SHARE_BYTES), share.covers(SHARE_BYTES + 1)) == (True, False)
            share.grow(LARGE, lambda: granted.append("first"))
            later.grow(LARGE, lambda: granted.append("second"))
            assert granted == ["first"]
            assert share.covers(LARGE)
        assert granted == ["first", "second"]


async def test_an_answer_that_ends_while_it_waits() -> None:
    """It holds up nobody, and the whole limit is free again."""
    budget = ByteBudget(LARGE + SHARE_BYTES)
    async with budget.share() as share:
        share.grow(LARGE, lambda: None)
        with anyio.move_on_after(0.01):
            async with budget.share() as waiting:
                waiting.grow(LARGE, lambda: pytest.fail("there is no room"))
                await anyio.sleep_forever()
    async with budget.share() as share:
        share.grow(LARGE + SHARE_BYTES, lambda: None)
        assert share.covers(LARGE + SHARE_BYTES)


async def test_a_growing_answer_goes_before_new_requests() -> None:
    """They would take the room that it waits for, again and again."""
    budget = ByteBudget(LARGE)
    async with budget.share() as share, budget.share():
        share.grow(LARGE, lambda: None)
        with anyio.move_on_after(0.01):
            async with budget.share():
                pytest.fail("it is not the turn of a new request")
