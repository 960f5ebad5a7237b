"""Control of a running sandbox, and its ledger."""

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
