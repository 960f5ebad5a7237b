"""Authorizing calls to PTS: tokens, proofs (judged by requests-oauth2client), and challenges."""

import asyncio
import re
from datetime import timedelta
from email.utils import format_datetime
from typing import Any

import jwskate
import pytest
from requests_oauth2client.dpop import validate_dpop_proof

from tests.support.http.helseid import YEARS_S
from worker.helseid.authorizer import ChallengeResult, HelseIdAuthorizer
from worker.helseid.dpop import token_hash
from worker.http.response import HttpResponse

URL = "https://pts.example/patient-safety/v0.5/_search"
SAME_TOKEN = ChallengeResult(retry=True)
NEW_TOKEN = ChallengeResult(retry=True, token_replaced=True)
FINE = ChallengeResult()

BEARER = 'Bearer error="invalid_token"'
"""What an API built like NHN's sample answers to every fault of a proof."""
SUSPECT = ["", BEARER, 'DPoP error="invalid_token"']
"""Challenges that may be about the token, and may be about the proof."""


def answer(status: int, challenge: str = "", **headers: str) -> HttpResponse:
    named = {name.replace("_", "-"): (value,) for name, value in headers.items()}
    if challenge:
        named["www-authenticate"] = (challenge,)
    return HttpResponse(status=status, headers=named, body=b"")


async def refuse(authorizer: HelseIdAuthorizer) -> ChallengeResult:
    """One attempt with a fresh authorization that PTS refuses."""
    used = await authorizer.authorize("POST", URL)
    return authorizer.handle_challenge(URL, used, answer(401, BEARER))


def claims(used) -> dict[str, Any]:
    return dict(jwskate.SignedJwt(used.headers["DPoP"]).claims)


async def test_authorizes(clients, server, fake):
    """Each attempt has the token and a fresh proof of RFC 9449 that is bound to it."""
    authorizer: HelseIdAuthorizer = clients.open()
    first = await authorizer.authorize("POST", f"{URL}?page=2")
    authorizer.handle_challenge(URL, first, answer(200, dpop_nonce="n-1"))
    second = await authorizer.authorize("POST", URL)
    assert first.headers["Authorization"] == f"DPoP {server.tokens[0]}"
    ath = token_hash(server.tokens[0])
    judge: dict[str, Any] = {
        "htm": "POST",
        "htu": URL,
        "ath": ath,
        "algs": ["ES256"],
        "leeway": YEARS_S,
    }
    plain = validate_dpop_proof(first.headers["DPoP"], **judge)
    with_nonce = validate_dpop_proof(second.headers["DPoP"], nonce="n-1", **judge)
    known = {"htm": "POST", "htu": URL, "ath": ath, "iat": int(fake.now().timestamp())}
    assert dict(plain.claims) == {**known, "jti": plain.jwt_token_id}
    assert dict(with_nonce.claims) == {**known, "jti": with_nonce.jwt_token_id, "nonce": "n-1"}
    assert plain.jwt_token_id != with_nonce.jwt_token_id
    assert plain.headers["jwk"].keys() == {"kty", "crv", "x", "y"}
    assert first.token_id == second.token_id


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://A.Example", "https://a.example/"),
        ("https://a.example:443/x", "https://a.example/x"),
        ("HTTPS://a.example:8443/X/%2F?q=1#f", "https://a.example:8443/X/%2F"),
        ("http://[::1]:8080/x#f", "http://[::1]:8080/x"),
        ("https://a.example/å b", "https://a.example/%C3%A5%20b"),
    ],
)
async def test_target_uri(url, expected, clients):
    """An htu is the URL as it is sent, without query and fragment (RFC 9449 §4.3)."""
    assert claims(await clients.open().authorize("GET", url))["htu"] == expected


def test_token_hash():
    """RFC 9449 §7.1 shows the ``ath`` of this token; nothing but the padding is taken off."""
    token = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"
    assert token_hash(token) == "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo"
    assert {len(token_hash(f"token-{number}")) for number in range(1000)} == {43}


async def test_bearer(clients, server):
    """With bearer there is no proof, for a token neither, and nonces are not learnt."""
    authorizer = clients.open(sender_constraint="bearer")
    used = await authorizer.authorize("POST", URL)
    assert used.headers == {"Authorization": f"Bearer {server.tokens[0]}"}
    assert [seen.proof for seen in server.seen] == [None]
    assert authorizer.handle_challenge(URL, used, answer(200, dpop_nonce="n")) == FINE
    assert (await authorizer.authorize("POST", URL)).headers.keys() == {"Authorization"}


