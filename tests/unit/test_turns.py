"""Answers handed out in helpings."""

import asyncio

from worker.ports import HttpResponse
from worker.pts.batching import ANSWERS_MAX, ResponseBatcher

MANY = 3 * ANSWERS_MAX + 1


async def test_a_few_in_each_turn_and_in_order():
    """Somebody else has a turn between any two helpings, and nobody is forgotten."""
    loop = asyncio.get_running_loop()
    inbox, told, helpings = ResponseBatcher(loop), [], []

    async def reader(number: int) -> None:
        future: asyncio.Future[HttpResponse] = loop.create_future()
        inbox.put(future, HttpResponse(status=number, headers={}, body=b""))
        told.append((await future).status)

    async with asyncio.TaskGroup() as readers:
        for number in range(MANY):
            readers.create_task(reader(number))
        while len(told) < MANY:
            before = len(told)
            await asyncio.sleep(0)
            helpings.append(len(told) - before)
    assert list(range(MANY)) == told
    assert ANSWERS_MAX == max(helpings)


async def test_who_does_not_wait_any_more_is_passed_over():
    """A reader that was cancelled in the meantime takes no answer from the others."""
    loop = asyncio.get_running_loop()
    inbox = ResponseBatcher(loop)
    gone, there = loop.create_future(), loop.create_future()
    for future in (gone, there):
        inbox.put(future, HttpResponse(status=200, headers={}, body=b""))
    gone.cancel()
    async with asyncio.timeout(5):
        assert 200 == (await there).status
