"""Tokens: the nonce flow, the cache, single flight, retries, and clear ends."""

import asyncio
import logging
import socket
import traceback
from datetime import timedelta
from email.utils import format_datetime

import anyio
import pytest
import structlog

from tests.http.engines.raw_server import Reply, raw_server
from tests.http.helseid.support import CLIENT_ID, Canned, refusal, write_secret
from tests.identifier_spellings import spellings
from worker.app import App
from worker.config import load
from worker.errors import ConfigurationError, ExitCode, RefusedError, UnavailableError

BAD_GATEWAY = Canned(status=502, body="<html>")
LONG_SECRET = "eyJhbGciOiJQUzUxMiJ9.eyJzdWIiOiIxMjM0NTY3ODkw.c2lnbmF0dXJl"


def ids(server) -> list[str]:
    """Every ``jti`` that the server saw, of assertions and proofs."""
    found = [seen.assertion["jti"] for seen in server.seen]
    return found + [seen.proof["jti"] for seen in server.seen if seen.proof]


async def test_nonce_flow(clients, server):
    """The first call is challenged; the second carries the nonce, a new assertion and proof."""
    token = await clients.open().tokens.token()
    assert "DPoP secret-token-1" == token.authorization
    assert [None, "nonce-1"] == [seen.proof.get("nonce") for seen in server.seen]
    assert 4 == len(set(ids(server)))
    assert {
        "grant_type": "client_credentials",
        "client_id": CLIENT_ID,
        "scope": "nhn:pts/api",
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
    } == {name: value for name, value in server.seen[1].form.items() if name != "client_assertion"}
    assert server.issuer == server.seen[1].assertion["aud"]


@pytest.mark.parametrize(("age_s", "calls"), [(49, 1), (51, 2)])
async def test_nonce_kept_for_50_s(age_s, calls, clients, server, fake):
    """A nonce of the last 50 s is used at once; an older one is not sent."""
    server.token_fields = {"expires_in": 5}
    tokens = clients.open().tokens
    await tokens.token()
    fake.advance(age_s)
    await tokens.token()
    assert calls == len(server.seen) - 2


async def test_nonce_changes_twice(clients, server):
    """Two challenges in a row are answered, a third is a refusal."""
    challenge = Canned(status=400, body={"error": "use_dpop_nonce"}, headers={"DPoP-Nonce": "n-9"})
    server.canned.append(challenge)
    assert "1" == (await clients.open().tokens.token()).token_id
    assert 3 == len(server.seen)
    server.canned.extend([challenge] * 3)
    with pytest.raises(RefusedError) as caught:
        await clients.open().tokens.token()
    assert ("use_dpop_nonce", 6) == (caught.value.code, len(server.seen))
    assert 12 == len(set(ids(server)))


async def test_challenge_without_nonce(clients, server):
    """A challenge that gives no nonce cannot be answered."""
    server.canned.append(refusal("use_dpop_nonce"))
    with pytest.raises(RefusedError, match="requires a DPoP nonce but sent none") as caught:
        await clients.open().tokens.token()
    assert ("use_dpop_nonce", 1) == (caught.value.code, len(server.seen))


@pytest.mark.parametrize(
    ("expires_in", "renewed_after_s"),
    [(600, 570), (60, 48), (5, 4), pytest.param("600", 570, id="digits")],
)
async def test_renewal(expires_in, renewed_after_s, clients, server, fake):
    """A token serves until 30 s before its end, or 20 % of its life if that is shorter."""
    server.token_fields = {"expires_in": expires_in}
    tokens = clients.open().tokens
    first = await tokens.token()
    fake.advance(renewed_after_s - 0.5)
    assert first is await tokens.token()
    fake.advance(0.5)
    assert "2" == (await tokens.token()).token_id
    assert (2, 1) == (server.tokens_given, server.discoveries)


async def test_single_flight(clients, server):
    """However many wait, HelseID is asked once."""
    tokens = clients.open().tokens
    got = await asyncio.gather(*(tokens.token() for _ in range(20)))
    assert {"1"} == {token.token_id for token in got}
    assert (2, 1) == (len(server.seen), server.tokens_given)