@pytest.mark.parametrize(
    ("status", "nonce", "is_kept"),
    [
        (401, "n-7", True),
        (200, "eyJ-._~", True),
        (200, "n" * 1024, True),
        (200, "n" * 1025, False),
        (200, 'a"b', False),
        (200, "a b", False),
    ],
)
async def test_learns_nonce_of_any_answer(status, nonce, is_kept, clients):
    """It goes into the next proof for that origin, and for no other.

    One that could break out of the claims is not sent back, nor an endless one.
    """
    authorizer = clients.open()
    used = await authorizer.authorize("POST", URL)
    challenge = 'DPoP error="use_dpop_nonce"'
    authorizer.handle_challenge(URL, used, answer(status, challenge, dpop_nonce=nonce))
    same = await authorizer.authorize("POST", "https://PTS.example:443/other")
    other = await authorizer.authorize("POST", "https://else.example/")
    assert claims(same).get("nonce") == (nonce if is_kept else None)
    assert "nonce" not in claims(other)


async def test_nonce_challenge(clients):
    """A challenge with a nonce is worth another attempt, and says nothing more of the proof."""
    authorizer = clients.open()
    used = await authorizer.authorize("POST", URL)
    challenge = 'DPoP error="use_dpop_nonce", error_description="Use it"'
    with_nonce = answer(401, challenge, dpop_nonce="n-1")
    assert authorizer.handle_challenge(URL, used, with_nonce) == SAME_TOKEN
    results = []
    for _ in range(3):
        used = await authorizer.authorize("POST", URL)
        results.append(authorizer.handle_challenge(URL, used, answer(401, challenge)))
    refused = "PTS answered 401 use_dpop_nonce (Use it); new proofs did not help"
    assert results == [SAME_TOKEN, SAME_TOKEN, ChallengeResult(refused=refused)]


@pytest.mark.parametrize("challenge", SUSPECT)
async def test_the_same_token_with_a_fresh_proof_first(challenge, clients, server):
    """A 401 that does not say what is bad: the proof is made anew, the token stays."""
    authorizer = clients.open()
    refused = await authorizer.authorize("POST", URL)
    assert authorizer.handle_challenge(URL, refused, answer(401, challenge)) == SAME_TOKEN
    fresh = await authorizer.authorize("POST", URL)
    assert (fresh.token_id, len(server.tokens)) == (refused.token_id, 1)
    assert claims(refused)["jti"] != claims(fresh)["jti"]
    assert authorizer.handle_challenge(URL, fresh, answer(200)) == FINE


@pytest.mark.promise("7")
@pytest.mark.parametrize("challenge", SUSPECT)
async def test_a_token_is_replaced_once_for_all(challenge, clients, server, fake):
    """Refused with fresh proofs too, the token is replaced, once for all that were under way."""
    authorizer = clients.open()
    first = [await authorizer.authorize("POST", URL) for _ in range(31)]
    results = [authorizer.handle_challenge(URL, used, answer(401, challenge)) for used in first]
    assert results == [SAME_TOKEN] * 31
    second = [await authorizer.authorize("POST", URL) for _ in range(31)]
    results = [authorizer.handle_challenge(URL, used, answer(401, challenge)) for used in second]
    assert results == [NEW_TOKEN] * 31
    third = await asyncio.gather(*(authorizer.authorize("POST", URL) for _ in range(31)))
    assert {used.token_id for used in third} == {"2"}
    assert (len(server.tokens), fake.waits_s) == (2, [])


@pytest.mark.parametrize("under_way", [1, 16])
async def test_a_client_that_is_denied(under_way, clients, server, fake):
    """Refused with a fresh proof and with a fresh token, it is: at two tokens, without a wait."""
    authorizer = clients.open()
    rounds = 0
    results = [SAME_TOKEN]
    while any(result.retry for result in results) and rounds < 20:
        rounds += 1
        used = [await authorizer.authorize("POST", URL) for _ in range(under_way)]
        results = [authorizer.handle_challenge(URL, one, answer(401, BEARER)) for one in used]
    assert {result.refused for result in results} == {
        "PTS answered 401 invalid_token; a new token did not help"
    }
    assert (rounds, len(server.tokens), fake.waits_s) == (3, 2, [])
    for _ in range(20):
        fake.advance(2)
        assert not (await refuse(authorizer)).retry
    assert len(server.tokens) == 2, "another would be refused as well"
    fake.advance(20)
    assert await refuse(authorizer) == NEW_TOKEN, "the last one may have been revoked, too"


