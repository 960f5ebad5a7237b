"""The body of an answer of HelseID's is bounded."""

import pytest

from tests.support.raw_server import http
from worker.core.retry import RetryPolicy
from worker.errors import UnavailableError
from worker.helseid.client import Discovery, HelseIdClient, helseid_client

MIB = 1_048_576


@pytest.mark.promise("10")
async def test_a_large_body_is_not_read(clients, server):
    """It is given up where it is larger than any answer of HelseID's."""
    server.discovery_reply = http(b" " * (MIB + 1))
    runtime = clients.fake.runtime
    async with helseid_client() as client:
        helseid = HelseIdClient(client, runtime, RetryPolicy(attempts_max=1))
        with pytest.raises(UnavailableError, match="more than 1048576 bytes"):
            await Discovery(server.issuer, helseid, runtime).metadata()
