"""Authorizing calls to PTS: tokens, proofs (judged by requests-oauth2client), and refusals."""

import asyncio
from datetime import timedelta
from email.utils import format_datetime
from typing import Any

import jwskate
import pytest
from requests_oauth2client.dpop import validate_dpop_proof

from tests.support.http.helseid import YEARS_S
from worker.helseid.authorizer import HelseIdAuthorizer
from worker.helseid.dpop import token_hash
from worker.http.response import HttpResponse

URL = "https://pts.example/patient-safety/v0.5/_search"
BEARER = 'Bearer error="invalid_token"'
"""What an API built like NHN's sample answers to every fault of a proof."""


def answer(status: int, *challenges: str, **headers: str) -> HttpResponse:
    named = {name.replace("_", "-"): (value,) for name, value in headers.items()}
    return HttpResponse(status=status, headers={"www-authenticate": challenges, **named}, body=b"")


async def authorized(authorizer: HelseIdAuthorizer, url: str = URL) -> dict[str, str]:
    """The headers of one attempt."""
    return dict(authorizer.headers("POST", url, await authorizer.tokens.token()))


async def refused(authorizer: HelseIdAuthorizer, response: HttpResponse) -> str:
    """What is said of a request that PTS refuses."""
    error = authorizer.refusal(await authorizer.tokens.token(), response, 1)
    return error.advice if error else ""


async def denied(authorizer: HelseIdAuthorizer) -> int:
    """How often a request is sent if PTS refuses it each time."""
    number, error = 0, None
    while error is None:
        number += 1
        token = await authorizer.tokens.token()
        error = authorizer.refusal(token, answer(401, BEARER), number)
    assert error.message == "PTS answered 401 invalid_token"
    return number


def claims(headers: dict[str, str]) -> dict[str, Any]:
    return dict(jwskate.SignedJwt(headers["DPoP"]).claims)


async def test_authorizes(clients, server, fake):
    """Each attempt has the token and a fresh proof of RFC 9449 that is bound to it."""
    authorizer: HelseIdAuthorizer = clients.open()
    first = await authorized(authorizer, f"{URL}?page=2")
    authorizer.keep_nonce(URL, answer(200, dpop_nonce="n-1"))
    second = await authorized(authorizer)
    assert first["Authorization"] == second["Authorization"] == f"DPoP {server.tokens[0]}"
    ath = token_hash(server.tokens[0])
    judge: dict[str, Any] = {
        "htm": "POST",
        "htu": URL,
        "ath": ath,
        "algs": ["ES256"],
        "leeway": YEARS_S,
    }
    plain = validate_dpop_proof(first["DPoP"], **judge)
    with_nonce = validate_dpop_proof(second["DPoP"], nonce="n-1", **judge)
    known = {"htm": "POST", "htu": URL, "ath": ath, "iat": int(fake.now().timestamp())}
    assert dict(plain.claims) == {**known, "jti": plain.jwt_token_id}
    assert dict(with_nonce.claims) == {**known, "jti": with_nonce.jwt_token_id, "nonce": "n-1"}
    assert plain.jwt_token_id != with_nonce.jwt_token_id
    assert plain.headers["jwk"].keys() == {"kty", "crv", "x", "y"}


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
    assert claims(await authorized(clients.open(), url))["htu"] == expected


def test_token_hash():
    """RFC 9449 §7.1 shows the ``ath`` of this token; nothing but the padding is taken off."""
    token = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"
    assert token_hash(token) == "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo"
    assert {len(token_hash(f"token-{number}")) for number in range(1000)} == {43}


async def test_bearer(clients, server):
    """With bearer there is no proof, for a token neither, and nonces are not learnt."""
    authorizer = clients.open(sender_constraint="bearer")
    assert await authorized(authorizer) == {"Authorization": f"Bearer {server.tokens[0]}"}
    assert [seen.proof for seen in server.seen] == [None]
    authorizer.keep_nonce(URL, answer(401, dpop_nonce="n"))
    assert (await authorized(authorizer)).keys() == {"Authorization"}


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
    challenge = 'DPoP error="use_dpop_nonce"'
    authorizer.keep_nonce(URL, answer(status, challenge, dpop_nonce=nonce))
    same = await authorized(authorizer, "https://PTS.example:443/other")
    other = await authorized(authorizer, "https://else.example/")
    assert claims(same).get("nonce") == (nonce if is_kept else None)
    assert "nonce" not in claims(other)


