"""Tokens: the assertion, the nonce flow, the cache, single flight, retries, and clear ends."""

import asyncio
import contextlib
from email.utils import formatdate

import anyio
import jwskate
import pytest

from tests.support.http.helseid import refusal, write_secret
from tests.support.raw_server import Reply, http
from tests.support.standin import CLIENT_ID
from worker.errors import ConfigurationError, ExitCode, RefusedError, UnavailableError

SILENCE = Reply(data=b"", then="hang")
PAGE = b"<html>"


SINGLE, MULTI = "urn:oid:2.16.578.1.12.4.1.4.101", "urn:oid:1.0.6523"


async def test_assertion(clients, server, fake):
    """The issuer is the only audience, and the assertion lives for 30 s from now, rounded down."""
    await clients.open().tokens.token()
    now_s = int(fake.now().timestamp())
    assertion = jwskate.SignedJwt(server.seen[0].form["client_assertion"])
    assert assertion.headers == {
        "alg": "ES256",
        "kid": clients.key.kid,
        "typ": "client-authentication+jwt",
    }
    assert dict(assertion.claims) == {
        "iss": CLIENT_ID,
        "sub": CLIENT_ID,
        "aud": server.issuer,
        "iat": now_s,
        "nbf": now_s,
        "exp": now_s + 30,
        "jti": server.jtis[0],
    }


@pytest.mark.parametrize(
    ("tenancy", "organizations", "sent"),
    [
        (None, (None, None), None),
        ("single-tenant", ("999999999", None), None),
        (None, (None, "888888888"), (SINGLE, "888888888")),
        (None, ("999999999", None), (MULTI, "NO:ORGNR:999999999")),
        ("multi-tenant", ("999999999", "888888888"), (MULTI, "NO:ORGNR:999999999:888888888")),
    ],
)
async def test_organizations(tenancy, organizations, sent, clients, server):
    """A single-tenant client names a child at most, a multi-tenant client always the parent."""
    parent, child = organizations
    helseid = clients.open(tenancy=tenancy, organization_parent=parent, organization_child=child)
    with contextlib.suppress(RefusedError):  # most are not what the client is registered as
        await helseid.tokens.token()
    server.violations.clear()
    details = server.seen[0].assertion.get("assertion_details")
    if sent is None:
        assert details is None
        return
    identifier = {"system": sent[0], "type": "ENH", "value": sent[1]}
    assert details == {
        "type": "helseid_authorization",
        "practitioner_role": {"organization": {"identifier": identifier}},
    }


async def test_no_parent(clients):
    """A multi-tenant client speaks for an organisation; PTS requires it."""
    with pytest.raises(ConfigurationError, match=r"helseid\.organization_parent"):
        clients.open(tenancy="multi-tenant")


async def test_nonce_flow(clients, server):
    """The first call is challenged; the second carries the nonce, a new assertion and proof."""
    token = await clients.open().tokens.token()
    first, second = server.seen
    assert token.authorization == f"DPoP {server.tokens[0]}"
    assert (first.proof.get("nonce"), bool(second.proof["nonce"])) == (None, True)
    assert len(set(server.jtis)) == 4
    assert {name: value for name, value in second.form.items() if name != "client_assertion"} == {
        "grant_type": "client_credentials",
        "client_id": CLIENT_ID,
        "scope": "nhn:pts/api",
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
    }


@pytest.mark.parametrize(("age_s", "calls"), [(49, 1), (100, 2)])
async def test_a_nonce_is_kept(age_s, calls, clients, server, fake):
    """It is used at once the next time; for one that is too old HelseID gives another."""
    server.token_more = {"expires_in": 5}
    tokens = clients.open().tokens
    await tokens.token()
    fake.advance(age_s)
    await tokens.token()
    assert len(server.seen) - 2 == calls


