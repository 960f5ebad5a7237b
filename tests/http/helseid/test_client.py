"""Bodies of HelseID's answers: bounded in bytes and in time, and never unpacked."""

import gzip

import pytest

from tests.support.raw_server import Reply, http
from worker.core.retry import RetryPolicy
from worker.errors import UnavailableError
from worker.helseid.client import Discovery, HelseIdClient, helseid_client

pytestmark = pytest.mark.promise("10")

MIB = 1_048_576
ONCE = RetryPolicy(attempts_max=1)


async def metadata(clients, server, reply: Reply, *, attempt_s_max: float = 30.0):
    """Read the OpenID configuration from a server that gives this reply."""
    server.discovery_reply = reply
    runtime = clients.fake.runtime
    async with helseid_client(attempt_s_max=attempt_s_max) as http:
        client = HelseIdClient(http, runtime, ONCE)
        return await Discovery(server.issuer, client, runtime).metadata()


async def test_a_packed_body_is_not_unpacked(clients, server):
    """An answer that nobody asked to be packed is given up, whatever it would unpack to."""
    packed = http(gzip.compress(b" " * 64 * MIB), headers=["Content-Encoding: gzip"])
    with pytest.raises(UnavailableError, match="not asked for"):
        await metadata(clients, server, packed)


async def test_a_large_body_is_not_read(clients, server):
    """So is one that is larger than any answer of HelseID's."""
    with pytest.raises(UnavailableError, match="more than 1048576 bytes"):
        await metadata(clients, server, http(b" " * (MIB + 1)))


async def test_an_answer_in_drips_ends(clients, server):
    """The limit of an attempt's time is on the body too, also where each byte comes in time."""
    drips = http(b" " * 10_000)
    drips = Reply(data=drips.data, slices=len(drips.data), pause_s=0.01)
    with pytest.raises(UnavailableError, match="no complete response in time"):
        await metadata(clients, server, drips, attempt_s_max=0.3)
