"""Control of a running sandbox, its ledger and its memory."""

import httpx
import pytest

from tests.support.sandbox_caller import OFF_IDS, SAFETY_PATH, Caller
from worker.sandbox.serve import RunningSandbox, running_sandbox


def test_control_over_http(sandbox: RunningSandbox, caller: Caller):
    """What can be set in Python can be set over HTTP; the answer tells what is set."""
    url = f"{sandbox.control_url}control"
    changes = {"generation": 3, "paging": "token", "faults": [{"action": "drop", "nth": 9}]}
    settings = caller.http.post(url, json=changes).json()
    found = {name: settings[name] for name in changes}
    assert found == {"generation": 3, "paging": "token", "faults": ["drop"]}
    assert caller.http.get(url).json() == settings


@pytest.mark.parametrize(
    "changes",
    [
        {"generation": "3"},
        {"paging": "scroll"},
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
    url = f"{sandbox.control_url}control"
    answer = caller.http.post(url, json={"clock_skew_s": 5.0} | changes)
    assert answer.status_code == 400
    assert sandbox.control() == before
    with pytest.raises(ValueError):  # noqa: PT011 - the words differ by key
        sandbox.control(**changes)


def test_control_takes_json_only(sandbox: RunningSandbox, caller: Caller):
    """A form of a web page cannot change the sandbox."""
    answer = caller.http.post(f"{sandbox.control_url}control", data={"generation": "3"})
    assert answer.status_code == 415
    assert caller.http.get(f"{sandbox.control_url}unknown").status_code == 404
    assert caller.http.delete(f"{sandbox.control_url}stats").status_code == 405


def test_the_ledger_counts_and_names_nobody(sandbox: RunningSandbox, signed_in: Caller):
    """Requests are counted by endpoint and status; no identifier or token is in the ledger."""
    for off_id in OFF_IDS[:5]:
        signed_in.search(off_id)
    signed_in.search("12057900499")
    stats = signed_in.http.get(f"{sandbox.control_url}stats").json()
    assert stats["searches"] == 5
    assert (stats["token_calls"], stats["tokens_issued"]) == (2, 1)
    assert stats["counts"]["patient-safety 400"] == 1
    log = signed_in.http.get(f"{sandbox.control_url}requests").text
    assert [entry["status"] for entry in sandbox.requests()[-2:]] == [200, 400]
    for secret in (*OFF_IDS[:5], "12057900499", signed_in.token):
        assert secret not in log
    sandbox.control(clear=True)
    assert sandbox.requests() == []


def test_only_loopback_is_served():
    """The sandbox cannot be put on a network."""
    with pytest.raises(ValueError, match="loopback"), running_sandbox(host="0.0.0.0"):  # noqa: S104
        pass


def test_a_port_that_is_taken_is_an_error(sandbox: RunningSandbox):
    """Two sandboxes cannot share a port."""
    taken = sandbox.options.pts_port
    with pytest.raises(OSError, match="in use"), running_sandbox(pts_port=taken):
        pass


def test_the_log_is_bounded(monkeypatch: pytest.MonkeyPatch):
    """However many requests there are, the last ones are kept."""
    monkeypatch.setattr("worker.sandbox.ledger.LOG_LENGTH", 10)
    with running_sandbox(persons=1) as sandbox, httpx.Client(trust_env=False) as client:
        for _ in range(15):
            client.post(f"{sandbox.base_url}{SAFETY_PATH}", content=b"{}")
        assert len(sandbox.requests()) == 10