async def test_cancelled_leader(clients, server):
    """If the one that asks is cancelled, the others get their token all the same."""
    tokens = clients.open().tokens
    await clients.open().discovery.metadata()
    server.hold.clear()
    leader = asyncio.create_task(tokens.token())
    await asyncio.sleep(0.05)
    waiters = [asyncio.create_task(tokens.token()) for _ in range(5)]
    await asyncio.sleep(0.05)
    leader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leader
    server.hold.set()
    assert 1 == len({token.token_id for token in await asyncio.gather(*waiters)})


async def test_failure_shared(clients, server):
    """All that waited fail with the one that asked; whoever comes later tries anew."""
    server.canned.append(refusal("invalid_client"))
    tokens = clients.open().tokens
    got = await asyncio.gather(*(tokens.token() for _ in range(20)), return_exceptions=True)
    assert {"invalid_client"} == {getattr(error, "code", error) for error in got}
    assert (1, 20) == (len(server.seen), len({id(error) for error in got}))
    assert "1" == (await tokens.token()).token_id


@pytest.mark.parametrize(
    "failure",
    [
        BAD_GATEWAY,
        Canned(status=429, body=""),
        Canned(drop=True),
        Canned(body="<html>"),
        Canned(body="[]"),
        Canned(body={"token_type": "DPoP", "expires_in": 600}),
        Canned(body={"token_type": "DPoP", "access_token": "x"}),
        Canned(body={"token_type": "DPoP", "access_token": "x", "expires_in": -1}),
        Canned(status=302, body="", headers={"Location": "https://elsewhere.example"}),
        Canned(status=403, body="<html>"),
        Canned(status=404, body="no such page"),
        Canned(status=401, body="[]"),
        refusal("temporarily_unavailable"),
        refusal("server_error"),
        refusal("slow_down"),
    ],
    ids=str,
)
async def test_passing_failures(failure, clients, server, fake):
    """What may pass is tried again, each time with a new assertion and proof; five times."""
    server.canned.extend([failure] * 2)
    await clients.open().tokens.token()
    assert [0.25, 0.5] == fake.waits_s
    assert 8 == len(set(ids(server)))
    server.canned.extend([failure] * 5)
    with pytest.raises(UnavailableError, match=r"\(5 attempts\)$") as caught:
        await clients.open().tokens.token()
    assert ExitCode.UNAVAILABLE == caught.value.exit_code


async def test_retry_after(clients, server, fake):
    """Retry-After is obeyed, in seconds and as a date; too long a wait ends the call."""
    server.canned.append(Canned(status=503, body="", headers={"Retry-After": "17"}))
    await clients.open().tokens.token()
    at = format_datetime(fake.now().replace(microsecond=0) + timedelta(seconds=700), usegmt=True)
    server.clock_ahead_s = 690  # the date is counted by the server's own clock
    server.canned.append(Canned(status=503, body="", headers={"Retry-After": at}))
    server.canned.append(refusal("invalid_client"))
    with pytest.raises(RefusedError):
        await clients.open().tokens.token()
    assert [17.0, 10.0] == fake.waits_s
    server.canned.append(Canned(status=429, body="", headers={"Retry-After": "3600"}))
    with pytest.raises(UnavailableError, match="Retry-After 3600 s"):
        await clients.open().tokens.token()


