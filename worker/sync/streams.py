"""anyio's memory object streams, without an event loop iteration where nobody has to wait.

``send`` and ``receive`` of anyio let all other tasks run first. At full speed only one person would
be handed out in each iteration, and requests that could go out together would go one by one
(docs/performance.md).
"""

from typing import TypeVar

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

T = TypeVar("T")


async def send(stream: MemoryObjectSendStream[T], item: T) -> bool:
    """Send an item, once there is room; ``False`` if the receiving end is closed."""
    try:
        stream.send_nowait(item)
    except anyio.WouldBlock:
        try:
            await stream.send(item)
        except anyio.BrokenResourceError:
            return False
    except anyio.BrokenResourceError:
        return False
    return True


async def receive(stream: MemoryObjectReceiveStream[T]) -> T | None:
    """Receive the next item; ``None`` if the sending end is closed and the buffer empty."""
    try:
        return stream.receive_nowait()
    except anyio.WouldBlock:
        try:
            return await stream.receive()
        except anyio.EndOfStream:
            return None
    except anyio.EndOfStream:
        return None
