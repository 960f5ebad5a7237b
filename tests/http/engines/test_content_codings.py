"""Responses that are compressed although nobody asked for it."""

import gzip

import pytest

from tests.support.http.calls import OPTIONS, outcome, response
from tests.support.raw_server import Reply, raw_server
from worker.errors import ContractError, TransientError

GZIP = "Content-Encoding: gzip"
BODY = b'[{"id": "a"}, {"id": "b"}]'


async def outcome_of(engine, data):
    async with raw_server(Reply(data=data)) as server, engine(OPTIONS) as transport:
        return await outcome(transport, server.url)


def members(*parts):
    return b"".join(gzip.compress(part) for part in parts)


@pytest.mark.promise("1")
@pytest.mark.parametrize("size", [5, 26])
async def test_every_member_counts(engine, size):
    """A gzip body of several members is all of them (RFC 1952 §2.2), wherever it was divided."""
    parts = [BODY[start : start + size] for start in range(0, len(BODY), size)]
    assert await outcome_of(engine, response(members(*parts), GZIP)) == BODY


@pytest.mark.promise("1")
@pytest.mark.parametrize(
    "body",
    [
        members(BODY)[:15],
        members(BODY[:9]) + members(BODY[9:])[:-1],
        members(BODY) + BODY,
        members(BODY)[:-8] + b"\0" * 8,
        BODY,
    ],
    ids=["cut", "second member cut in its end", "more", "wrong checksum", "plain text"],
)
async def test_damaged_bodies(engine, body):
    """A body that cannot be decoded to its very end is transient."""
    assert await outcome_of(engine, response(body, GZIP)) is TransientError


@pytest.mark.promise("1")
@pytest.mark.parametrize("coding", ["gzip, gzip", "identity, gzip", "br", "gzip;q=1", "chunked"])
async def test_codings_that_are_refused(engine, coding):
    """More than one coding, and an unknown one, are a breach of contract."""
    body = response(members(members(BODY)), f"Content-Encoding: {coding}")
    assert await outcome_of(engine, body) is ContractError


@pytest.mark.promise("10")
@pytest.mark.parametrize("count", [1, 100])
async def test_the_limit_is_on_all_members(engine, count):
    """The limit holds for the decoded body, in one member or many, to the byte."""
    limit = OPTIONS.response_bytes_max
    part = b" " * (limit // count)
    assert await outcome_of(engine, response(members(*[part] * count), GZIP)) == part * count
    more = members(*[part] * count, b" ")
    assert await outcome_of(engine, response(more, GZIP)) is ContractError
