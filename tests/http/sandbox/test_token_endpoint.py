"""What the stand-in for HelseID accepts and refuses."""

import time
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from joserfc.jwk import ECKey, OctKey

from tests.support.sandbox_caller import MISSING, Caller, public, sign
from worker.sandbox.serve import RunningSandbox


def now() -> int:
    return int(time.time())


ASSERTIONS: dict[str, Callable[[Caller], str]] = {
    "typ JWT": lambda c: c.assertion(header_typ="JWT"),
    "aud is the token endpoint": lambda c: c.assertion(aud=c.token_endpoint),
    "exp 90 s ahead": lambda c: c.assertion(exp=now() + 90),
    "expired 6 min ago": lambda c: c.assertion(exp=now() - 360),
    "no jti": lambda c: c.assertion(jti=MISSING),
    "iss is another": lambda c: c.assertion(iss="another"),
    "sub is another": lambda c: c.assertion(sub="another"),
    "another key": lambda c: c.assertion(key=ECKey.generate_key("P-256", private=True)),
    "unknown kid": lambda c: c.assertion(header_kid="another"),
    "HS256": lambda c: sign(
        OctKey.import_key(b"s" * 32),
        {"alg": "HS256", "typ": "client-authentication+jwt"},
        {"iss": c.client_id, "sub": c.client_id, "aud": c.issuer, "exp": now() + 30},
    ),
    "signature cut": lambda c: c.assertion()[:-8],
    "not a JWT": lambda _: "assertion",
}


@pytest.mark.parametrize("make", ASSERTIONS.values(), ids=ASSERTIONS.keys())
def test_a_wrong_assertion_is_refused(caller: Caller, make: Callable[[Caller], str]):
    """Whatever is wrong with it, the client hears invalid_client, with status 400 and no more."""
    answer = caller.ask(assertion=make(caller))
    assert (answer.status_code, answer.json()) == (400, {"error": "invalid_client"})


def test_an_assertion_serves_once(caller: Caller):
    """The second use of a jti is invalid_client, also after a nonce challenge."""
    assertion = caller.assertion()
    assert caller.ask(assertion=assertion).json()["error"] == "use_dpop_nonce"
    assert caller.ask(assertion=assertion).json() == {"error": "invalid_client"}


def _other_signature(caller: Caller) -> str:
    return caller.proof(
        caller.token_endpoint,
        key=ECKey.generate_key("P-256", private=True),
        header_jwk=public(caller.dpop_key),
        nonce=caller.nonce,
    )


def _proof(**parts: Any) -> Callable[[Caller], str]:
    return lambda c: c.proof(c.token_endpoint, **{"nonce": c.nonce} | parts)


PROOFS: dict[str, tuple[Callable[[Caller], str], str, str]] = {
    "not a JWT": (lambda _: "proof", "invalid_dpop_proof", "Malformed DPoP token."),
    "too long": (_proof(x="x" * 4_000), "invalid_dpop_proof", "Malformed DPoP token."),
    "typ": (_proof(header_typ="JWT"), "invalid_dpop_proof", "Invalid 'typ' value."),
    "no jwk": (_proof(header_jwk=MISSING), "invalid_dpop_proof", "Invalid 'jwk' value."),
    "signature": (_other_signature, "invalid_dpop_proof", "Invalid signature on DPoP token."),
    "no jti": (_proof(jti=MISSING), "invalid_dpop_proof", "Invalid 'jti' value."),
    "htm": (_proof(htm="post"), "invalid_dpop_proof", "Invalid 'htm' value."),
    "htu": (_proof(htu="http://127.0.0.1/token"), "invalid_dpop_proof", "Invalid 'htu' value."),
    "iat is old": (_proof(iat=1_700_000_000), "invalid_dpop_proof", "Invalid 'iat' value."),
    "no nonce": (_proof(nonce=MISSING), "use_dpop_nonce", "Missing 'nonce' value."),
    "foreign nonce": (_proof(nonce="bm9uY2U"), "use_dpop_nonce", "Invalid 'nonce' value."),
    "missing": (
        lambda _: "",
        "invalid_request",
        "Client requires DPoP and a DPoP header value was not provided.",
    ),
}


@pytest.mark.parametrize(("make", "error", "words"), PROOFS.values(), ids=PROOFS.keys())
def test_a_wrong_proof_is_refused(
    caller: Caller, make: Callable[[Caller], str], error: str, words: str
):
    """Each wrong proof has Duende's error and words; a nonce comes with a challenge only."""
    caller.ask(proof=caller.proof(caller.token_endpoint))
    answer = caller.ask(proof=make(caller))
    assert answer.status_code == 400
    assert answer.json() == {"error": error, "error_description": words}
    assert ("dpop-nonce" in answer.headers) == (error == "use_dpop_nonce")


def test_a_proof_serves_once(caller: Caller):
    """A proof that was accepted is refused the second time; one without a nonce was not noted."""
    jti = str(uuid.uuid4())
    caller.ask(proof=caller.proof(caller.token_endpoint, jti=jti))
    proof = caller.proof(caller.token_endpoint, jti=jti, nonce=caller.nonce)
    assert caller.ask(proof=proof).status_code == 200
    words = caller.ask(proof=proof).json()["error_description"]
    assert words == "Detected replay of DPoP proof token."


def test_a_nonce_lives_60_s(sandbox: RunningSandbox, caller: Caller):
    """A nonce serves more than once while it is fresh, and is challenged when it is older."""
    assert caller.ask_with_nonce().status_code == 200
    assert caller.ask().status_code == 200
    sandbox.control(clock_skew_s=-61.5)
    caller.ask(proof=caller.proof(caller.token_endpoint), assertion=caller.assertion(exp=now() - 5))
    sandbox.control(clock_skew_s=0.0)
    answer = caller.ask()
    assert answer.json()["error"] == "use_dpop_nonce"
    assert answer.headers["dpop-nonce"]