async def test_unreachable(clients):
    """Nobody listening is unavailable (69), after all attempts."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        issuer = f"http://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(UnavailableError, match="cannot connect to 127") as caught:
            await clients.open(issuer=issuer).tokens.token()
    assert ExitCode.UNAVAILABLE == caught.value.exit_code
    assert "helseid.issuer" in caught.value.hint


async def test_a_connection_that_breaks(clients):
    """It is told from a silent one: somebody was there."""
    async with raw_server(Reply(data=b"HTTP/1.1 200", then="reset")) as broken:
        with pytest.raises(UnavailableError, match=r"the connection to 127.* was lost"):
            await clients.open(issuer=broken.url.rstrip("/")).tokens.token()


async def test_slow(clients, server):
    """A call that takes too long is given up as a whole."""
    server.hold.clear()
    helseid = clients.open(attempt_s_max=0.05)
    with pytest.raises(UnavailableError, match="no response within"):
        await helseid.tokens.token()


@pytest.mark.parametrize(
    ("answer", "code", "hint"),
    [
        (refusal("invalid_client"), "invalid_client", "helseid.client_id"),
        (refusal("unauthorized_client"), "unauthorized_client", "helseid.grant"),
        (refusal("unsupported_grant_type"), "unsupported_grant_type", "helseid.grant"),
        (refusal("invalid_scope"), "invalid_scope", "helseid.scope"),
        (refusal("invalid_request"), "invalid_request", "helseid.sender_constraint"),
        (refusal("something_new"), "something_new", "NHN"),
        (refusal("a b c"), "", "proxy or firewall"),
        (Canned(status=403, body={"message": "no"}), "", "proxy or firewall"),
        *[
            (
                refusal("invalid_request", error_description=f"HID-{code}: no"),
                "invalid_request",
                hint,
            )
            for code, hint in [
                (1001, "helseid.organization_parent"),
                (1002, "helseid.organization_child"),
                (1003, "that parent's list"),
                (1004, "9 digits"),
                (1005, "single-tenant"),
                (1006, "remove helseid.organization_child"),
                (1007, "helseid.tenancy"),
                (1008, "key pair"),
                (1009, "machine-to-machine"),
                (1010, "not set up for organisation numbers"),
            ]
        ],
    ],
    ids=str,
)
async def test_refused(answer, code, hint, clients, server):
    """A refusal is final (77), tells HelseID's code, and says what to do."""
    server.canned.append(answer)
    with pytest.raises(RefusedError) as caught:
        await clients.open().tokens.token()
    assert (ExitCode.REFUSED, code) == (caught.value.exit_code, caught.value.code)
    assert hint in caught.value.hint
    assert code in caught.value.message
    assert 1 == len(server.seen)


@pytest.mark.parametrize(
    ("ahead_s", "message"),
    [(-120, "clock is 12[01] s ahead of HelseID's"), (90, "clock is (89|90) s behind HelseID's")],
)
async def test_clock_off(ahead_s, message, clients, server):
    """A proof refused for its time is tried once more, and then the clock is named."""
    server.clock_ahead_s = ahead_s
    with pytest.raises(RefusedError, match=message) as caught:
        await clients.open().tokens.token()
    assert ("invalid_dpop_proof", 2) == (caught.value.code, len(server.seen))
    assert "NTP" in caught.value.hint


async def test_clock_right(clients, server):
    """A refusal by a server whose clock agrees says nothing of clocks."""
    server.canned.extend([refusal("invalid_dpop_proof")] * 2)
    helseid = clients.open()
    with pytest.raises(RefusedError) as caught:
        await helseid.tokens.token()
    assert "s clock is" not in caught.value.message
    assert 0 <= helseid.tokens.clock_ahead_s < 2


@pytest.mark.parametrize(
    ("constraint", "fields", "code"),
    [
        ("dpop", {"token_type": "Bearer"}, "token_type"),
        ("bearer", {"token_type": "DPoP"}, "token_type"),
        ("dpop", {"token_type": None}, "token_type"),
        ("dpop", {"scope": "other"}, "insufficient_scope"),
        ("dpop", {"scope": ""}, "insufficient_scope"),
        ("dpop", {"rejected_scope": ["nhn:pts/api"]}, "rejected_scope"),
        ("dpop", {"rejected_scope": "x nhn:pts/api"}, "rejected_scope"),
    ],
)
async def test_unwanted_tokens(constraint, fields, code, clients, server):
    """A token of the wrong type or without a needed scope is refused and not kept."""
    server.token_fields = fields
    with pytest.raises(RefusedError) as caught:
        await clients.open(sender_constraint=constraint).tokens.token()
    assert code == caught.value.code


UNWANTED = {"access_token": "t", "expires_in": 60, "token_type": "DPoP", "scope": "nhn:pts/api"}
REFUSALS = [
    refusal("invalid_client"),
    refusal("invalid_client", status=401),
    refusal("unauthorized_client"),
    refusal("invalid_scope"),
    refusal("invalid_request"),
    refusal("use_dpop_nonce"),
    Canned(status=403, body={}),
    Canned(status=404, body={"title": "Not Found"}),
    Canned(body={**UNWANTED, "token_type": "Bearer"}),
    Canned(body={**UNWANTED, "scope": "openid"}),
    Canned(body={**UNWANTED, "rejected_scope": "nhn:pts/api"}),
]


