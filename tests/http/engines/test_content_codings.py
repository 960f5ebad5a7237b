"""Responses that are compressed although nobody asked for it."""

import gzip
import time
import zlib

import pytest
from msgspec.structs import replace

from tests.support.http.calls import OPTIONS, chunked, outcome, response
from tests.support.raw_server import Reply, raw_server
from worker.errors import ContractError, TransientError

GZIP = "Content-Encoding: gzip"
BODY = b'[{"id": "a"}, {"id": "b"}]'


async def outcome_of(engine, data, options=OPTIONS, *, closes=False):
    reply = Reply(data=data, then="close" if closes else "keep")
    async with raw_server(reply) as server, engine(options) as transport:
        return await outcome(transport, server.url)


def members(*parts):
    return b"".join(gzip.compress(part) for part in parts)


@pytest.mark.promise("1")
@pytest.mark.parametrize("size", [1, 2, 3, 5, 13, 26])
async def test_every_member_counts(engine, size):
    """A gzip body of several members is all of them (RFC 1952 §2.2), wherever it was divided."""
    parts = [BODY[start : start + size] for start in range(0, len(BODY), size)]
    assert await outcome_of(engine, response(members(*parts), GZIP)) == BODY


async def test_members_that_arrive_apart(engine):
    """So does one in chunks, one that ends with the connection, and one with empty members."""
    body = members(b"", BODY[:7], b"", BODY[7:], b"")
    halves = body[:30], body[30:]
    assert await outcome_of(engine, chunked(*halves, headers=(GZIP,))) == BODY
    until_end = f"HTTP/1.1 200 OK\r\n{GZIP}\r\n\r\n".encode() + body
    assert await outcome_of(engine, until_end, closes=True) == BODY


@pytest.mark.parametrize("coding", ["x-gzip", "GZIP", "deflate", "identity", "Identity"])
async def test_other_names(engine, coding):
    """Codings by another name, in any case of letters."""
    coded = {"deflate": zlib.compress(BODY), "identity": BODY}
    body = coded.get(coding.lower(), gzip.compress(BODY))
    assert await outcome_of(engine, response(body, f"Content-Encoding: {coding}")) == BODY


@pytest.mark.promise("1")
@pytest.mark.parametrize(
    "body",
    [
        members(BODY)[:-1],
        members(BODY)[:15],
        members(BODY[:9]) + members(BODY[9:])[:-1],
        members(BODY[:9]) + members(BODY[9:])[:5],
        members(BODY) + b"\x1f",
        members(BODY) + b"\0" * 16,
        members(BODY) + b"garbage",
        members(BODY) + BODY,
        members(BODY)[:-8] + b"\0" * 8,
        BODY,
    ],
    ids=[
        "cut in its end", "cut", "second member cut in its end", "second member cut",
        "one byte more", "zero bytes more", "garbage more", "plain text more",
        "wrong checksum", "plain text",
    ],
)  # fmt: skip
async def test_damaged_bodies(engine, body):
    """A body that cannot be decoded to its very end is transient."""
    assert TransientError is await outcome_of(engine, response(body, GZIP))


async def test_deflate_has_one_stream(engine):
    """Only gzip has members."""
    body = zlib.compress(BODY[:9]) + zlib.compress(BODY[9:])
    assert TransientError is await outcome_of(engine, response(body, "Content-Encoding: deflate"))


@pytest.mark.promise("1")
@pytest.mark.parametrize(
    "headers",
    [
        ["gzip, gzip"],
        ["gzip", "gzip"],
        ["identity, gzip"],
        ["identity", "gzip"],
        ["gzip, deflate"],
        ["br"],
        ["zstd"],
        ["gzip;q=1"],
        ["chunked"],
    ],
    ids=" and ".join,
)
async def test_codings_that_are_refused(engine, headers):
    """More than one coding, and an unknown one, are a breach of contract."""
    lines = [f"Content-Encoding: {value}" for value in headers]
    twice = gzip.compress(gzip.compress(BODY))
    assert ContractError is await outcome_of(engine, response(twice, *lines))


@pytest.mark.promise("10")
@pytest.mark.parametrize("count", [1, 2, 100])
async def test_the_limit_is_on_all_members(engine, count):
    """The limit holds for the decoded body, in one member or many, to the byte."""
    limit = OPTIONS.response_bytes_max
    part = b" " * (limit // count)
    assert part * count == await outcome_of(engine, response(members(*[part] * count), GZIP))
    more = members(*[part] * count, b" ")
    assert ContractError is await outcome_of(engine, response(more, GZIP))


@pytest.mark.promise("10")
@pytest.mark.parametrize("text", [b"", b"a"], ids=["empty", "one byte"])
async def test_thousands_of_tiny_members(engine, text):
    """Time grows with the bytes of a body, and not with the square of its members."""
    options = replace(OPTIONS, response_bytes_max=16 * 1024 * 1024)
    member = gzip.compress(text)

    async def seconds(count):
        start = time.process_time()
        assert text * count == await outcome_of(engine, response(member * count, GZIP), options)
        return time.process_time() - start

    few = min([await seconds(10_000) for _ in range(3)])
    assert await seconds(80_000) < 24 * few
