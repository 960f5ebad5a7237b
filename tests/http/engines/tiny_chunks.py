"""Prints by how many bytes a process grows while it reads a body in chunks of two bytes.

``python -m tests.http.engines.tiny_chunks ENGINE BODY_BYTES``
"""

import asyncio
import resource
import sys

from tests.http.engines.calls import chunked
from tests.http.engines.conftest import ENGINES
from tests.http.engines.scripted_server import Peer, scripted_server
from worker.pts.transport import TransportOptions

_BLOCK = chunked(b"  ").partition(b"\r\n\r\n")[2].removesuffix(b"0\r\n\r\n") * 10_000
_WARM_UP_BYTES = 200_000


async def growth(engine: str, body_bytes: int) -> int:
    """The growth of this process's largest size, in bytes."""
    sizes = [_WARM_UP_BYTES, body_bytes]

    def script(peer: Peer) -> None:
        start, _, end = chunked(b"").rpartition(b"0\r\n\r\n0\r\n\r\n")
        for size in sizes:
            peer.request()
            peer.send(start)
            for _ in range(size // 20_000):
                peer.send(_BLOCK)
            peer.send(b"0\r\n\r\n" + end)

    options = TransportOptions(attempt_s_max=300.0)
    with scripted_server(script) as server:
        async with ENGINES[engine](options) as transport:
            before = 0
            for size in sizes:
                before = _largest_bytes()
                response = await transport.post(server.url, headers={}, body=b"{}")
                assert len(response.body) == size
            return _largest_bytes() - before


def _largest_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    sys.stdout.write(str(asyncio.run(growth(sys.argv[1], int(sys.argv[2])))))
