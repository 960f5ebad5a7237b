"""What is tried again, how often, with which authorization, and after which wait."""

import pytest
from msgspec.structs import replace

from tests.support.http.reading import BUSY, CUT, OPTIONS, page, reading
from tests.support.raw_server import Reply, answer
from worker.errors import ContractError, DeniedError, LateError, RejectedError, TransientError


@pytest.mark.parametrize("bad", [BUSY, CUT, Reply(data=b"", then="reset")])
async def test_a_fresh_proof_for_each_attempt(bad):
    """A failure that may pass is tried again, each time with a new authorization."""
    async with reading(bad, bad, page(1)) as it:
        await it.read()
    assert it.proofs == ["proof-1", "proof-2", "proof-3"]
    assert (it.reader.counts.requests, it.reader.counts.retries) == (3, 2)
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


@pytest.mark.promise("6")
async def test_silence_is_not_asked_again():
    """Not at once: it would cost as long again. Who is met with it is asked again at the end."""
    quick = replace(OPTIONS, attempt_s_max=0.2)
    async with reading(Reply(data=b"", then="hang"), options=quick) as it:
        with pytest.raises(LateError) as caught:
            await it.read()
    assert (caught.value.attempts, len(it.server.requests)) == (1, 1)


REFUSAL = answer(b"", status="401 Unauthorized")


async def test_a_refusal_is_repeated_at_once():
    """Without a wait: it is no failed attempt."""
    async with reading(REFUSAL, page(1)) as it:
        it.authorizer.repeats = 2
        await it.read()
    assert (it.proofs, it.fake.waits_s) == (["proof-1", "proof-2"], [])
    assert (it.reader.counts.requests, it.reader.counts.retries) == (2, 1)
    assert it.authorizer.learned == 2, "also of a refusal, whose nonce the repetition needs"


async def test_a_probe_is_one_request_in_an_interval():
    """A refusal of it is repeated, too, but no sooner than the next probe would be sent."""
    async with reading(REFUSAL, page(1)) as it:
        it.authorizer.repeats = 2
        await it.read(probe_interval_s=10.0)
    assert (it.proofs, it.fake.waits_s) == (["proof-1", "proof-2"], [10.0])


async def test_another_connection_after_a_refusal():
    """A replica with a wrong clock refuses every proof on its connections: they are left."""
    async with reading(REFUSAL, REFUSAL, page(1), page(2)) as it:
        it.authorizer.repeats = 2
        await it.read()
        await it.read()
    assert [request.connection for request in it.server.requests] == [1, 2, 3, 3]


@pytest.mark.promise("6")
async def test_refusals_have_an_end():
    """Whatever each of them brings: the client is denied."""
    async with reading(REFUSAL) as it:
        it.authorizer.repeats = 2
        with pytest.raises(DeniedError) as caught:
            await it.read()
    assert (caught.value.status, caught.value.attempts) == (401, 3)


@pytest.mark.promise("6")
async def test_no_retry_while_nobody_can_be_read():
    """After twenty attempts in a row that failed, each request is one attempt until one works."""
    async with reading(*[BUSY] * 20, page(1), BUSY, BUSY, page(1), BUSY, page(2)) as it:
        for _ in range(7):
            with pytest.raises(TransientError):
                await it.read()
        assert len(it.server.requests) == 20
        await it.read(probe_interval_s=10.0)  # a canary shows nothing of other persons
        for _ in range(2):
            with pytest.raises(TransientError):
                await it.read()
        await it.read()
        await it.read()
    assert len(it.server.requests) == 26