@pytest.mark.parametrize(
    ("expires_in", "renewed_after_s"),
    [(600, 570), (60, 48), (5, 4), (10**9, 86_370), pytest.param("600", 570, id="digits")],
)
async def test_renewal(expires_in, renewed_after_s, clients, server, fake):
    """Until 30 s before its end, or 20 % of its life if that is shorter; for a day at most."""
    server.token_more = {"expires_in": expires_in}
    tokens = clients.open().tokens
    first = await tokens.token()
    fake.advance(renewed_after_s - 0.5)
    assert await tokens.token() is first
    fake.advance(0.5)
    assert (await tokens.token()).token_id == "2"
    assert (len(server.tokens), server.discoveries) == (2, 1)


async def test_a_life_counts_from_the_request(clients, server, fake):
    """However long HelseID takes to answer: the token may have been made at once."""
    server.meanwhile = lambda: fake.advance(200)
    tokens = clients.open().tokens
    first = await tokens.token()
    fake.advance(369.5)
    assert await tokens.token() is first
    fake.advance(0.5)
    assert (await tokens.token()).token_id == "2"


@pytest.mark.promise("7")
async def test_single_flight(clients, server):
    """However many wait, HelseID is asked once."""
    tokens = clients.open().tokens
    got = await asyncio.gather(*(tokens.token() for _ in range(20)))
    assert {token.token_id for token in got} == {"1"}
    assert (len(server.seen), len(server.tokens)) == (2, 1)


async def test_cancelled_leader(clients, server):
    """If the one that asks is cancelled, the others get their token all the same."""
    tokens = clients.open().tokens
    server.token_replies.append(SILENCE)
    leader = asyncio.create_task(tokens.token())
    while server.token_replies:  # noqa: ASYNC110 - until HelseID has the request
        await asyncio.sleep(0)
    waiters = [asyncio.create_task(tokens.token()) for _ in range(5)]
    await anyio.wait_all_tasks_blocked()
    leader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leader
    assert len({token.token_id for token in await asyncio.gather(*waiters)}) == 1


async def test_failure_shared(clients, server):
    """All waiting callers fail with the one that asked; later callers try again."""
    server.token_replies.append(refusal("invalid_client"))
    tokens = clients.open().tokens
    got = await asyncio.gather(*(tokens.token() for _ in range(20)), return_exceptions=True)
    assert {getattr(error, "code", error) for error in got} == {"invalid_client"}
    assert (len(server.seen), len({id(error) for error in got})) == (2, 20)
    assert (await tokens.token()).token_id == "1"


PASSING = {
    "502": http(PAGE, status="502 Bad Gateway"),
    "429": http(status="429 Too Many Requests"),
    "dropped": Reply(data=b"", then="close"),
    "a page": http(PAGE),
    "no token": http({"token_type": "DPoP", "expires_in": 600}),
    "no lifetime": http({"token_type": "DPoP", "access_token": "x"}),
    "302": http(
        {"token_type": "DPoP", "access_token": "x", "expires_in": 600},
        status="302 Found",
        headers=["Location: https://elsewhere.example"],
    ),
    "403 and a page": http(PAGE, status="403 Forbidden"),
    "404 and a page": http(b"no such page", status="404 Not Found"),
    "temporarily_unavailable": refusal("temporarily_unavailable"),
    "slow_down": refusal("slow_down"),
}


@pytest.mark.promise("7")
@pytest.mark.parametrize("failure", PASSING.values(), ids=PASSING)
async def test_passing_failures(failure, clients, server, fake):
    """What may pass is tried again, each time with a new assertion and proof; five times."""
    server.token_replies += [failure] * 2
    await clients.open().tokens.token()
    assert fake.waits_s == [0.25, 0.5]
    assert len(set(server.jtis)) == 8
    server.token_replies += [failure] * 5
    with pytest.raises(UnavailableError, match=r"\(5 attempts\)$") as caught:
        await clients.open().tokens.token()
    assert caught.value.exit_code == ExitCode.UNAVAILABLE
    was_lost = "the connection ended before the response" in caught.value.message
    assert was_lost == (failure.then == "close")


