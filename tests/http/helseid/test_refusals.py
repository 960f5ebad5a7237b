"""Refusals: what ends a run and what does not, what to do, and what is not repeated of them."""

import json
import logging
import re
import traceback

import pytest
import structlog

from tests.support.http.helseid import refusal, refused, write_secret
from tests.support.raw_server import Reply, http
from worker.errors import ExitCode, RefusedError

LONG_SECRET = "eyJhbGciOiJQUzUxMiJ9.eyJzdWIiOiIxMjM0NTY3ODkw.c2lnbmF0dXJl"


HINTS = {
    "invalid_client": "helseid.client_id",
    "unauthorized_client": "helseid.grant",
    "unsupported_grant_type": "helseid.grant",
    "invalid_scope": "helseid.scope (PTS's is nhn:pts/api)",
    "invalid_request": "helseid.sender_constraint",
    "something_new": "NHN",
    "HID-1001": "helseid.organization_parent",
    "HID-1002": "helseid.organization_child",
    "HID-1003": "that parent's list",
    "HID-1005": "single-tenant",
    "HID-1006": "remove helseid.organization_child",
    "HID-1007": "helseid.tenancy",
    "HID-1009": "machine-to-machine",
    "HID-1010": "not set up for organisation numbers",
}


@pytest.mark.parametrize(("code", "hint"), HINTS.items())
async def test_refused(code, hint, clients, server):
    """A refusal is final (77), tells HelseID's code, and says what to do."""
    is_organization = code.startswith("HID")
    answer = refusal("invalid_request", error_description=f"{code}: no")
    server.token_replies.append(answer if is_organization else refusal(code))
    error = await refused(clients.open())
    assert error.exit_code == ExitCode.REFUSED
    shown = {"something_new": "unknown error code"}.get(code, code)
    assert error.code == ("invalid_request" if is_organization else shown)
    assert hint in error.hint
    assert error.message == f"HelseID refused the client: 400 {error.code}"
    assert len(server.seen) == 2


@pytest.mark.parametrize(
    "answer", [refusal(""), http({"message": "no"}, status="403 Forbidden")], ids=str
)
async def test_refused_without_a_code(answer, clients, server):
    """What is no OAuth error is a refusal too, perhaps of somebody in between."""
    server.token_replies.append(answer)
    error = await refused(clients.open())
    assert (error.code, "proxy or firewall" in error.hint) == ("", True)


@pytest.mark.parametrize(
    ("ahead_s", "codes", "message"),
    [
        (-120, ["invalid_client"], r"clock is 12[01] s ahead of HelseID's"),
        (315, ["invalid_dpop_proof"] * 2, r"clock is 31[45] s behind HelseID's"),
    ],
)
async def test_clock_off(ahead_s, codes, message, clients, server):
    """The clock is named; a proof refused for its time is tried once more before."""
    server.world.apply({"clock_skew_s": ahead_s})
    error = await refused(clients.open())
    assert error.code == codes[0]
    assert re.search(message, error.message)
    assert "NTP" in error.hint
    assert [json.loads(text)["error"] for text in server.violations] == codes
    server.violations.clear()


@pytest.mark.parametrize(
    ("constraint", "fields", "code"),
    [
        ("dpop", {"token_type": "Bearer"}, "token_type"),
        ("bearer", {"token_type": "DPoP"}, "token_type"),
        ("dpop", {"scope": "other"}, "insufficient_scope"),
        ("dpop", {"scope": ""}, "insufficient_scope"),
        ("dpop", {"rejected_scope": "x nhn:pts/api"}, "insufficient_scope"),
    ],
)
async def test_unwanted_tokens(constraint, fields, code, clients, server):
    """A token of the wrong type or without a needed scope is refused and not kept."""
    server.token_more = fields
    with pytest.raises(RefusedError) as caught:
        await clients.open(sender_constraint=constraint).tokens.token()
    assert caught.value.code == code


@pytest.mark.promise("8")
async def test_only_what_was_asked_for_is_reported(clients, server):
    """Of an answer's scopes and type, words that nobody asked for are not repeated."""
    server.token_more = {"scope": "somebody nhn:pts/api 13097248022"}
    with structlog.testing.capture_logs() as events:
        token = await clients.open().tokens.token()
    assert "nhn:pts/api" in repr(events)
    assert "somebody" not in repr((token, events))
    server.token_more = {"token_type": "somebody"}
    assert "not of type 'dpop'" in (await refused(clients.open())).message
    server.token_replies.append(refusal("13097248022"))
    error = await refused(clients.open())
    assert error.message == "HelseID refused the client: 400 unknown error code"


@pytest.mark.promise("8")
async def test_nothing_leaks(clients, server, private_jwks, tmp_path, caplog):
    """No token, assertion, proof or key reaches a log, repr, message or traceback."""
    caplog.set_level(logging.DEBUG)
    subject = server.helseid.mint_subject_token("somebody")
    path = write_secret(tmp_path / "subject", subject)
    server.token_replies += [http(status="502 Bad Gateway"), Reply(data=b"", then="close")]
    helseid = clients.open(grant="token_exchange", subject_token_file=path)
    with structlog.testing.capture_logs() as events:
        token = await helseid.tokens.token()
        proof = helseid.headers("POST", "https://pts.example/x", token)["DPoP"]
        description = f"{LONG_SECRET} of 13097248022\r\nis bad"
        server.token_replies.append(refusal("invalid_client", error_description=description))
        error = await refused(clients.open())
    assert error.message == "HelseID refused the client: 400 invalid_client"
    shown = " ".join(
        [
            *map(repr, (events, token, helseid, clients.open(), clients.key, error)),
            caplog.text,
            *traceback.format_exception(error),
        ]
    )
    secrets = [
        *server.tokens,
        subject,
        private_jwks["P-256"]["d"],
        LONG_SECRET,
        proof,
        *[seen.form["client_assertion"] for seen in server.seen],
    ]
    assert [secret for secret in secrets if secret in shown] == []
    assert "helseid.token_received" in {event["event"] for event in events}
