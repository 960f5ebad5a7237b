"""Reading whole areas over real sockets: sending, resending, pages, proofs."""

import contextlib
import math
import time
from dataclasses import dataclass, field, replace

import anyio
import orjson
import pytest

from tests.fakes import FakeRuntime
from tests.http.engines.raw_server import Reply, answer, raw_server
from tests.unit.pts_answers import OFF_ID, PRIVACY, PSEUDONYM, SAFETY, person, restriction
from worker.core.overrides import with_overrides
from worker.core.privacy import PrivacyRules
from worker.core.retry import RetryPolicy
from worker.errors import (
    ContractError,
    DeniedError,
    PagingError,
    RefusedError,
    RejectedError,
    TransientError,
    UnavailableError,
)
from worker.ports import Authorization, ChallengeResult, HttpResponse
from worker.pts.engines import open_transport
from worker.pts.reader import PtsReader
from worker.pts.retrying_client import RetryingClient
from worker.pts.throttle import Throttle
from worker.pts.transport import TransportOptions

DATE = "Wed, 21 Oct 2026 {:02}:28:00 GMT"
POLICY = RetryPolicy(attempts_max=3)
PSEUDONYMS = PrivacyRules(key_of=lambda _: "somebody")
BUSY = answer(b"", status="503 Busy")
CUT = Reply(data=b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n[", then="close")


def page(*numbers, headers=(), **around):
    """An answer with these restrictions."""
    records = [restriction(number) for number in numbers]
    return answer(
        orjson.dumps({"items": records, **around} if around else records), headers=headers
    )


@dataclass(slots=True, kw_only=True)
class FakeAuthorizer:
    """Numbers its authorizations; on 401 it learns a nonce or drops the token as told."""

    renew_on_401: str = ""
    refuses: bool = False
    made: int = 0
    token: int = 1
    judged: list[int] = field(default_factory=list)

    async def authorize(self, method: str, url: str) -> Authorization:
        if self.refuses:
            raise RefusedError("HelseID denies the client", code="invalid_client")
        self.made += 1
        headers = {"Authorization": f"DPoP token-{self.token}", "DPoP": f"proof-{self.made}"}
        return Authorization(headers=headers, token_id=str(self.token))

    def handle_challenge(
        self, url: str, used: Authorization, answer: HttpResponse
    ) -> ChallengeResult:
        self.judged.append(answer.status)
        if answer.status != 401:
            return ChallengeResult()
        if self.renew_on_401 == "token":
            self.token += 1
        return ChallengeResult(
            retry=bool(self.renew_on_401), refused="" if self.renew_on_401 else "no"
        )


class World:
    """A reader on an open transport, with a fake authorizer and a fake clock."""

    def __init__(
        self,
        server,
        transport,
        *,
        areas=(SAFETY, PRIVACY),
        rate=math.inf,
        retry_after_s_max=math.inf,
        **reader,
    ):
        self.server = server
        self.fake = FakeRuntime()
        self.authorizer = FakeAuthorizer()
        self.throttle = Throttle(rate, self.fake.runtime)
        client = RetryingClient(
            transport=transport,
            authorizer=self.authorizer,
            throttle=self.throttle,
            policy=POLICY,
            runtime=self.fake.runtime,
            retry_after_s_max=retry_after_s_max,
        )
        self.reader = PtsReader(
            areas=areas,
            base_url=server.url + "/",
            client=client,
            runtime=self.fake.runtime,
            **{"privacy": PSEUDONYMS, **reader},
        )

    async def read(self, area="patient-safety", key_path=None):
        return await self.reader.read(person(), area, key_path=key_path)

    @property
    def proofs(self):
        return [request.headers["dpop"] for request in self.server.requests]


OPTIONS = TransportOptions(attempt_s_max=5.0)


@contextlib.asynccontextmanager
async def reading(*replies, **options):
    """A reader of a server that gives these replies."""
    async with raw_server(*replies) as server, open_transport(OPTIONS) as transport:
        yield World(server, transport, **options)


async def test_a_whole_area():
    """An area read to its end has its records, its proof, and nothing of the identifier."""
    async with reading(page(1, 2)) as it:
        area = await it.read()
    request = it.server.requests[0]
    assert f"POST {SAFETY.path} HTTP/1.1" == request.line
    assert {"offId": OFF_ID} == orjson.loads(request.body)
    assert ("application/json", "application/json") == (
        request.headers["content-type"],
        request.headers["accept"],
    )
    assert ("patient-safety", 2, "id") == (area.area, len(area.records), area.proof.key_path)
    assert (1, 2, it.fake.now()) == (
        area.proof.pages,
        area.proof.record_count,
        area.proof.read_at,
    )
    assert 16 == len(area.proof.digest)
    assert OFF_ID not in repr(area)
    assert PSEUDONYM in area.records[0].payload


async def test_an_empty_area():
    """An area without restrictions is proven too, and names no key path."""
    async with reading() as it:
        area = await it.read(key_path="id")
    assert ((), 0, "") == (area.records, area.proof.record_count, area.proof.key_path)


async def test_the_old_route_has_its_header():
    """Patient privacy goes to its route with ``api-version``."""
    async with reading() as it:
        await it.read("patient-privacy")
    assert f"POST {PRIVACY.path} HTTP/1.1" == it.server.requests[0].line
    assert "0.4" == it.server.requests[0].headers["api-version"]


async def test_a_body_of_another_shape():
    """The identifier goes where the template wants it."""
    area = with_overrides(SAFETY, {"body": {"p": {"nin": "{off_id}"}, "ApplicableOnly": True}})
    async with reading(areas=[area]) as it:
        await it.read()
    assert {"p": {"nin": OFF_ID}, "ApplicableOnly": True} == orjson.loads(
        it.server.requests[0].body
    )


async def test_plain_mode():
    """In plain mode payloads are kept as received."""
    async with reading(page(1), privacy=PrivacyRules()) as it:
        area = await it.read()
    assert restriction(1) == orjson.loads(area.records[0].payload)


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
    assert 3 == len(set(digests))


async def test_pages_by_token():
    """A token goes back in query and body beside the identifier; each page has a fresh proof."""
    replies = page(1, nextToken="a b"), page(nextToken="c"), page(2, nextToken=None, total=2)
    async with reading(*replies) as it:
        area = await it.read()
    assert (3, 2) == (area.proof.pages, area.proof.record_count)
    assert f"POST {SAFETY.path}?nextToken=a+b HTTP/1.1" == it.server.requests[1].line
    assert {"offId": OFF_ID, "nextToken": "a b"} == orjson.loads(it.server.requests[1].body)
    assert ["proof-1", "proof-2", "proof-3"] == it.proofs


async def test_pages_by_link():
    """A next link is posted to with the same body."""
    link = f"Link: <{SAFETY.path}?p=2>; rel=next"
    replies = page(1, headers=(link,)), page(2)
    async with reading(*replies) as it:
        area = await it.read()
    assert f"POST {SAFETY.path}?p=2 HTTP/1.1" == it.server.requests[1].line
    assert it.server.requests[0].body == it.server.requests[1].body
    assert 2 == area.proof.pages


async def test_a_lost_second_page():
    """If a later page cannot be read, nothing of the area is."""
    async with reading(page(1, nextToken="a"), CUT) as it:
        with pytest.raises(TransientError) as caught:
            await it.read()
    assert 4 == caught.value.attempts  # one for the first page, three for the second


async def test_the_key_path_of_the_first_page_holds():
    """A later page without the key path of the first is a failure."""
    bare = {name: value for name, value in restriction(2).items() if name != "id"}
    second = answer(orjson.dumps([bare]))
    async with reading(page(1, nextToken="a"), second) as it:
        with pytest.raises(ContractError, match=r"no record key \(id\)"):
            await it.read()


async def test_endless_pages():
    """A server that always has another page is stopped."""
    async with reading(pages_max=5) as it:
        it.server.reply = lambda _: page(nextToken=str(len(it.server.requests)))
        with pytest.raises(PagingError) as caught:
            await it.read()
    assert 5 == caught.value.attempts


@pytest.mark.parametrize("bad", [BUSY, CUT, Reply(data=b"", then="reset")])
async def test_a_fresh_proof_for_each_attempt(bad):
    """A failure that may pass is tried again, each time with a new authorization."""
    async with reading(bad, bad, page(1)) as it:
        await it.read()
    assert ["proof-1", "proof-2", "proof-3"] == it.proofs
    assert (3, 2) == (it.reader.stats.requests, it.reader.stats.retries)
    assert [0.25, 0.5] == it.fake.waits_s  # jitter 0.5 of 0.5 s, then of 1 s
    assert it.reader.stats.bytes_received > 0


async def test_giving_up():
    """After the last attempt the failure is told, with its status and the attempts."""
    async with reading(BUSY) as it:
        with pytest.raises(TransientError, match="status 503") as caught:
            await it.read()
    assert (503, 3) == (caught.value.status, caught.value.attempts)


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (answer(b"", status="404 Not Found"), RejectedError),
        (answer(b"", status="400 Bad Request"), RejectedError),
        (answer(b"", status="403 Forbidden"), DeniedError),
        (answer(b"", status="302 Found", headers=("Location: /x",)), ContractError),
        (answer(b"{}"), ContractError),
        (Reply(data=b"HTTP/1.1 204 No Content\r\n\r\n"), ContractError),
    ],
)
async def test_no_second_attempt(reply, kind):
    """What would be the same again is not tried again."""
    async with reading(reply) as it:
        with pytest.raises(kind) as caught:
            await it.read()
    assert (1, 1) == (caught.value.attempts, len(it.server.requests))


