"""A client that others wrote, requests_oauth2client, against the stand-ins."""

import jwskate
import requests
from requests_oauth2client import OAuth2Client, PrivateKeyJwt

from tests.support.sandbox_caller import KEY, OFF_IDS, SAFETY_PATH, Caller


class HelseIdAuthentication(PrivateKeyJwt):
    """The library's method with HelseID's typ, which it cannot set."""

    def client_assertion(self, audience: str) -> str:
        plain = jwskate.SignedJwt(super().client_assertion(audience))
        typ = "client-authentication+jwt"
        return str(jwskate.Jwt.sign(plain.claims, key=self.private_jwk, alg=self.alg, typ=typ))


def test_another_client_gets_a_token_and_an_answer(caller: Caller):
    """The library's own nonce dance, assertion and proofs are accepted from end to end."""
    authentication = HelseIdAuthentication(
        caller.client_id,
        jwskate.Jwk(KEY.as_dict(private=True) | {"kid": KEY.thumbprint()}),
        alg="ES256",
        lifetime=30,
        aud=caller.issuer,
    )
    session = requests.Session()
    session.trust_env = False
    client = OAuth2Client(
        caller.token_endpoint,
        auth=authentication,
        dpop_bound_access_tokens=True,
        testing=True,
        session=session,
    )
    token = client.client_credentials(scope="nhn:pts/api")
    sandbox = caller.sandbox
    sandbox.control(challenge_style="dpop")  # the library takes a nonce from that challenge only
    for nonce in (False, True):
        sandbox.control(rs_nonce=nonce)
        answer = session.post(
            f"{caller.base_url}{SAFETY_PATH}", json={"offId": OFF_IDS[0]}, auth=token
        )
        assert (answer.status_code, type(answer.json())) == (200, list)
    session.close()
