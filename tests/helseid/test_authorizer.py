"""Authorizing calls to PTS, and what its answers mean."""

import asyncio
from typing import Any

import jwskate
import pytest
from requests_oauth2client.dpop import validate_dpop_proof

from tests.helseid.support import YEARS_S
from worker.core.dpop import token_hash
from worker.helseid.authorizer import HelseIdChallengeResult
from worker.ports import Authorizer, HttpResponse

URL = "https://pts.example/patient-safety/v0.5/_search"
RETRY = HelseIdChallengeResult(retry=True)
FINE = HelseIdChallengeResult()


def answer(status: int, challenge: str = "", **headers: str) -> HttpResponse:
    named = {name.replace("_", "-"): (value,) for name, value in headers.items()}
    if challenge:
        named["www-authenticate"] = (challenge,)
    return HttpResponse(status=status, headers=named, body=b"")


def claims(used) -> dict[str, Any]:
    return dict(jwskate.SignedJwt(used.headers["DPoP"]).claims)


async def test_authorizes(clients, fake):
    """Each attempt has the token and a fresh proof that is bound to it."""
    authorizer: Authorizer = clients.open().authorizer
    first = await authorizer.authorize("POST", f"{URL}?page=2")
    second = await authorizer.authorize("POST", URL)
    assert "DPoP secret-token-1" == first.headers["Authorization"]
    ath = token_hash("secret-token-1")
    judge: dict[str, Any] = {
        "htm": "POST",
        "htu": URL,
        "ath": ath,
        "algs": ["ES256"],
        "leeway": YEARS_S,
    }
    found = [validate_dpop_proof(used.headers["DPoP"], **judge) for used in (first, second)]
    assert 2 == len({proof.jwt_token_id for proof in found})
    assert {int(fake.now().timestamp())} == {proof.claims["iat"] for proof in found}
    assert "nonce" not in found[0].claims
    assert first.token_id == second.token_id


async def test_bearer(clients):
    """With bearer there is no proof, and nonces are not learnt."""
    authorizer = clients.open(sender_constraint="bearer").authorizer
    used = await authorizer.authorize("POST", URL)
    assert {"Authorization": "Bearer secret-token-1"} == used.headers
    assert FINE == authorizer.handle_challenge(URL, used, answer(200, dpop_nonce="n"))
    assert {"Authorization"} == (await authorizer.authorize("POST", URL)).headers.keys()


@pytest.mark.parametrize("status", [200, 401, 403, 500])
async def test_learns_nonce_of_any_answer(status, clients):
    """A nonce of any answer goes into the next proof for that origin, and for no other."""
    authorizer = clients.open().authorizer
    used = await authorizer.authorize("POST", URL)
    authorizer.handle_challenge(
        URL, used, answer(status, 'DPoP error="use_dpop_nonce"', dpop_nonce="n-7")
    )
    same = await authorizer.authorize("POST", "https://PTS.example:443/other")
    other = await authorizer.authorize("POST", "https://else.example/")
    assert ("n-7", None) == (claims(same)["nonce"], claims(other).get("nonce"))


async def test_odd_nonce_not_learnt(clients):
    """A nonce that could break out of the claims is not taken."""
    authorizer = clients.open().authorizer
    used = await authorizer.authorize("POST", URL)
    authorizer.handle_challenge(URL, used, answer(200, dpop_nonce='x","ath":"y'))
    assert "nonce" not in claims(await authorizer.authorize("POST", URL))


async def test_nonce_challenge(clients):
    """A challenge with a nonce is worth another attempt; one without is a refusal."""
    authorizer = clients.open().authorizer
    used = await authorizer.authorize("POST", URL)
    challenge = 'DPoP error="use_dpop_nonce", error_description="Use it"'
    assert RETRY == authorizer.handle_challenge(URL, used, answer(401, challenge, dpop_nonce="n-1"))
    verdict = authorizer.handle_challenge(URL, used, answer(401, challenge))
    assert HelseIdChallengeResult(refused="PTS answered 401 use_dpop_nonce (Use it)") == verdict


@pytest.mark.parametrize(
    "challenge", ["", "DPoP", 'DPoP error="invalid_token"', 'Bearer error="invalid_token", DPoP']
)
async def test_refused_token_replaced_once(challenge, clients, server):
    """A refused token is replaced; if its replacement is refused too, the client is denied."""
    authorizer = clients.open().authorizer
    used = await asyncio.gather(*(authorizer.authorize("POST", URL) for _ in range(5)))
    verdicts = [authorizer.handle_challenge(URL, one, answer(401, challenge)) for one in used]
    assert [RETRY] * 5 == verdicts
    fresh = await authorizer.authorize("POST", URL)
    assert ("2", 2) == (fresh.token_id, server.tokens_given)
    verdict = authorizer.handle_challenge(URL, fresh, answer(401, challenge))
    assert not verdict.retry
    assert verdict.refused.endswith("; a fresh token did not help")
    assert "2" == (await authorizer.authorize("POST", URL)).token_id


