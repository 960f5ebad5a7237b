"""Reading areas over real sockets: requests by the contract, pages, proofs and errors."""

import uuid

import msgspec
import pytest

from tests.support.http.reading import BUSY, CUT, OPTIONS, page, reading
from tests.support.pts_answers import OFF_ID, contract, restriction
from tests.support.raw_server import answer
from worker.core.contract import AreaContract
from worker.errors import ContractError, PagingError, TransientError
from worker.http.budget import Share

PATH = contract().path
TOKEN = {"style": "token", "field": "next", "send_as": "after"}


def by_token(**changed) -> dict[str, AreaContract]:
    """A contract with pages by token, of the area that is read."""
    return {"patient-safety": contract(records="items", paging=TOKEN, **changed)}


def by_link() -> dict[str, AreaContract]:
    """A contract with pages by a URL in the answer."""
    paging = {"style": "next_link", "field": "next"}
    return {"patient-safety": contract(records="items", paging=paging)}


@pytest.mark.promise("1")
async def test_nothing_between_may_answer():
    """A request asks caches to keep out, also where the contract has headers of its own."""
    declared = contract(headers={"api-version": "0.4"})
    async with reading(**{"patient-safety": declared}) as it:
        await it.read()
        await it.read("patient-privacy")
    for request in it.server.requests:
        assert request.headers["cache-control"] == "no-store"
        assert request.headers["api-version"] == "0.4"


async def test_the_request_is_the_declared_one():
    """Its query, its headers in any case, and a body with the identifier where it belongs."""
    declared = contract(
        query={"api-version": "1.0", "view": "a b"},
        headers={"accept": "application/hal+json", "nhn-source-system": "pts-worker"},
        body={"search": [{"kind": "PNR", "value": "{off_id}"}], "take": 50},
    )
    async with reading(**{"patient-safety": declared}) as it:
        await it.read()
    request = it.server.requests[0]
    assert request.line == f"POST {PATH}?api-version=1.0&view=a+b HTTP/1.1"
    assert [value for name, value in request.fields if name == "accept"] == ["application/hal+json"]
    assert request.headers["nhn-source-system"] == "pts-worker"
    assert request.headers["user-agent"] == "pts-sync-worker"
    assert request.headers["accept-encoding"] == "identity"
    body = {"search": [{"kind": "PNR", "value": OFF_ID}], "take": 50}
    assert msgspec.json.decode(request.body) == body


async def test_each_attempt_has_an_id_of_its_own():
    """If a header asks for one, so that PTS's log can tell a retry from the first attempt."""
    declared = by_token(headers={"nhn-event-id": "{uuid}", "x-of": "worker/{uuid}"})
    async with reading(BUSY, page(1, next="a"), page(2, next=None), **declared) as it:
        await it.read()
    ids = [request.headers["nhn-event-id"] for request in it.server.requests]
    assert len(set(ids)) == len(ids) == 3
    assert {uuid.UUID(one).version for one in ids} == {4}
    assert [request.headers["x-of"] for request in it.server.requests] == [
        f"worker/{one}" for one in ids
    ]


@pytest.mark.parametrize("place", ["body", "query"])
async def test_pages_by_token(place):
    """A token goes back where the contract says; each page has a fresh proof."""
    declared = contract(records="items", paging={**TOKEN, "send_in": place}, query={"v": "1"})
    replies = page(1, next="a b"), page(next="c"), page(2, next=None)
    async with reading(*replies, **{"patient-safety": declared}) as it:
        area = await it.read()
    assert (area.proof.pages, area.proof.record_count) == (3, 2)
    sent = [(one.line.split()[1], msgspec.json.decode(one.body)) for one in it.server.requests]
    start, bare = f"{PATH}?v=1", {"offId": OFF_ID}
    if place == "body":
        assert sent == [(start, bare)] + [(start, bare | {"after": one}) for one in ("a b", "c")]
    else:
        assert sent == [(start + more, bare) for more in ("", "&after=a+b", "&after=c")]
    assert it.proofs == ["proof-1", "proof-2", "proof-3"]


@pytest.mark.promise("1")
async def test_a_lost_second_page():
    """If a later page cannot be read, nothing of the area is."""
    async with reading(page(1, next="a"), CUT, **by_token()) as it:
        with pytest.raises(TransientError) as caught:
            await it.read()
    assert caught.value.attempts == 4  # one for the first page, three for the second


@pytest.mark.promise("10")
async def test_a_large_page_asks_for_room(monkeypatch):
    """The room of a small one is reserved; more is granted while it arrives."""
    grown, grow = [], Share.grow

    def asked(share, bytes_max, when_granted):
        grown.append(bytes_max)
        grow(share, bytes_max, when_granted)

    monkeypatch.setattr(Share, "grow", asked)
    async with reading(page(*range(1, 1_001)), page(1)) as it:
        await it.read()
        await it.read()
    assert grown == [OPTIONS.response_bytes_max]


async def test_undeclared_fields_of_all_pages():
    """Each record with one counts, on whichever page it was."""
    records = [restriction(number) | {"newField": "x"} for number in (1, 2, 3)]
    pages = ({"items": records[:2], "next": "a"}, {"items": records[2:], "next": None})
    async with reading(*(answer(msgspec.json.encode(one)) for one in pages), **by_token()) as it:
        assert dict((await it.read()).drift) == {"newField": 3}


@pytest.mark.promise("10")
async def test_the_size_of_all_pages(monkeypatch):
    """Each page is small, but their sum fills the memory: the area ends at its limit."""
    monkeypatch.setattr("worker.core.paging.RECEIVED_BYTES_MAX", 2 * len(page(1, next="a").data))
    async with reading(*(page(n, next=f"{n}") for n in range(1, 9)), **by_token()) as it:
        with pytest.raises(PagingError, match="bytes about one person"):
            await it.read()
    assert len(it.server.requests) == 3


@pytest.mark.promise("1")
@pytest.mark.parametrize("body", [b"{}", b"[]"])
async def test_a_second_page_without_a_list(body):
    """It is no end: what the first page has is not the whole."""
    async with reading(page(1, next="a"), answer(body), **by_token()) as it:
        with pytest.raises(ContractError):
            await it.read()


@pytest.mark.promise("8")
async def test_errors_hold_no_identifier():
    """Whatever fails, the identifier and the body are not in the error."""
    echo = answer(msgspec.json.encode({"items": [], "error": f"no {OFF_ID}"}))
    for reply in (echo, answer(f"<p>{OFF_ID}</p>".encode()), page(1, next=f"?x={OFF_ID}")):
        async with reading(reply, **by_link()) as it:
            with pytest.raises((ContractError, PagingError, TransientError)) as caught:
                await it.read()
        assert OFF_ID not in repr(caught.value)
        assert caught.value.__cause__ is None
