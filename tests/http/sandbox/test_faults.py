"""Faults as data."""

from typing import Any

import httpx
import pytest

from tests.support.sandbox_caller import OFF_IDS, PRIVACY_PATH, SAFETY_PATH, Caller
from worker.sandbox.people import is_synthetic
from worker.sandbox.serve import RunningSandbox


def fault(sandbox: RunningSandbox, action: str, **settings: Any) -> None:
    sandbox.control(faults=[{"action": action} | settings])


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({"status": 200, "body": "{}"}, "application/json"),
        ({"status": 200, "body": "<html>"}, "text/html"),
        ({"status": 429, "headers": {"Retry-After": "7"}}, None),
        ({}, None),
    ],
)
def test_another_answer(
    sandbox: RunningSandbox, signed_in: Caller, settings: dict[str, Any], kind: str | None
):
    """A status comes with a body and headers, or without; 503 unless it is named."""
    fault(sandbox, "status", **settings)
    answer = signed_in.search(OFF_IDS[0])
    assert answer.status_code == settings.get("status", 503)
    assert answer.text == settings.get("body", "")
    assert answer.headers.get("retry-after") == settings.get("headers", {}).get("Retry-After")
    assert answer.headers.get("content-type", "").partition(";")[0] == (kind or "")


@pytest.mark.parametrize("action", ["drop", "reset", "truncate"])
def test_a_connection_breaks(sandbox: RunningSandbox, signed_in: Caller, action: str):
    """Before the answer, or in its middle; the next request is answered."""
    fault(sandbox, action, times=1)
    with pytest.raises(httpx.TransportError) as caught:
        signed_in.search(OFF_IDS[0])
    assert isinstance(caught.value, httpx.ReadError) == (action == "reset")
    assert signed_in.search(OFF_IDS[0]).status_code == 200


@pytest.mark.parametrize("path", [SAFETY_PATH, PRIVACY_PATH])
def test_spoilt_records(sandbox: RunningSandbox, signed_in: Caller, path: str):
    """Another's record, a record without id, a wrong type: also for a person without any."""
    for off_id in OFF_IDS[:4]:
        fault(sandbox, "other_person")
        last = signed_in.search(off_id, path).json()[-1]
        holder = last.get("patientPrivacyObject") or last["patientSafetyObject"]
        other = holder["person"]["offId"]
        assert other != off_id
        assert is_synthetic(other)
        fault(sandbox, "no_key")
        assert "id" not in signed_in.search(off_id, path).json()[-1]
        fault(sandbox, "wrong_type")
        last = signed_in.search(off_id, path).json()[-1]
        assert 17 in (last.get("confidentialityCode"), last.get("privacyType"))


def test_which_requests_are_struck(sandbox: RunningSandbox, signed_in: Caller):
    """Every so many of those that match, and no more than so many."""

    def struck(**conditions: int) -> list[int]:
        fault(sandbox, "status", **conditions)
        answers = [signed_in.search(OFF_IDS[0]).status_code for _ in range(6)]
        return [n for n, status in enumerate(answers, 1) if status == 503]

    assert struck(every=2) == [2, 4, 6]
    assert struck(times=2) == [1, 2]
    assert struck(every=3, times=1) == [3]
    assert sandbox.control()["faults_struck"] == [1]


def test_which_areas_and_persons_are_struck(sandbox: RunningSandbox, signed_in: Caller):
    """One area only, and persons by their line of the roster or by identifier."""
    fault(sandbox, "status", area="patient-privacy")
    assert signed_in.search(OFF_IDS[0]).status_code == 200
    assert signed_in.search(OFF_IDS[0], PRIVACY_PATH).status_code == 503
    for person in (5, OFF_IDS[5]):
        fault(sandbox, "status", persons=[person])
        statuses = [signed_in.search(o).status_code for o in OFF_IDS[3:8]]
        assert statuses == [200, 200, 503, 200, 200]


@pytest.mark.parametrize(("skew_s", "status"), [(3, 200), (60, 401), (-60, 401)])
def test_a_wrong_clock(sandbox: RunningSandbox, signed_in: Caller, skew_s: float, status: int):
    """HelseID and PTS judge a proof's age by their own clocks."""
    fault(sandbox, "clock_skew", skew_s=skew_s)
    assert signed_in.search(OFF_IDS[0]).status_code == status
    refused = sandbox.control()["counts"].get("refused patient-safety: Invalid 'iat' value.", 0)
    assert refused == (status == 401)


def test_an_expired_token(sandbox: RunningSandbox, signed_in: Caller):
    """The token is called expired, whatever it is."""
    fault(sandbox, "expired_token")
    answer = signed_in.search(OFF_IDS[0])
    assert (answer.status_code, "expired" in answer.headers["www-authenticate"]) == (401, True)


def test_faults_of_helseid(sandbox: RunningSandbox, caller: Caller):
    """At the token endpoint and at discovery, likewise."""
    fault(sandbox, "status", area="token", status=500)
    assert caller.ask().status_code == 500
    sandbox.control(faults=[])
    caller.ask()
    fault(sandbox, "clock_skew", area="token", skew_s=-120)
    assert caller.ask().json() == {"error": "invalid_client"}
    fault(sandbox, "truncate", area="discovery")
    with pytest.raises(httpx.RemoteProtocolError):
        caller.http.get(f"{caller.issuer}/.well-known/openid-configuration")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"action": "statu"}, "Invalid enum value 'statu'"),
        ({"action": "drop", "area": "moon"}, "Invalid enum value 'moon'"),
        ({"action": "drop", "often": 1}, "unknown field `often`"),
        ({"action": "status", "status": "503"}, "Expected `int`, got `str`"),
    ],
)
def test_a_wrong_fault_is_refused(sandbox: RunningSandbox, table: dict[str, Any], message: str):
    """Keys, actions, areas and types are checked before anything is changed."""
    with pytest.raises(ValueError, match=message):
        sandbox.control(faults=[table])
    assert sandbox.control()["faults"] == []