async def test_the_same_token_with_a_fresh_proof_first(clients, server):
    """A 401 does not say what is bad: the proof is made anew, the token stays. A 403 does."""
    authorizer = clients.open()
    before = await authorized(authorizer)
    assert await refused(authorizer, answer(401, BEARER)) == ""
    after = await authorized(authorizer)
    assert claims(before)["jti"] != claims(after)["jti"]
    assert len(server.tokens) == 1
    assert await refused(authorizer, answer(403)) == "PTS answered 403"


@pytest.mark.promise("7")
async def test_a_token_is_replaced_once_for_all(clients, server, fake):
    """Refused with fresh proofs too, the token is replaced, once for all that were under way."""
    authorizer = clients.open()
    assert await asyncio.gather(*(denied(authorizer) for _ in range(31))) == [3] * 31
    assert (len(server.tokens), fake.waits_s) == (2, [])


@pytest.mark.promise("7")
async def test_a_refused_token_costs_helseid_little(clients, server, fake):
    """Refused for ten minutes, a token is replaced once a minute at most."""
    authorizer = clients.open()
    for _ in range(600):
        assert await denied(authorizer) == 3
        fake.advance(1)
    assert 2 < len(server.tokens) <= 11


@pytest.mark.promise("7")
async def test_late_refusals_of_an_old_token(clients, server, fake):
    """They cost no other token, however late they come."""
    authorizer = clients.open()
    old = await authorizer.tokens.token()
    assert await denied(authorizer) == 3
    fake.advance(120)
    assert authorizer.refusal(old, answer(401, BEARER), 2) is None
    await authorizer.tokens.token()
    assert len(server.tokens) == 2


@pytest.mark.parametrize(
    ("values", "reported"),
    [
        ([], ""),
        (["DPoP"], ""),
        (['Bearer realm="a, b", DPoP ERROR="invalid_request", algs="ES256"'], " invalid_request"),
        (["Bearer", 'DPoP error="use_dpop_nonce"'], " use_dpop_nonce"),
        (['DPoP error_description="a, b", error="invalid_token"'], " invalid_token"),
        (['DPoP error="unclosed'], ""),
        (['Bearer error="of_13097248022"'], " unknown error code"),
        (['Bearer error="insufficient_scope"'], " insufficient_scope"),
    ],
)
async def test_what_a_challenge_says(values, reported, clients):
    """Errors are read as servers write them (RFC 6750 §3)."""
    said = await refused(clients.open(), answer(403, *values))
    assert said == f"PTS answered 403{reported}"


async def test_a_clock_that_explains_it(clients, fake):
    """A proof may be refused because it comes from another time."""
    date = format_datetime(fake.now() + timedelta(seconds=60))
    said = await refused(clients.open(), answer(403, date=date))
    assert said in {
        f"PTS answered 403; this machine's clock is {seconds} s behind PTS's"
        for seconds in (59, 60)
    }
    authorizer = clients.open()
    late = authorizer.refusal(await authorizer.tokens.token(), answer(401, BEARER, date=date), 3)
    assert late.hint.startswith("synchronise this machine's clock")


@pytest.mark.promise("8")
@pytest.mark.parametrize(
    ("error", "description"),
    [
        ("access_denied", "of 13097248022"),
        ("access_denied", "130972  48000 of 12 34 56 78 901"),
        ("access_denied", "secret-token-1 is bad"),
        ("13097248022", ""),
        ("Kari_Nordmann", ""),
    ],
)
async def test_no_text_of_a_refusal_is_repeated(error, description, clients):
    """Only the status and an error code of the RFCs are."""
    challenge = f'DPoP error="{error}", error_description="{description}"'
    said = await refused(clients.open(), answer(403, challenge))
    assert said in {"PTS answered 403 access_denied", "PTS answered 403 unknown error code"}