@pytest.mark.parametrize("answer", REFUSALS, ids=str)
async def test_a_refusal_of_a_client_that_had_a_token(answer, clients, server, fake):
    """One refusal, or four, are tried again, each with a new assertion; that is no end of a run."""
    tokens = clients.open().tokens
    await tokens.token()
    for count in (1, 4):
        fake.advance(600)
        server.canned.extend([answer] * count)
        await tokens.token()
    assert 3 == server.tokens_given
    assert len(ids(server)) == len(set(ids(server)))


@pytest.mark.parametrize("answer", REFUSALS, ids=str)
async def test_a_lasting_refusal_of_a_client_that_had_a_token(answer, clients, server, fake):
    """It is final after five, at growing intervals of 10 s or more in all; and then at once."""
    tokens = clients.open().tokens
    await tokens.token()
    fake.advance(600)
    seen = len(server.seen)
    server.canned.extend([answer] * 6)
    with pytest.raises(RefusedError):
        await tokens.token()
    assert (seen + 5, sorted(fake.waits_s)) == (len(server.seen), fake.waits_s)
    assert 10 <= sum(fake.waits_s) <= 20
    with pytest.raises(RefusedError):
        await tokens.token()
    assert (seen + 6, 4) == (len(server.seen), len(fake.waits_s))


async def test_a_process_remembers_who_had_a_token(client_key, server, fake, tmp_path):
    """The next night of ``schedule`` does not begin with a verdict from one answer."""
    values = {
        "helseid.issuer": server.issuer,
        "helseid.client_id": CLIENT_ID,
        "helseid.private_jwk_file": "client.jwk",
    }
    app = App(loaded=load(values, environ={}, cwd=tmp_path), runtime=fake.runtime)
    server.canned.append(refusal("invalid_client"))
    async with app.helseid() as helseid:
        with pytest.raises(RefusedError):
            await helseid.tokens.token()
        await helseid.tokens.token()
    server.canned.append(refusal("invalid_client"))
    async with app.helseid() as helseid:
        await helseid.tokens.token()
    assert 2 == server.tokens_given


@pytest.mark.parametrize("scope", [None, "nhn:pts/api extra", ["nhn:pts/api"]])
async def test_wanted_scopes(scope, clients, server):
    """An answer that does not name scopes grants those asked for; more than asked for is fine."""
    server.token_fields = {"scope": scope, "token_type": "dpop"}
    assert "nhn:pts/api" == (await clients.open().tokens.token()).scopes[0]


async def test_only_what_was_asked_for_is_told(clients, server):
    """Of an answer's scopes and type, words that nobody asked for are not repeated."""
    server.token_fields = {"scope": "somebody nhn:pts/api 13097248022"}
    with structlog.testing.capture_logs() as events:
        token = await clients.open().tokens.token()
    assert ("nhn:pts/api",) == token.scopes
    assert "somebody" not in repr(events)
    server.token_fields = {"token_type": "somebody"}
    with pytest.raises(RefusedError) as caught:
        await clients.open().tokens.token()
    assert "of unknown type" in caught.value.message
    server.canned.append(refusal("13097248022"))
    with pytest.raises(RefusedError) as caught:
        await clients.open().tokens.token()
    assert ("HelseID refused the client: HTTP 400", "") == (caught.value.message, caught.value.code)


async def test_bearer(clients, server):
    """A bearer token is asked for without any proof."""
    token = await clients.open(sender_constraint="bearer").tokens.token()
    assert "Bearer secret-token-1" == token.authorization
    assert [None] == [seen.proof for seen in server.seen]


async def test_token_exchange(clients, server, fake, tmp_path):
    """The subject token is read from its file at each exchange and kept nowhere."""
    path = write_secret(tmp_path / "subject", "first-subject\n")
    helseid = clients.open(grant="token_exchange", subject_token_file=path)
    await helseid.tokens.token()
    write_secret(path, "second-subject")
    fake.advance(600)
    await helseid.tokens.token()
    forms = [seen.form for seen in server.seen]
    assert {"urn:ietf:params:oauth:grant-type:token-exchange"} == {f["grant_type"] for f in forms}
    expected = {"urn:ietf:params:oauth:token-type:access_token"}
    assert expected == {f["subject_token_type"] for f in forms}
    assert ["first-subject", "second-subject"] == [
        forms[0]["subject_token"],
        forms[-1]["subject_token"],
    ]
    server.canned.extend([refusal("invalid_grant")] * 5)
    fake.advance(600)
    with pytest.raises(RefusedError) as caught:
        await helseid.tokens.token()
    assert "helseid.subject_token_file" in caught.value.hint


