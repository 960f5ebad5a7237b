"""The stand-in for the self-service API: a client replaces its key."""

import json
from uuid import uuid4

import httpx
from joserfc.jwk import ECKey

from tests.support.sandbox_caller import Caller, ath, calling, public, rsa
from worker.sandbox.clients import PTS_SCOPE, SELF_SERVICE_SCOPE, Client
from worker.sandbox.serve import running_sandbox


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


def test_both_forms_of_body_and_the_list():
    """A raw JWK and a string that holds one are taken; the list tells where keys came from."""
    with calling(persons=1) as caller:
        caller.sign_in(form={"scope": "nhn:selvbetjening/client"})
        raw, wrapped = (ECKey.generate_key("P-384", private=True) for _ in range(2))
        answer = call(caller, "POST", json.dumps(public(raw)).encode())
        assert "expiration" in answer.json()
        body = json.dumps(json.dumps(public(wrapped))).encode()
        assert call(caller, "POST", body).status_code == 200
        listed = call(caller, "GET").json()
        assert [entry["origin"] for entry in listed] == ["Gui", "Api", "Api"]
        assert listed[-1]["jwkThumbprint"] == wrapped.thumbprint()
        assert set(listed[-1]) == {"expiration", "kid", "jwkThumbprint", "origin", "publicJwk"}
        assert caller.ask(assertion=caller.assertion(key=raw, alg="ES384")).status_code == 200


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


def test_the_client_reads_its_scopes():
    """With self-service's scope alone; what is pending is listed, and gets no token."""
    key = ECKey.generate_key("P-256", private=True)
    new = Client(
        client_id=str(uuid4()),
        jwks=(public(key),),
        scopes=(SELF_SERVICE_SCOPE,),
        pending_scopes=(PTS_SCOPE,),
    )
    with running_sandbox(persons=1, clients=[new]) as sandbox:
        caller = Caller(sandbox, key=key, client_id=new.client_id)
        assert caller.ask_with_nonce(form={"scope": PTS_SCOPE}).json() == {"error": "invalid_scope"}
        caller.sign_in(form={"scope": SELF_SERVICE_SCOPE})
        state = call(caller, "GET", path="/v1/client").json()
        assert state["apiScopes"] == [
            {"scope": SELF_SERVICE_SCOPE, "status": "ok", "statusReason": None},
            {"scope": PTS_SCOPE, "status": "pending", "statusReason": "Awaits approval."},
        ]
        assert state["childOrganizationNumbers"] == ["300000025"]
        caller.close()
        caller = Caller(sandbox).sign_in()
        assert call(caller, "GET", path="/v1/client").status_code == 401
        caller.close()
