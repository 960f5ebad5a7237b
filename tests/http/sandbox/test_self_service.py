"""The stand-in for the self-service API: a client replaces its key."""

import json

import httpx
from joserfc.jwk import ECKey

from tests.support.sandbox_caller import Caller, ath, calling, public, rsa


def call(
    caller: Caller, method: str, content: bytes | None = None, *, path: str = "/v1/client-secret"
) -> httpx.Response:
    url = f"{caller.sandbox.options.helseid_url}{path}"
    headers = {
        "Authorization": f"DPoP {caller.token}",
        "DPoP": caller.proof(url, htm=method, ath=ath(caller.token)),
        "Content-Type": "application/json",
    }
    return caller.http.request(method, url, content=content, headers=headers)


def test_a_key_is_effective_later_and_the_old_one_is_refused_at_last():
    """Before its time the new key is refused; after it the old one is."""
    with calling(persons=1, activation_delay_s=20, retire_after_s=20) as caller:
        caller.sign_in(form={"scope": "nhn:selvbetjening/client"})
        old, new = caller.key, ECKey.generate_key("P-256", private=True)
        assert call(caller, "POST", json.dumps(public(new)).encode()).status_code == 200

        def is_accepted(key: ECKey) -> bool:
            error = caller.ask(assertion=caller.assertion(key=key)).json().get("error")
            return bool(error != "invalid_client")

        assert (is_accepted(old), is_accepted(new)) == (True, False)
        caller.sandbox.control(clock_skew_s=25)
        assert (is_accepted(old), is_accepted(new)) == (True, True)
        caller.sandbox.control(clock_skew_s=45)
        assert (is_accepted(old), is_accepted(new)) == (False, True)


def test_what_self_service_refuses():
    """A private key, a short one, no JWK at all, no scope, another method."""
    with calling(persons=1) as caller:
        caller.sign_in()
        assert call(caller, "GET").status_code == 401
        caller.sign_in(form={"scope": "nhn:selvbetjening/client"})
        private = json.dumps(caller.key.as_dict(private=True)).encode()
        for body in (private, b'{"kty":"RSA","n":"AQAB","e":"AQAB"}', b"7", b"{"):
            answer = call(caller, "POST", body)
            assert answer.status_code == 400
            assert answer.headers["content-type"].startswith("application/problem+json")
        assert call(caller, "POST", json.dumps(public(rsa(2048))).encode()).status_code == 200
        assert call(caller, "DELETE").status_code == 405
        assert call(caller, "PUT", b"{}", path="/v1/client").status_code == 405