@pytest.mark.parametrize("content", ["", "two tokens", "æ"])
async def test_unfit_subject_token(content, clients, tmp_path):
    """A file that does not hold one token is a configuration error."""
    path = write_secret(tmp_path / "subject", content)
    helseid = clients.open(grant="token_exchange", subject_token_file=path)
    with pytest.raises(ConfigurationError, match=r"helseid\.subject_token_file"):
        await helseid.tokens.token()


async def test_nothing_leaks(clients, server, private_jwks, tmp_path, caplog):
    """No token, assertion, proof or key reaches a log, repr, message or traceback."""
    caplog.set_level(logging.DEBUG)
    path = write_secret(tmp_path / "subject", "subject-secret")
    server.canned.extend([BAD_GATEWAY, Canned(drop=True)])
    helseid = clients.open(grant="token_exchange", subject_token_file=path)
    with structlog.testing.capture_logs() as events:
        token = await helseid.tokens.token()
        used = await helseid.authorizer.authorize("POST", "https://pts.example/x")
        server.canned.append(
            refusal("invalid_client", error_description=f"{LONG_SECRET} of 13097248022\r\nis bad")
        )
        with pytest.raises(RefusedError) as caught:
            await clients.open().tokens.token()
    assert "invalid_client (*** of ***  is bad)" in caught.value.message
    shown = " ".join(
        [
            *map(repr, (events, token, used, helseid, clients.open(), clients.key)),
            caplog.text,
            repr(caught.value),
            *traceback.format_exception(caught.value),
        ]
    )
    proof = used.headers["DPoP"]
    secrets = [
        "secret-token",
        "subject-secret",
        private_jwks["P-256"]["d"],
        LONG_SECRET,
        proof,
        *[seen.form["client_assertion"] for seen in server.seen],
    ]
    assert [] == [secret for secret in secrets if secret in shown]
    assert "helseid.token_received" in {event["event"] for event in events}


async def test_no_spelling_of_an_identifier_is_told(clients, server):
    """Whichever way HelseID writes an identifier, message and log do without it."""
    tokens = clients.open().tokens
    for _, text in spellings("13097248022"):
        server.canned.append(
            refusal("invalid_grant", error_description=f"the subject {text} has no consent")
        )
        with structlog.testing.capture_logs() as events, pytest.raises(RefusedError) as caught:
            await tokens.token()
        assert "***" in caught.value.message
        seen = "".join(char if char.isprintable() else " " for char in text)
        assert seen not in caught.value.message + repr(events)


async def test_a_description_too_long_to_search_is_not_told(clients, server):
    """It would have to be cut, perhaps within an identifier."""
    server.canned.append(
        refusal("invalid_client", error_description=f"{'a' * 3990}1309724802" + "2" * 20)
    )
    with pytest.raises(RefusedError) as caught:
        await clients.open().tokens.token()
    assert "HelseID refused the client: invalid_client" == caught.value.message


async def test_a_code_that_hides_an_identifier(clients, server):
    """Base64 of digits may be letters alone."""
    server.canned.append(refusal("MjAxMjAwNTAyOTA"))
    with pytest.raises(RefusedError) as caught:
        await clients.open().tokens.token()
    assert "MjAx" not in caught.value.message


async def test_the_configured_time_is_that_of_a_call(client_key, server, fake, tmp_path):
    """``sync.request_timeout_s`` bounds each call to HelseID, too."""
    values = {
        "helseid.issuer": server.issuer,
        "helseid.client_id": CLIENT_ID,
        "helseid.private_jwk_file": "client.jwk",
        "sync.request_timeout_s": 0.05,
    }
    app = App(loaded=load(values, environ={}, cwd=tmp_path), runtime=fake.runtime)
    server.hold.clear()
    async with app.helseid() as helseid:
        with anyio.fail_after(30), pytest.raises(UnavailableError):
            await helseid.tokens.token()