@pytest.mark.parametrize(
    ("header", "wait_s"),
    [
        ("Retry-After: 90", 90.0),
        (f"Date: {DATE.format(7)}\r\nRetry-After: {DATE.format(9)}", 7200.0),
    ],
)
async def test_retry_after_is_obeyed_by_all(header, wait_s):
    """After a Retry-After nobody sends before its end, neither clipped nor early."""
    slow_down = answer(b"", status="429 Too Many Requests", headers=(header,))
    async with reading(slow_down, page(1), rate=1000.0) as it:
        start = it.fake.monotonic()
        sent_at = []

        async def request_at(name):
            if name == "second":
                with anyio.fail_after(30):
                    while not it.authorizer.judged:  # noqa: ASYNC110 - the first answer is real
                        await anyio.sleep(0.001)
            await it.read()
            sent_at.append(it.fake.monotonic() - start)

        async with anyio.create_task_group() as group:
            group.start_soon(request_at, "first")
            group.start_soon(request_at, "second")
    assert 3 == len(it.server.requests)
    assert min(sent_at) >= wait_s


async def test_a_nonce_is_learnt_at_once():
    """A challenge is answered without a wait, and is no failed attempt."""
    challenge = answer(b"", status="401 Unauthorized")
    async with reading(challenge, page(1)) as it:
        it.authorizer.renew_on_401 = "nonce"
        await it.read()
    assert (["proof-1", "proof-2"], []) == (it.proofs, it.fake.waits_s)
    assert [401, 200] == it.authorizer.judged


