"""Streams between readers and writer: nobody waits who need not, nothing is lost."""

import anyio
from hypothesis import given, settings
from hypothesis import strategies as st

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


@settings(max_examples=30)
@given(
    size=st.integers(1, 5),
    receivers=st.integers(1, 6),
    counts=st.lists(st.integers(0, 12), min_size=1, max_size=4),
)
def test_every_item_is_received_once(size, receivers, counts):
    """Whatever the numbers on either side, and however often a receiver stops waiting."""
    received = []

    async def main():
        sender, receiver = anyio.create_memory_object_stream[tuple[int, int]](size)
        is_over = False

        async def send_some(name, count):
            for number in range(count):
                assert await send(sender, (name, number))
                if number % 4 == 0:
                    await anyio.lowlevel.checkpoint()

        async def receive_all():
            nonlocal is_over
            while not is_over:
                with anyio.move_on_after(0):
                    while (item := await receive(receiver)) is not None:
                        received.append(item)
                    is_over = True

        async with anyio.create_task_group() as tasks:
            for _ in range(receivers):
                tasks.start_soon(receive_all)
            async with anyio.create_task_group() as sending:
                for name, count in enumerate(counts):
                    sending.start_soon(send_some, name, count)
            sender.close()
        receiver.close()

    anyio.run(main)
    expected = [(name, number) for name, count in enumerate(counts) for number in range(count)]
    assert sorted(received) == expected
