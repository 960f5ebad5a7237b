"""What is tried again, how often, with which authorization, and after which wait."""

import anyio
import pytest

from tests.support.http.reading import BUSY, CUT, page, reading
from tests.support.raw_server import Reply, answer
from worker.errors import (
    ContractError,
    DeniedError,
    RejectedError,
    TransientError,
    UnavailableError,
)

DATE = "Wed, 21 Oct 2026 {:02}:28:00 GMT"


@pytest.mark.parametrize("bad", [BUSY, CUT, Reply(data=b"", then="reset")])
async def test_a_fresh_proof_for_each_attempt(bad):
    """A failure that may pass is tried again, each time with a new authorization."""
    async with reading(bad, bad, page(1)) as it:
        await it.read()
    assert it.proofs == ["proof-1", "proof-2", "proof-3"]
    assert (it.reader.stats.requests, it.reader.stats.retries) == (3, 2)
    assert it.fake.waits_s == [0.25, 0.5]  # jitter 0.5 of 0.5 s, then of 1 s
    assert it.reader.stats.bytes_received > 0


async def test_giving_up():
    """After the last attempt the error carries the status and the number of attempts."""
    async with reading(BUSY) as it:
        with pytest.raises(TransientError, match="status 503") as caught:
            await it.read()
    assert (caught.value.status, caught.value.attempts) == (503, 3)


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
    assert (caught.value.attempts, len(it.server.requests)) == (1, 1)


@pytest.mark.promise("6")
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
    assert len(it.server.requests) == 3
    assert min(sent_at) >= wait_s


async def test_a_nonce_is_learnt_at_once():
    """A challenge is answered without a wait, and is no failed attempt."""
    challenge = answer(b"", status="401 Unauthorized")
    async with reading(challenge, page(1)) as it:
        it.authorizer.renew_on_401 = "nonce"
        await it.read()
    assert (it.proofs, it.fake.waits_s) == (["proof-1", "proof-2"], [])
    assert it.authorizer.judged == [401, 200]


async def test_a_new_connection_after_repeated_refusals():
    """A replica with a wrong clock refuses every proof on its connections: others are tried."""
    challenge = answer(b"", status="401 Unauthorized")
    async with reading(challenge, challenge, challenge, page(1), page(2)) as it:
        it.authorizer.renew_on_401 = "nonce"
        await it.read()
        await it.read()
    assert [request.connection for request in it.server.requests] == [1, 1, 2, 3, 1]


@pytest.mark.parametrize(("renew", "attempts"), [("nonce", 13), ("token", 4), ("", 1)])
async def test_denials_have_an_end(renew, attempts):
    """Twelve fresh proofs or two fresh tokens that do not help, and the client is denied."""
    challenge = answer(b"", status="401 Unauthorized")
    async with reading(challenge) as it:
        it.authorizer.renew_on_401 = renew
        with pytest.raises(DeniedError) as caught:
            await it.read()
    assert (caught.value.status, caught.value.attempts) == (401, attempts)


@pytest.mark.promise("7")
@pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden"])
async def test_a_denial_after_successes_may_pass(status):
    """Who was let in before is asked again, with waits; each time counts as an attempt."""
    denial = answer(b"", status=status)
    replies = (page(1), denial, denial, page(1), denial)
    async with reading(*replies) as it:
        await it.read()
        await it.read()
        assert it.fake.waits_s == [0.25, 0.5]
        with pytest.raises(DeniedError) as caught:
            await it.read()
    assert (caught.value.attempts, len(it.server.requests)) == (3, 4 + 3)


@pytest.mark.parametrize("value", ["901", "9" * 12, "Fri, 31 Dec 9999 23:59:59 GMT"])
async def test_a_longer_pause_than_a_run_makes(value):
    """It is not waited for: where nothing else speaks for PTS, it ends the run."""
    quiet = answer(b"", status="503 Busy", headers=(f"Retry-After: {value}",))
    async with reading(quiet, retry_after_s_max=900.0) as it:
        with pytest.raises(UnavailableError, match=r"quiet until \d{4}-\d\d-\d\dT"):
            await it.read()
    assert (len(it.server.requests), it.fake.waits_s) == (1, [])


async def test_the_longest_pause_that_a_run_makes():
    """Up to the limit it is obeyed."""
    quiet = answer(b"", status="503 Busy", headers=("Retry-After: 900",))
    async with reading(quiet, page(1), retry_after_s_max=900.0) as it:
        await it.read()
    assert 900.0 in it.fake.waits_s