async def test_retry_after(clients, server, fake):
    """Retry-After is obeyed, in seconds and as a date; too long a wait ends the call."""
    server.fault("status", headers={"Retry-After": "17"}, times=1)
    await clients.open().tokens.token()
    server.world.apply({"clock_skew_s": 250})  # the date is counted by the server's own clock
    until = formatdate(server.world.now() + 10, usegmt=True)
    server.fault("status", headers={"Retry-After": until}, times=1)
    await clients.open().tokens.token()
    assert fake.waits_s == [17.0, 10.0]
    server.fault("status", status=429, headers={"Retry-After": "3600"})
    with pytest.raises(UnavailableError, match="Retry-After 3600 s"):
        await clients.open().tokens.token()


@pytest.mark.promise("7")
async def test_after_a_failure_one_attempt(clients, server):
    """The caller decides when HelseID is asked again; once it answered, attempts are repeated."""
    tokens = clients.open().tokens
    server.token_replies += [PASSING["502"]] * 6
    # The first request is asked for a nonce.
    for requests, attempts in ((1 + 5, "5 attempts"), (1 + 6, "1 attempt")):
        with pytest.raises(UnavailableError, match=rf"\({attempts}\)$"):
            await tokens.token()
        assert len(server.seen) == requests
    await tokens.token()
    tokens.drop()
    server.token_replies += [PASSING["502"]] * 4
    await tokens.token()
    assert len(server.tokens) == 2


@pytest.mark.promise("7")
async def test_nothing_is_sent_within_retry_after(clients, server, fake):
    """Nor is HelseID asked for anything else meanwhile."""
    helseid = clients.open()
    await helseid.tokens.token()
    fake.advance(25 * 3600)
    server.fault("status", headers={"Retry-After": "3600"}, times=1)
    for _ in range(2):
        with pytest.raises(UnavailableError, match="Retry-After 3600 s"):
            await helseid.tokens.token()
    calls = len(server.requests)
    fake.advance(3599)
    with pytest.raises(UnavailableError, match="Retry-After 3600 s"):
        await helseid.tokens.token()
    assert len(server.requests) == calls
    fake.advance(2)
    await helseid.tokens.token()


async def test_token_exchange(clients, server, fake, tmp_path):
    """The subject token is read from its file at each exchange and kept nowhere."""
    subjects = [server.helseid.mint_subject_token(name, lifetime_s=900) for name in ("a", "b")]
    path = write_secret(tmp_path / "subject", f"{subjects[0]}\n")
    helseid = clients.open(grant="token_exchange", subject_token_file=path)
    await helseid.tokens.token()
    write_secret(path, subjects[1])
    fake.advance(600)
    await helseid.tokens.token()
    forms = [seen.form for seen in server.seen]
    assert {f["grant_type"] for f in forms} == {"urn:ietf:params:oauth:grant-type:token-exchange"}
    expected = {"urn:ietf:params:oauth:token-type:access_token"}
    assert {f["subject_token_type"] for f in forms} == expected
    assert [forms[0]["subject_token"], forms[-1]["subject_token"]] == subjects
    fake.advance(600)  # the second subject's time is over, too
    with pytest.raises(RefusedError) as caught:
        await helseid.tokens.token()
    assert "helseid.subject_token_file" in caught.value.hint
    assert len(server.violations) == 1
    server.violations.clear()


@pytest.mark.parametrize("content", ["", "two tokens", None])
async def test_unfit_subject_token(content, clients, tmp_path):
    """A file that does not hold one token is a configuration error, and so is none."""
    path = None if content is None else write_secret(tmp_path / "subject", content)
    helseid = clients.open(grant="token_exchange", subject_token_file=path)
    with pytest.raises(ConfigurationError, match=r"helseid\.subject_token_file"):
        await helseid.tokens.token()