@pytest.mark.promise("7")
async def test_a_refused_token_costs_helseid_little(clients, server, fake):
    """Refused for ten minutes, a token is replaced once a minute at most."""
    authorizer = clients.open()
    for _ in range(600):
        await refuse(authorizer)
        fake.advance(1)
    assert 2 < len(server.tokens) <= 11


async def test_an_acceptance_begins_anew(clients, fake, server):
    """When PTS accepts again, a later refusal gets a fresh proof, then a fresh token."""
    authorizer = clients.open()
    assert [await refuse(authorizer) for _ in range(2)] == [SAME_TOKEN, NEW_TOKEN]
    assert not (await refuse(authorizer)).retry
    used = await authorizer.authorize("POST", URL)
    assert authorizer.handle_challenge(URL, used, answer(200)) == FINE
    assert [await refuse(authorizer) for _ in range(2)] == [SAME_TOKEN, SAME_TOKEN]  # a minute
    authorizer.handle_challenge(URL, used, answer(200))
    fake.advance(60)
    assert [await refuse(authorizer) for _ in range(2)] == [SAME_TOKEN, NEW_TOKEN]


@pytest.mark.parametrize("code", ["invalid_dpop_proof", "use_dpop_nonce"])
async def test_refused_proofs(code, clients, server, fake):
    """A refusal that names the proof costs no token, and ends with the clock's error."""
    authorizer = clients.open()
    used = await authorizer.authorize("POST", URL)
    date = format_datetime(fake.now() + timedelta(seconds=60))
    results = []
    for _ in range(4):
        refused = answer(401, f'DPoP error="{code}"', date=date, dpop_nonce="n-1")
        results.append(authorizer.handle_challenge(URL, used, refused))
        used = await authorizer.authorize("POST", URL)
    assert (results[:3], len(server.tokens)) == ([SAME_TOKEN] * 3, 1)
    assert re.fullmatch(
        rf"PTS answered 401 {code}; this machine's clock is \d+ s behind PTS's; "
        "new proofs did not help",
        results[3].refused,
    )


@pytest.mark.parametrize(
    ("values", "reported"),
    [
        ([], ""),
        (["DPoP"], ""),
        (['Bearer realm="a, b", DPoP ERROR = "x" , algs="ES256 PS256"'], " x"),
        (["Bearer", 'DPoP error="x"'], " x"),
        (['Bearer error="x", DPoP algs="ES256", error="y"'], " x"),
        (["Negotiate abc==, DPoP error=x"], " x"),
        (['DPoP error_description="a, b", error="x"'], " x (a, b)"),
        ([r'DPoP error_description="say \"hi\"", error="x"'], r" x (say \"hi\")"),
        (['DPoP error="unclosed'], " unclosed"),
        (["error=, ,, @@ DPoP ", 'error="x", error="y"'], " x"),
        (["=" * 9000 + ', DPoP error="x"'], ""),
    ],
)
async def test_what_a_challenge_says(values, reported, clients):
    """Errors are read as servers write them (RFC 9110 §11.6.1), up to 8,192 characters."""
    authorizer = clients.open()
    used = await authorizer.authorize("POST", URL)
    denial = HttpResponse(status=403, headers={"www-authenticate": tuple(values)}, body=b"")
    refused = authorizer.handle_challenge(URL, used, denial).refused
    assert refused == f"PTS answered 403{reported}"


@pytest.mark.promise("8")
@pytest.mark.parametrize(
    ("error", "description", "reported"),
    [
        ("13097248022", "", "an error without a code"),
        ("0paque-t0ken", "", "an error without a code"),
        ("access_denied", "of 13097248022, 130972 48022 or 13.09.72-48022", "(of ***, *** or ***)"),
        ("access_denied", "secret-token-1 is bad", "(*** is bad)"),
        ("insufficient_scope", f"{'a' * 50} is short", "insufficient_scope (*** is short)"),
    ],
)
async def test_a_refusal_names_nobody(error, description, reported, clients, server):
    """Neither the code nor the description gives an identifier away, nor the token in use."""
    server.token_more = {"access_token": "secret-token-1"}
    authorizer = clients.open()
    used = await authorizer.authorize("POST", URL)
    challenge = f'DPoP error="{error}", error_description="{description}"'
    refused = authorizer.handle_challenge(URL, used, answer(403, challenge)).refused
    assert reported in refused
    assert [one for one in ("13097248022", "48022", "paque", "token-1") if one in refused] == []
