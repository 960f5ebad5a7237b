"""Organisations in the assertion, and the exchange of a subject token."""

from collections.abc import Iterator
from typing import Any

import pytest
from joserfc.jwk import ECKey

from tests.support.sandbox_caller import (
    ACCESS_TOKEN,
    CLAIMS,
    EXCHANGE,
    MISSING,
    Caller,
    calling,
    claims_of,
    public,
    registered,
)
from worker.sandbox.clients import Client
from worker.sandbox.serve import RunningSandbox


def details(system: str, value: object, **parts: object) -> dict[str, object]:
    """One organisation in HelseID's form."""
    identifier = {"system": system, "type": "ENH", "value": value} | parts
    return {
        "type": "helseid_authorization",
        "practitioner_role": {"organization": {"identifier": identifier}},
    }


NEW_CHILD = "urn:oid:2.16.578.1.12.4.1.4.101"
OLD_CHILD = "urn:oid:2.16.578.1.12.4.1.2.101"
PARENT = "urn:oid:1.0.6523"
SINGLE, MULTI, OPEN, CLOSED, NONE = "single", "multi", "open", "closed", "none"

ORGANIZATION_ERRORS = [
    (MULTI, details(PARENT, "NO:ORGNR:399999999"), "HID-1001"),
    (SINGLE, details(NEW_CHILD, "399999999"), "HID-1002"),
    (OPEN, details(PARENT, "NO:ORGNR:300000017:399999999"), "HID-1003"),
    (SINGLE, details(OLD_CHILD, "12345"), "HID-1004"),
    (OPEN, details(PARENT, "NO:ORGNR::300000025"), "HID-1004"),
    (SINGLE, details(PARENT, "NO:ORGNR:300000017"), "HID-1005"),
    (CLOSED, details(NEW_CHILD, "300000025"), "HID-1006"),
    (MULTI, details(PARENT, "300000033"), "HID-1007"),
    (MULTI, details(PARENT, 300000033), "HID-1007"),
    (MULTI, [], "HID-1007"),
    (MULTI, details(PARENT, "NO:ORGNR:300000033") | {"type": "another"}, "HID-1007"),
    (NONE, details(NEW_CHILD, "300000025"), "HID-1010"),
]

US = {"orgnr_parent": "300000017"}
OTHERS = {"orgnr_parent": "300000033", "orgnr_supplier": "300000017"}
ORGANIZATIONS: list[tuple[str, object, dict[str, str]]] = [
    (SINGLE, MISSING, US),
    (SINGLE, details(NEW_CHILD, "300000025"), US | {"orgnr_child": "300000025"}),
    (SINGLE, [details(OLD_CHILD, "300000025")], US | {"orgnr_child": "300000025"}),
    (OPEN, details(PARENT, "NO:ORGNR:300000017:300000025"), US | {"orgnr_child": "300000025"}),
    (MULTI, MISSING, {"orgnr_supplier": "300000017"}),
    (MULTI, [details(PARENT, "NO:ORGNR:300000033:")], OTHERS),
    (MULTI, details(PARENT, "NO:ORGNR:300000033:399999999"), OTHERS | {"orgnr_child": "399999999"}),
    (NONE, MISSING, {}),
]


@pytest.fixture(scope="module")
def clients() -> Iterator[dict[str, Caller]]:
    """One client of each kind."""
    kinds = (SINGLE, MULTI, OPEN, CLOSED, NONE)
    keys = {kind: ECKey.generate_key("P-256", private=True) for kind in kinds}

    def client(name: str, **settings: Any) -> Client:
        return Client(client_id=name, jwks=[public(keys[name])], **settings)

    of_each_kind = [
        client(SINGLE),
        client(MULTI, tenancy="multi-tenant"),
        client(OPEN, may_name_parent=True),
        client(CLOSED, may_name_child=False),
        client(NONE, tenancy="none"),
    ]
    with calling(clients=of_each_kind) as caller:
        callers = {n: Caller(caller.sandbox, key=key, client_id=n) for n, key in keys.items()}
        yield callers
        for each in callers.values():
            each.close()


@pytest.mark.parametrize(("name", "sent", "code"), ORGANIZATION_ERRORS)
def test_a_wrong_organisation_has_its_code(
    clients: dict[str, Caller], name: str, sent: object, code: str
):
    """Each HID code is given for what it stands for."""
    caller = clients[name]
    answer = caller.ask_with_nonce(assertion=caller.assertion(assertion_details=sent))
    assert answer.status_code == 400
    assert answer.json()["error_description"].startswith(code)


@pytest.mark.parametrize(("name", "sent", "expected"), ORGANIZATIONS)
def test_an_organisation_becomes_claims(
    clients: dict[str, Caller], name: str, sent: object, expected: dict[str, str]
):
    """Object or array, both systems, with or without the last colon: the claims are right."""
    caller = clients[name].sign_in(assertion=clients[name].assertion(assertion_details=sent))
    found = {
        key.removeprefix(CLAIMS): value
        for key, value in claims_of(caller.token).items()
        if key.startswith(CLAIMS)
    }
    assert found == expected


def test_scopes_without_signed_terms_are_rejected(clients: dict[str, Caller]):
    """The token has the organisation and no scope; the answer says which it would have had."""
    sent = details(PARENT, "NO:ORGNR:300000041")
    caller = clients[MULTI]
    answer = caller.ask_with_nonce(assertion=caller.assertion(assertion_details=sent)).json()
    assert (answer["scope"], answer["rejected_scope"]) == ("", "nhn:pts/api")
    assert claims_of(answer["access_token"])[f"{CLAIMS}orgnr_parent"] == "300000041"


def exchange(subject: str) -> dict[str, Any]:
    """The fields of an exchange."""
    return {
        "grant_type": EXCHANGE,
        "subject_token": subject,
        "subject_token_type": ACCESS_TOKEN,
    }


def test_a_subject_token_is_exchanged(sandbox: RunningSandbox, caller: Caller):
    """The token tells the subject and, in act, the client; it is bound to the client's key."""
    body = caller.ask_with_nonce(
        form=exchange(sandbox.helseid.mint_subject_token("person-1"))
    ).json()
    claims = claims_of(body["access_token"])
    assert body["issued_token_type"] == ACCESS_TOKEN
    assert claims["sub"] == "person-1"
    assert claims["act"] == {"client_id": caller.client_id}
    assert claims["cnf"] == {"jkt": caller.dpop_key.thumbprint()}


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"subject_token_type": "urn:ietf:params:oauth:token-type:jwt"}, "invalid_request"),
        ({"subject_token": "token"}, "invalid_grant"),
        ({"actor_token": "token"}, "invalid_request"),
    ],
)
def test_a_wrong_exchange_is_refused(
    sandbox: RunningSandbox, caller: Caller, change: dict[str, Any], error: str
):
    """The subject token must be an access token of this issuer, and be called one."""
    form = exchange(sandbox.helseid.mint_subject_token("person-1")) | change
    assert caller.ask_with_nonce(form=form).json()["error"] == error


def test_a_grant_must_be_enabled():
    """A client without token exchange hears unauthorized_client."""
    with calling(clients=registered(grants=("client_credentials",))) as caller:
        answer = caller.ask_with_nonce(form={"grant_type": EXCHANGE})
        assert answer.json()["error"] == "unauthorized_client"