@pytest.mark.parametrize(("renew", "attempts"), [("nonce", 13), ("token", 4), ("", 1)])
async def test_denials_have_an_end(renew, attempts):
    """Twelve fresh proofs or two fresh tokens that do not help, and the client is denied."""
    challenge = answer(b"", status="401 Unauthorized")
    async with reading(challenge) as it:
        it.authorizer.renew_on_401 = renew
        with pytest.raises(DeniedError) as caught:
            await it.read()
    assert (401, attempts) == (caught.value.status, caught.value.attempts)


@pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden"])
async def test_a_denial_after_successes_may_pass(status):
    """Who was let in before is asked again, with waits; each time counts as an attempt."""
    denial = answer(b"", status=status)
    replies = (page(1), denial, denial, page(1), denial)
    async with reading(*replies) as it:
        await it.read()
        await it.read()
        assert [0.25, 0.5] == it.fake.waits_s
        with pytest.raises(DeniedError) as caught:
            await it.read()
    assert (3, 4 + 3) == (caught.value.attempts, len(it.server.requests))


@pytest.mark.parametrize("value", ["901", "9" * 12, "Fri, 31 Dec 9999 23:59:59 GMT"])
async def test_a_longer_pause_than_a_run_makes(value):
    """It is not waited for: where nothing else speaks for PTS, it ends the run."""
    quiet = answer(b"", status="503 Busy", headers=(f"Retry-After: {value}",))
    async with reading(quiet, retry_after_s_max=900.0) as it:
        with pytest.raises(UnavailableError, match=r"quiet until \d{4}-\d\d-\d\dT"):
            await it.read()
    assert (1, []) == (len(it.server.requests), it.fake.waits_s)


