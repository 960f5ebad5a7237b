"""Reading areas over real sockets: pages, proofs, caches and errors."""

import time
from dataclasses import replace

import anyio
import orjson
import pytest

from tests.support.http.reading import CUT, OPTIONS, World, page, reading
from tests.support.pts_answers import OFF_ID, PSEUDONYM, SAFETY, restriction
from tests.support.raw_server import answer, raw_server
from worker.core.overrides import with_overrides
from worker.errors import (
    ContractError,
    PagingError,
    RefusedError,
    TransientError,
)
from worker.pts.engines import open_transport
from worker.pts.transport import TransportOptions


async def test_a_complete_area():
    """An area read to its end has its records, its proof, and nothing of the identifier."""
    async with reading(page(1, 2)) as it:
        area = await it.read()
    request = it.server.requests[0]
    assert request.line == f"POST {SAFETY.path} HTTP/1.1"
    assert orjson.loads(request.body) == {"offId": OFF_ID}
    assert {request.headers[name] for name in ("content-type", "accept")} == {"application/json"}
    assert (area.area, len(area.records), area.proof.key_path) == ("patient-safety", 2, "id")
    proof = area.proof
    assert (proof.pages, proof.record_count, proof.read_at) == (1, 2, it.fake.now())
    assert len(area.proof.digest) == 16
    assert OFF_ID not in repr(area)
    assert PSEUDONYM in area.records[0].payload


async def test_an_empty_area():
    """An area without restrictions is proven too, and names no key path."""
    async with reading() as it:
        area = await it.read(key_path="id")
    assert (area.records, area.proof.record_count, area.proof.key_path) == ((), 0, "")


async def test_the_digest_is_of_the_set():
    """The proof's digest does not depend on order or pages, but on every content."""
    digests = []
    for replies in (
        [page(1, 2)],
        [page(2, 1)],
        [page(2, nextToken="a"), page(1, nextToken=None)],
        [page(1, 3)],
        [answer(orjson.dumps([restriction(1), restriction(2, cause="Derived")]))],
    ):
        async with reading(*replies) as it:
            digests.append((await it.read()).proof.digest)
    assert digests[0] == digests[1] == digests[2]
    assert len(set(digests)) == 3


async def test_pages_by_token():
    """A token goes back in query and body beside the identifier; each page has a fresh proof."""
    replies = page(1, nextToken="a b"), page(nextToken="c"), page(2, nextToken=None, total=2)
    async with reading(*replies) as it:
        area = await it.read()
    assert (area.proof.pages, area.proof.record_count) == (3, 2)
    assert it.server.requests[1].line == f"POST {SAFETY.path}?nextToken=a+b HTTP/1.1"
    assert orjson.loads(it.server.requests[1].body) == {"offId": OFF_ID, "nextToken": "a b"}
    assert it.proofs == ["proof-1", "proof-2", "proof-3"]


@pytest.mark.promise("1")
async def test_a_lost_second_page():
    """If a later page cannot be read, nothing of the area is."""
    async with reading(page(1, nextToken="a"), CUT) as it:
        with pytest.raises(TransientError) as caught:
            await it.read()
    assert caught.value.attempts == 4  # one for the first page, three for the second


@pytest.mark.promise("1")
async def test_the_key_path_of_the_first_page_holds():
    """A later page without the key path of the first is a failure."""
    bare = {name: value for name, value in restriction(2).items() if name != "id"}
    second = answer(orjson.dumps([bare]))
    async with reading(page(1, nextToken="a"), second) as it:
        with pytest.raises(ContractError, match=r"no record key \(id\)"):
            await it.read()


@pytest.mark.promise("1")
@pytest.mark.parametrize(
    "header",
    [
        "Age: 1",
        "Cache-Status: origin; fwd=miss, edge; hit; ttl=300",
        "X-Cache: HIT from proxy",
    ],
)
async def test_a_response_from_a_cache_is_no_read(header):
    """A stored answer says nothing of now, twice as little as once (RFC 9111 §5.1)."""
    cached = page(1, headers=(header,))
    async with reading(cached, page(1, 2)) as it:
        read = await it.read()
    assert len(read.records) == 2


async def test_no_restrictions_from_a_cache():
    """A 404 may mean an empty area, and caches store it as well."""
    cached = answer(b"", status="404 Not Found", headers=("X-Cache: HIT",))
    areas = (with_overrides(SAFETY, {"not_found_means": "empty"}),)
    async with reading(cached, page(1, 2), areas=areas) as it:
        read = await it.read()
    assert len(read.records) == 2


async def test_helseid_refuses():
    """What ends the run passes through, and nothing was sent."""
    async with reading() as it:
        it.authorizer.refuses = True
        with pytest.raises(RefusedError):
            await it.read()
    assert it.server.requests == []


@pytest.mark.promise("8")
async def test_errors_hold_no_identifier():
    """Whatever fails, the identifier and the body are not in the error."""
    echo = answer(orjson.dumps({"items": [], "error": f"no {OFF_ID}"}))
    for reply in (echo, answer(f"<p>{OFF_ID}</p>".encode()), page(1, next=f"?x={OFF_ID}")):
        async with reading(reply) as it:
            with pytest.raises((ContractError, PagingError)) as caught:
                await it.read()
        assert OFF_ID not in repr(caught.value)
        assert caught.value.__cause__ is None


async def test_a_base_url_with_a_path():
    """A base URL may have a path of its own."""
    async with raw_server() as server, open_transport(OPTIONS) as transport:
        with_path = replace(server, url=server.url + "/gateway")
        await World(with_path, transport).read()
    assert server.requests[0].line == f"POST /gateway{SAFETY.path} HTTP/1.1"


@pytest.mark.promise("8")
async def test_a_large_response_does_not_hold_the_event_loop():
    """The lease is renewed and a stop is heard while an answer full of suspicious text is read."""
    records = [{**restriction(n), "note": "12 3-4.5/6 " * 4_000} for n in range(12)]
    gaps = []

    async def tick():
        before = time.process_time()  # whatever else the machine does
        while True:
            await anyio.sleep(0.01)
            now = time.process_time()
            gaps.append(now - before)
            before = now

    async with (
        raw_server(answer(orjson.dumps(records))) as server,
        open_transport(TransportOptions(attempt_s_max=60.0)) as transport,
        anyio.create_task_group() as group,
    ):
        group.start_soon(tick)
        began = time.process_time()
        read = await World(server, transport).read()
        took_s = time.process_time() - began
        await anyio.sleep(0.1)
        group.cancel_scope.cancel()
    assert len(read.records) == len(records)
    assert max(gaps) < took_s / 3
