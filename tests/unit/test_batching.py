"""Responses delivered in batches per event loop iteration."""

import asyncio

from worker.ports import HttpResponse
from worker.pts.batching import RESPONSES_MAX, ResponseBatcher

MANY = 3 * RESPONSES_MAX + 1


async def test_a_few_in_each_iteration_and_in_order():
    """Other callbacks run between any two batches, and no response is lost."""
    loop = asyncio.get_running_loop()
    batcher, delivered, batches = ResponseBatcher(loop), [], []

    async def reader(number: int) -> None:
        future: asyncio.Future[HttpResponse] = loop.create_future()
        batcher.put(future, HttpResponse(status=number, headers={}, body=b""))
        delivered.append((await future).status)

    async with asyncio.TaskGroup() as readers:
        for number in range(MANY):
            readers.create_task(reader(number))
        while len(delivered) < MANY:
            before = len(delivered)
            await asyncio.sleep(0)
            batches.append(len(delivered) - before)
    assert delivered == list(range(MANY))
    assert max(batches) == RESPONSES_MAX