async def test_the_longest_pause_that_a_run_makes():
    """Up to the limit it is obeyed."""
    quiet = answer(b"", status="503 Busy", headers=("Retry-After: 900",))
    async with reading(quiet, page(1), retry_after_s_max=900.0) as it:
        await it.read()
    assert 900.0 in it.fake.waits_s


@pytest.mark.parametrize(
    "header",
    [
        *(f"Age: {age}" for age in ("1", "86400", "1, 0", "old", "")),
        "Cache-Status: origin; fwd=miss, edge; hit; ttl=300",
        "X-Cache: HIT from proxy",
        "CF-Cache-Status: HIT",
        'Warning: 110 - "Response is Stale"',
    ],
)
async def test_a_response_from_a_cache_is_no_read(header):
    """A stored answer says nothing of now, twice as little as once (RFC 9111 §5.1)."""
    cached = page(1, headers=(header,))
    async with reading(cached, page(1, 2)) as it:
        read = await it.read()
    assert 2 == len(read.records)


async def test_no_restrictions_from_a_cache():
    """A 404 may mean an empty area, and caches store it as well."""
    cached = answer(b"", status="404 Not Found", headers=("X-Cache: HIT",))
    areas = (with_overrides(SAFETY, {"not_found_means": "empty"}),)
    async with reading(cached, page(1, 2), areas=areas) as it:
        read = await it.read()
    assert 2 == len(read.records)


async def test_an_age_of_zero_is_no_cache():
    """A proxy may say that it has just asked."""
    async with reading(page(1, headers=("Age: 0",))) as it:
        await it.read()
    assert 1 == len(it.server.requests)


async def test_helseid_refuses():
    """What ends the run passes through, and nothing was sent."""
    async with reading() as it:
        it.authorizer.refuses = True
        with pytest.raises(RefusedError):
            await it.read()
    assert [] == it.server.requests


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
    assert f"POST /gateway{SAFETY.path} HTTP/1.1" == server.requests[0].line


async def test_a_large_response_does_not_hold_the_event_loop():
    """The lease is renewed and a stop is heard while an answer full of suspicious text is read."""
    records = [{**restriction(n), "note": "12 3-4.5/6 " * 8_000} for n in range(12)]
    gaps = []

    async def tick():
        before = time.monotonic()
        while True:
            await anyio.sleep(0.01)
            now = time.monotonic()
            gaps.append(now - before)
            before = now

    async with (
        raw_server(answer(orjson.dumps(records))) as server,
        open_transport(TransportOptions(attempt_s_max=60.0)) as transport,
        anyio.create_task_group() as group,
    ):
        group.start_soon(tick)
        began = time.monotonic()
        read = await World(server, transport).read()
        took_s = time.monotonic() - began
        await anyio.sleep(0.1)
        group.cancel_scope.cancel()
    assert len(records) == len(read.records)
    assert took_s / 3 > max(gaps), f"{max(gaps):.2f} s of {took_s:.2f} s"
