"""The line between readers and writer: bounded, in order, nothing lost, nobody left waiting."""

import anyio
from hypothesis import given
from hypothesis import strategies as st

from worker.sync.line import Line


async def test_what_is_there_is_taken_without_a_turn_of_the_loop():
    """Who finds an item does not let another task run first."""
    line: Line[int] = Line(3)
    order: list[object] = []

    async def other():
        order.append("other")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(other)
        await line.put(1)
        order.append(await line.take())
    assert [1, "other"] == order


async def test_who_finds_no_room_waits_until_half_is_free():
    """A full line holds the putter back, and wakes it once for half of the room."""
    line: Line[int] = Line(4)
    put = []

    async def feed():
        for number in range(6):
            await line.put(number)
            put.append(number)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(feed)
        await anyio.wait_all_tasks_blocked()
        assert [0, 1, 2, 3] == put
        await line.take()
        await anyio.wait_all_tasks_blocked()
        assert [0, 1, 2, 3] == put
        await line.take()
        await anyio.wait_all_tasks_blocked()
    assert list(range(6)) == put


async def test_a_closed_line_gives_what_stands_in_it_and_takes_nothing_more():
    """Closing wakes those who wait on either side."""
    line: Line[int] = Line(1)
    await line.put(1)
    refused = []
    async with anyio.create_task_group() as tasks:

        async def put():
            refused.append(await line.put(2))

        tasks.start_soon(put)
        await anyio.wait_all_tasks_blocked()
        line.close()
    assert [False] == refused
    assert not line.is_over
    assert 1 == await line.take()
    assert await line.take() is None
    assert line.is_over


async def test_a_taker_that_is_cancelled_when_its_item_comes_passes_the_turn_on():
    """Two wait, the first is cancelled, an item comes before it has noticed: the other gets it."""
    line: Line[int] = Line(4)
    taken = []

    async def take(scope):
        with scope:
            taken.append(await line.take())

    first, second = anyio.CancelScope(), anyio.CancelScope()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(take, first)
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(take, second)
        await anyio.wait_all_tasks_blocked()
        first.cancel()
        await line.put(7)
        await anyio.wait_all_tasks_blocked()
        before_the_end = list(taken)
        line.close()
    assert [7] == before_the_end


async def test_the_writer_waits_for_so_many_or_for_the_end():
    """``wait_for`` returns at the count, and at the close."""
    line: Line[int] = Line(10)
    woken = []

    async def write():
        await line.wait_for(3)
        woken.append(line.take_up_to(3))
        await line.wait_for(3)
        woken.append(line.take_up_to(3))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(write)
        for number in range(4):
            await line.put(number)
            await anyio.wait_all_tasks_blocked()
        assert [[0, 1, 2]] == woken
        line.close()
    assert [[0, 1, 2], [3]] == woken


@given(
    room=st.integers(1, 5),
    takers=st.integers(1, 6),
    putters=st.lists(st.integers(0, 12), min_size=1, max_size=4),
)
def test_every_item_is_taken_once(room, takers, putters):
    """Whatever the numbers on either side, nothing is lost, doubled or left behind."""
    taken = []

    async def main():
        line: Line[tuple[int, int]] = Line(room)

        async def put(name, count):
            for number in range(count):
                assert await line.put((name, number))

        async def take():
            while (item := await line.take()) is not None:
                taken.append(item)
                if len(taken) % 3 == 0:
                    await anyio.lowlevel.checkpoint()

        async with anyio.create_task_group() as tasks:
            for _ in range(takers):
                tasks.start_soon(take)
            async with anyio.create_task_group() as putting:
                for name, count in enumerate(putters):
                    putting.start_soon(put, name, count)
            line.close()

    anyio.run(main)
    everything = [(name, number) for name, count in enumerate(putters) for number in range(count)]
    assert everything == sorted(taken)
