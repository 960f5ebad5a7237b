"""Control of a running sandbox, its ledger, and its faults as data."""

from typing import Any

import httpx
import pytest

from tests.support.sandbox_caller import OFF_IDS, Caller
from worker.sandbox.serve import RunningSandbox


@pytest.mark.parametrize(
    "changes",
    [
        {"generation": "3"},
        {"contract": 3},
        {"contract": {"patient-safety": {}}},
        {"page_size": 0},
        {"unknown": 1},
        {"faults": [{"action": "explode"}]},
    ],
)
def test_what_cannot_be_set_changes_nothing(
    sandbox: RunningSandbox, caller: Caller, changes: dict[str, object]
):
    """A wrong value is 400, and not one of the changes is made."""
    before = sandbox.control()
    url = sandbox.control_url
    answer = caller.http.post(url, json={"clock_skew_s": 5.0} | changes)
    assert answer.status_code == 400
    assert sandbox.control() == before
    with pytest.raises(ValueError):  # noqa: PT011 - the words differ by key
        sandbox.control(**changes)


def test_the_counts_name_nobody(sandbox: RunningSandbox, signed_in: Caller):
    """Requests are counted by endpoint and status; no identifier or token is among them."""
    for off_id in OFF_IDS[:5]:
        signed_in.search(off_id)
    signed_in.search("12057900499")
    counts = signed_in.http.get(sandbox.control_url).json()["counts"]
    assert (counts["searches"], counts["patient-safety 400"]) == (5, 1)
    assert (counts["requests token"], counts["tokens issued"]) == (2, 1)
    for secret in (*OFF_IDS[:5], "12057900499", signed_in.token):
        assert secret not in str(counts)
    assert sandbox.control(clear=True)["counts"] == {}


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


def test_a_roster_of_one_person_has_records_of_another(sandbox: RunningSandbox, signed_in: Caller):
    """The fault needs a second person, whom the roster need not contain."""
    sandbox.control(persons=1, faults=[{"action": "other_person"}])
    records = signed_in.search(OFF_IDS[0]).json()
    assert (
        len({record["patientSafetyObject"]["person"]["offId"] for record in records} | {OFF_IDS[0]})
        == 2
    )
