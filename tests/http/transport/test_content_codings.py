"""Responses that are encoded although nobody asked for it."""

import gzip

import pytest

from tests.support.http.calls import OPTIONS, outcome, response
from tests.support.raw_server import Reply, raw_server
from worker.errors import ContractError
from worker.http.transport import Transport

pytestmark = pytest.mark.promise("1")

BODY = b"[1]"


async def outcome_of(data):
    async with raw_server(Reply(data=data)) as server, Transport(OPTIONS) as transport:
        return await outcome(transport, server.url)


@pytest.mark.parametrize(
    "coding", ["gzip", "GZIP", "deflate", "br", "gzip, gzip", "identity, gzip", "gzip;q=1"]
)
async def test_a_coding_is_refused(coding):
    """Whatever it unpacks to: what takes part in the way from PTS cannot be told from damage."""
    packed = response(gzip.compress(BODY), f"Content-Encoding: {coding}")
    assert await outcome_of(packed) is ContractError


@pytest.mark.parametrize("coding", ["identity", "Identity", ""])
async def test_no_coding_is_none(coding):
    """A header that names none changes nothing."""
    assert await outcome_of(response(BODY, f"Content-Encoding: {coding}")) == BODY


async def test_a_second_coding_counts():
    """A header that comes twice is read twice."""
    twice = response(BODY, "Content-Encoding: identity", "Content-Encoding: gzip")
    assert await outcome_of(twice) is ContractError
