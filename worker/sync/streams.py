"""Send and receive on anyio's memory object streams without yielding to the event loop.

anyio's ``send`` and ``receive`` always yield. At full speed that would hand out one person per
event loop iteration and prevent batching of requests (docs/scale.md).
"""

from typing import TypeVar

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

T = TypeVar("T")


async def send(stream: MemoryObjectSendStream[T], item: T) -> bool:
    """Send an item, waiting for room; ``False`` if the receiving end is closed."""
    try:
        try:
            stream.send_nowait(item)
        except anyio.WouldBlock:
            await stream.send(item)
    except anyio.BrokenResourceError:
        return False
    return True


async def receive(stream: MemoryObjectReceiveStream[T]) -> T | None:
    """Receive the next item; ``None`` if the sending end is closed and the buffer empty."""
    try:
        try:
            return stream.receive_nowait()
        except anyio.WouldBlock:
            return await stream.receive()
    except anyio.EndOfStream:
        return None