async def test_accepted_replacement_may_be_replaced(clients, server):
    """Once PTS has accepted a token, its later refusal is again worth a fresh one."""
    authorizer = clients.open().authorizer
    for number in range(3):
        used = await authorizer.authorize("POST", URL)
        assert str(number + 1) == used.token_id
        assert FINE == authorizer.handle_challenge(URL, used, answer(200))
        assert RETRY == authorizer.handle_challenge(URL, used, answer(401))


async def test_late_answers_prove_nothing(clients):
    """An acceptance of the old token does not speak for its replacement; nor does a 503."""
    authorizer = clients.open().authorizer
    old = await authorizer.authorize("POST", URL)
    authorizer.handle_challenge(URL, old, answer(401))
    fresh = await authorizer.authorize("POST", URL)
    authorizer.handle_challenge(URL, old, answer(200))
    authorizer.handle_challenge(URL, fresh, answer(503))
    assert not authorizer.handle_challenge(URL, fresh, answer(401)).retry


async def test_token_due_for_renewal(clients, fake):
    """A token refused at the end of its life is renewed anyway."""
    authorizer = clients.open().authorizer
    old = await authorizer.authorize("POST", URL)
    fake.advance(600)
    assert RETRY == authorizer.handle_challenge(URL, old, answer(401, 'DPoP error="invalid_token"'))
    fresh = await authorizer.authorize("POST", URL)
    assert RETRY == authorizer.handle_challenge(URL, fresh, answer(401))


async def test_refused_proof(clients, server):
    """A refused proof is worth another attempt, unless the clocks disagree: then that is said."""
    authorizer = clients.open().authorizer
    used = await authorizer.authorize("POST", URL)
    challenge = 'DPoP error="invalid_dpop_proof"'
    assert RETRY == authorizer.handle_challenge(
        URL, used, answer(401, challenge, date=server.date())
    )
    server.clock_ahead_s = 60
    verdict = authorizer.handle_challenge(URL, used, answer(401, challenge, date=server.date()))
    assert not verdict.retry
    assert "invalid_dpop_proof; this machine's clock is" in verdict.refused
    assert "behind PTS's" in verdict.refused


async def test_forbidden(clients):
    """403 is a refusal with the reason that PTS gives, less what looks like a secret."""
    authorizer = clients.open().authorizer
    used = await authorizer.authorize("POST", URL)
    assert "PTS answered 403" == authorizer.handle_challenge(URL, used, answer(403)).refused
    challenge = f'DPoP error="insufficient_scope", error_description="{"a" * 50} is short"'
    verdict = authorizer.handle_challenge(URL, used, answer(403, challenge))
    assert (
        HelseIdChallengeResult(refused="PTS answered 403 insufficient_scope (*** is short)")
        == verdict
    )


@pytest.mark.parametrize(
    ("error", "description", "told"),
    [
        ("13097248022", "", "an error without a code"),
        ("0paque-t0ken", "", "an error without a code"),
        ("access_denied", "of 13097248022, 130972 48022 or 13.09.72-48022", "(of ***, *** or ***)"),
        ("access_denied", "secret-token-1 is bad", "(*** is bad)"),
    ],
)
async def test_a_refusal_names_nobody(error, description, told, clients):
    """Neither the code nor the description gives an identifier away, nor the token in use."""
    authorizer = clients.open().authorizer
    used = await authorizer.authorize("POST", URL)
    challenge = f'DPoP error="{error}", error_description="{description}"'
    refused = authorizer.handle_challenge(URL, used, answer(403, challenge)).refused
    assert told in refused
    assert [] == [one for one in ("13097248022", "48022", "paque", "token-1") if one in refused]


async def test_one_assertion_per_attempt(clients, server, fake):
    """Over many tokens and proofs no jti comes twice, and every assertion lives 30 s."""
    server.token_fields = {"expires_in": 10}
    authorizer = clients.open().authorizer
    seen = []
    for _ in range(10):
        seen.append(claims(await authorizer.authorize("POST", URL))["jti"])
        fake.advance(10)
    seen += [request.assertion["jti"] for request in server.seen]
    seen += [request.proof["jti"] for request in server.seen]
    assert len(seen) == len(set(seen))
    assert {30} == {r.assertion["exp"] - r.assertion["iat"] for r in server.seen}
