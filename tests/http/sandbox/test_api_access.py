"""Who may call the stand-in for PTS."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from joserfc.jwk import ECKey

from tests.support.sandbox_caller import MISSING, OFF_IDS, SAFETY_PATH, Caller, ath, sign
from worker.sandbox.serve import RunningSandbox

OFF_ID = OFF_IDS[0]
BEARER = 'Bearer error="invalid_token"'

Make = Callable[[Caller, str], dict[str, str]]


def _with(**parts: Any) -> Make:
    return lambda c, url: c.headers(url, **parts)


def _foreign_token(caller: Caller, url: str) -> dict[str, str]:
    token = sign(
        caller.key,
        {"alg": "ES256", "typ": "at+jwt"},
        {"iss": caller.issuer, "aud": "nhn:pts", "exp": int(time.time()) + 60},
    )
    proof = caller.proof(url, ath=ath(token))
    return {"Authorization": f"DPoP {token}", "DPoP": proof}


def _bearer(caller: Caller, _url: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {caller.token}"}


def _other_key(caller: Caller, url: str) -> dict[str, str]:
    key = ECKey.generate_key("P-256", private=True)
    return caller.headers(url, key=key)


REFUSALS: dict[str, tuple[Make, str]] = {
    "iat 30 s ago": (lambda c, u: c.headers(u, iat=int(time.time()) - 30), "invalid_dpop_proof"),
    "iat 30 s ahead": (lambda c, u: c.headers(u, iat=int(time.time()) + 30), "invalid_dpop_proof"),
    "htu with query": (lambda c, u: c.headers(u, htu=f"{u}?a=1"), "invalid_dpop_proof"),
    "htu upper case": (lambda c, u: c.headers(u, htu=u.upper()), "invalid_dpop_proof"),
    "htm GET": (_with(htm="GET"), "invalid_dpop_proof"),
    "no ath": (_with(ath=MISSING), "invalid_dpop_proof"),
    "ath of another": (_with(ath=ath("another")), "invalid_dpop_proof"),
    "another key": (_other_key, "invalid_token"),
    "no proof": (
        lambda c, _: {"Authorization": f"DPoP {c.token}"},
        "invalid_request",
    ),
    "bearer with a bound token": (_bearer, "invalid_token"),
    "foreign token": (_foreign_token, "invalid_token"),
    "cut token": (
        lambda c, u: {"Authorization": f"DPoP {c.token[:-9]}", "DPoP": c.proof(u)},
        "invalid_token",
    ),
}


@pytest.mark.parametrize(("make", "error"), REFUSALS.values(), ids=REFUSALS.keys())
def test_a_wrong_call_is_refused(signed_in: Caller, make: Make, error: str):
    """401: as by NHN's sample API, the token is called invalid, or with RFC 9449's error."""
    url = f"{signed_in.base_url}{SAFETY_PATH}"
    answer = signed_in.search(OFF_ID, headers=make(signed_in, url))
    assert answer.status_code == 401
    challenge, _, description = answer.headers["www-authenticate"].partition(", ")
    is_token_bad = make in (REFUSALS["foreign token"][0], REFUSALS["cut token"][0])
    assert (challenge, "The token is not accepted" in description) == (BEARER, is_token_bad)
    signed_in.sandbox.control(challenge_style="dpop")
    answer = signed_in.search(OFF_ID, headers=make(signed_in, url))
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith(f'DPoP error="{error}"')
    assert OFF_ID not in answer.text


def test_a_proof_serves_once(signed_in: Caller):
    """The same proof again is a replay."""
    for style, challenge in (("bearer", BEARER), ("dpop", "Detected replay")):
        signed_in.sandbox.control(challenge_style=style)
        headers = signed_in.headers(f"{signed_in.base_url}{SAFETY_PATH}")
        assert signed_in.search(OFF_ID, headers=headers).status_code == 200
        answer = signed_in.search(OFF_ID, headers=headers)
        assert challenge in answer.headers["www-authenticate"]
        assert ("Detected" in answer.headers["www-authenticate"]) == (style == "dpop")


def test_an_expired_token_is_refused(sandbox: RunningSandbox, caller: Caller):
    """A token serves for its lifetime by the server's clock and no longer."""
    sandbox.control(token_lifetime_s=60)
    caller.sign_in()
    assert caller.search(OFF_ID).status_code == 200
    sandbox.control(clock_skew_s=61)
    url = f"{caller.base_url}{SAFETY_PATH}"
    answer = caller.search(OFF_ID, headers=caller.headers(url, iat=int(time.time()) + 61))
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]


def test_the_resource_server_may_ask_for_a_nonce(sandbox: RunningSandbox, signed_in: Caller):
    """With rs_nonce, a proof without nonce is challenged; with it, accepted, more than once."""
    sandbox.control(rs_nonce=True)
    assert signed_in.search(OFF_ID).headers["www-authenticate"] == BEARER
    sandbox.control(challenge_style="dpop")
    url = f"{signed_in.base_url}{SAFETY_PATH}"
    challenge = signed_in.search(OFF_ID)
    assert challenge.status_code == 401
    assert challenge.headers["www-authenticate"].startswith('DPoP error="use_dpop_nonce"')
    nonce = challenge.headers["dpop-nonce"]
    for _ in range(2):
        headers = signed_in.headers(url, nonce=nonce)
        assert signed_in.search(OFF_ID, headers=headers).status_code == 200
