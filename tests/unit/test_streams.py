"""Streams between readers and writer, whichever end is closed first."""

import anyio

from worker.sync.streams import receive, send


async def test_an_end_that_is_closed():
    """Items sent earlier are received, and a task that waits at the other end returns."""
    sender, receiver = anyio.create_memory_object_stream[int](1)
    found: list[object] = []

    async def receive_all():
        found.extend([await receive(receiver) for _ in range(3)])

    async def send_all():
        found.extend([number for number in range(3) if await send(sender, number)])

    async with anyio.create_task_group() as tasks:
        await send(sender, 1)
        tasks.start_soon(receive_all)
        await anyio.wait_all_tasks_blocked()
        sender.close()
    receiver.close()
    assert found == [1, None, None]

    sender, receiver = anyio.create_memory_object_stream[int](1)
    found.clear()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(send_all)
        await anyio.wait_all_tasks_blocked()
        receiver.close()
    sender.close()
    assert found == [0]
