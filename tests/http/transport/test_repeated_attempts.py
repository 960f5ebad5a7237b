"""What is tried again, how often, with which authorization, and after which wait."""

import pytest

from tests.support.http.reading import BUSY, CUT, page, reading
from tests.support.raw_server import Reply, answer
from worker.errors import (
    ContractError,
    DeniedError,
    RejectedError,
    TransientError,
)


@pytest.mark.parametrize("bad", [BUSY, CUT, Reply(data=b"", then="reset")])
async def test_a_fresh_proof_for_each_attempt(bad):
    """A failure that may pass is tried again, each time with a new authorization."""
    async with reading(bad, bad, page(1)) as it:
        await it.read()
    assert it.proofs == ["proof-1", "proof-2", "proof-3"]
    assert (it.reader.stats.requests, it.reader.stats.retries) == (3, 2)
    assert it.fake.waits_s == [0.25, 0.5]  # jitter 0.5 of 0.5 s, then of 1 s


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


@pytest.mark.parametrize(("renew", "attempts"), [("nonce", 13), ("", 1)])
async def test_denials_have_an_end(renew, attempts):
    """Twelve fresh proofs that do not help, and the client is denied."""
    challenge = answer(b"", status="401 Unauthorized")
    async with reading(challenge) as it:
        it.authorizer.renew_on_401 = renew
        with pytest.raises(DeniedError) as caught:
            await it.read()
    assert (caught.value.status, caught.value.attempts) == (401, attempts)


@pytest.mark.parametrize("is_held", [False, True])
async def test_no_retry_while_nobody_can_be_read(is_held):
    """While others are held back, a request that fails makes room for the next probe."""
    async with reading(BUSY) as it:
        if is_held:
            it.throttle.hold(10.0)
        with pytest.raises(TransientError):
            await it.read(is_probe=is_held)
    assert len(it.server.requests) == (1 if is_held else 3)
