"""Bodies of HelseID's answers: bounded in bytes, decoded or not, and in time."""

import gzip
import tracemalloc
import zlib

import pytest

from tests.support.raw_server import Reply, http
from worker.core.retry import RetryPolicy
from worker.errors import UnavailableError

pytestmark = pytest.mark.promise("10")

MIB = 1_048_576
ONCE = RetryPolicy(attempts_max=1)


def bomb(*, mib: int, layers: int) -> bytes:
    """That many MiB of blanks, compressed."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    body = b"".join(packer.compress(b" " * MIB) for _ in range(mib)) + packer.flush()
    for _ in range(layers - 1):
        body = gzip.compress(body)
    return body


async def metadata(clients, server, reply: Reply, **options):
    """Read the OpenID configuration from a server that gives this reply."""
    server.discovery_reply = reply
    return await clients.open(retry=ONCE, **options).discovery.metadata()


@pytest.mark.parametrize(
    ("layers", "problem"),
    [(1, "more than 1048576 bytes"), (2, "not asked for")],
)
async def test_a_bomb_takes_no_memory(layers, problem, clients, server):
    """An answer that unpacks to 64 MiB is given up before that, however often it is packed."""
    body = bomb(mib=64, layers=layers)
    packed = http(body, headers=[f"Content-Encoding: {', '.join(['gzip'] * layers)}"])
    tracemalloc.start()
    try:
        with pytest.raises(UnavailableError, match=problem):
            await metadata(clients, server, packed)
        assert tracemalloc.get_traced_memory()[1] < 16 * MIB
    finally:
        tracemalloc.stop()


async def test_a_large_body_is_not_read(clients, server):
    """So is one that is not packed."""
    with pytest.raises(UnavailableError, match="more than 1048576 bytes"):
        await metadata(clients, server, http(b" " * (MIB + 1)))


async def test_an_answer_in_drips_ends(clients, server):
    """The limit of an attempt's time is on the body too, also where each byte comes in time."""
    drips = http(b" " * 10_000)
    drips = Reply(data=drips.data, slices=len(drips.data), pause_s=0.01)
    with pytest.raises(UnavailableError, match="no response within"):
        await metadata(clients, server, drips, attempt_s_max=0.3)
