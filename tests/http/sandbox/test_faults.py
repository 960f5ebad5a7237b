"""Faults as data."""

from typing import Any

import httpx
import pytest

from tests.support.sandbox_caller import OFF_IDS, PRIVACY_PATH, SAFETY_PATH, Caller
from worker.sandbox.people import is_synthetic
from worker.sandbox.serve import RunningSandbox


def fault(sandbox: RunningSandbox, action: str, **settings: Any) -> None:
    sandbox.control(faults=[{"action": action} | settings])


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
