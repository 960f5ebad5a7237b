"""Control of a running sandbox, its ledger and its memory."""

import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.support.sandbox_caller import SAFETY_PATH, Caller
from worker.sandbox.ledger import LOG_LENGTH
from worker.sandbox.people import roster
from worker.sandbox.serve import RunningSandbox, running_sandbox
from worker.sandbox.windows import ReplayWindow

ROOT = Path(__file__).parents[3]
OFF_IDS = [off_id for off_id, _ in roster(1, 200)]


def test_control_over_http(sandbox: RunningSandbox, caller: Caller):
    """What can be set in Python can be set over HTTP; the answer tells what is set."""
    url = f"{sandbox.control_url}control"
    changes = {"generation": 3, "paging": "token", "faults": [{"action": "drop", "nth": 9}]}
    settings = caller.http.post(url, json=changes).json()
    assert (settings["generation"], settings["paging"], settings["faults"]) == (
        3,
        "token",
        ["drop"],
    )
    assert caller.http.get(url).json() == settings


@pytest.mark.parametrize(
    "changes",
    [
        {"generation": "3"},
        {"generation": True},
        {"paging": "scroll"},
        {"page_size": 0},
        {"persons": -1},
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


def test_a_subject_token_over_http(sandbox: RunningSandbox, caller: Caller):
    """A subject token can be had without Python."""
    answer = caller.http.post(f"{sandbox.control_url}subject-token", json={"sub": "person-2"})
    assert answer.json()["subject_token"].count(".") == 2


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


def test_a_window_forgets():
    """A jti is remembered through its window and forgotten after two."""
    window = ReplayWindow(60)
    assert [window.seen("a"), window.seen("a")] == [False, True]
    closed = ReplayWindow(0)
    assert [closed.seen("a"), closed.seen("a")] == [False, False]


def test_only_loopback_is_served():
    """The sandbox cannot be put on a network."""
    with pytest.raises(ValueError, match="loopback"), running_sandbox(host="0.0.0.0"):  # noqa: S104
        pass


def test_a_port_that_is_taken_is_an_error(sandbox: RunningSandbox):
    """Two sandboxes cannot share a port."""
    taken = sandbox.options.pts_port
    with pytest.raises(OSError, match="in use"), running_sandbox(pts_port=taken):
        pass


def test_the_log_is_bounded(sandbox: RunningSandbox):
    """However many requests there are, the last thousand are kept."""
    with httpx.Client(trust_env=False) as client:
        for _ in range(LOG_LENGTH + 20):
            client.post(f"{sandbox.base_url}{SAFETY_PATH}", content=b"{}")
    assert len(sandbox.requests()) == LOG_LENGTH


SERVE = """
import sys
import tracemalloc
from worker.sandbox.serve import SandboxOptions, serve_forever
serve_forever(SandboxOptions(persons=1), lambda sandbox: print(sandbox.base_url, flush=True))
print("stopped", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_forever_ends_on_a_signal(number: signal.Signals):
    """SIGINT and SIGTERM end it in good order, while a connection is open."""
    command = [sys.executable, "-c", SERVE]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        base_url = process.stdout.readline().strip()
        with httpx.Client(trust_env=False) as client:
            assert client.get(f"{base_url}/_sandbox/stats").status_code == 200
            process.send_signal(number)
            assert process.stdout.readline().strip() == "stopped"
        assert process.wait(60) == 0
