"""Client assertions: their claims, and the organisation they speak for."""

from pathlib import Path

import jwskate
import pytest

from tests.support.clock import START
from tests.support.standin import CLIENT_ID
from worker.errors import ConfigurationError
from worker.helseid.assertion import AssertionMaker, assertion_details
from worker.helseid.options import HelseIdOptions

ISSUER = "https://helseid.example"
SINGLE = "urn:oid:2.16.578.1.12.4.1.4.101"
MULTI = "urn:oid:1.0.6523"


def options(**more) -> HelseIdOptions:
    return HelseIdOptions(**{"issuer": ISSUER, "client_id": CLIENT_ID, **more})


def test_claims(client_key):
    """The issuer is the only audience, and the assertion lives for 30 s from now, rounded down."""
    signed = AssertionMaker(options(), client_key).make(issuer=ISSUER, now=START, jti="j-1")
    jwt = jwskate.SignedJwt(signed)
    now_s = int(START.timestamp())
    assert jwt.headers["typ"] == "client-authentication+jwt"
    assert dict(jwt.claims) == {
        "iss": CLIENT_ID,
        "sub": CLIENT_ID,
        "aud": ISSUER,
        "iat": now_s,
        "nbf": now_s,
        "exp": now_s + 30,
        "jti": "j-1",
    }


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, None),
        ({"tenancy": "single-tenant", "organization_parent": "999999999"}, None),
        ({"organization_child": "888888888"}, (SINGLE, "888888888")),
        ({"organization_parent": "999999999"}, (MULTI, "NO:ORGNR:999999999")),
        (
            {
                "tenancy": "multi-tenant",
                "organization_parent": "999999999",
                "organization_child": "888888888",
            },
            (MULTI, "NO:ORGNR:999999999:888888888"),
        ),
    ],
)
def test_organizations(given, expected, client_key):
    """A single-tenant client names a child at most, a multi-tenant client always the parent."""
    details = assertion_details(options(**given))
    jwt = AssertionMaker(options(**given), client_key).make(issuer=ISSUER, now=START, jti="j")
    assert jwskate.SignedJwt(jwt).claims.get("assertion_details") == details
    if expected is None:
        assert details is None
        return
    system, value = expected
    identifier = {"system": system, "type": "ENH", "value": value}
    assert details == {
        "type": "helseid_authorization",
        "practitioner_role": {"organization": {"identifier": identifier}},
    }


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"tenancy": "multi-tenant"}, "helseid.organization_parent"),
        ({"client_id": ""}, "helseid.client_id"),
        ({"grant": "token_exchange"}, "helseid.subject_token_file"),
        ({"scope": "  "}, "helseid.scope"),
        ({"issuer": "http://helseid.example"}, "helseid.issuer: http://"),
        ({"issuer": "http://localhost.example"}, "helseid.issuer: http://"),
        ({"issuer": "ftp://helseid.example"}, "helseid.issuer: is not an https URL"),
        ({"issuer": "https://a:b@helseid.example"}, "helseid.issuer"),
        ({"grant": "token_exchange", "subject_token_file": Path("x"), "scope": ""}, "scope"),
    ],
)
async def test_open_refuses_unfit_options(given, named, clients):
    """A client with options that cannot work is not opened."""
    with pytest.raises(ConfigurationError, match=named):
        clients.open(**given)


@pytest.mark.parametrize("host", ["127.8.9.1", "localhost", "[::1]:99"])
async def test_open_allows_http_to_loopback(host, clients):
    """http:// is fine to this very machine."""
    clients.open(issuer=f"http://{host}/x")
