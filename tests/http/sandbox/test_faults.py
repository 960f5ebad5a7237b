"""Faults as data."""

import hashlib
import time
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.sandbox_caller import OFF_IDS, PRIVACY_PATH, SAFETY_PATH, Caller
from worker.sandbox.faults import Action, Fault, read_faults
from worker.sandbox.people import is_synthetic
from worker.sandbox.serve import RunningSandbox, running_sandbox

ROOT = Path(__file__).parents[3]


def fault(sandbox: RunningSandbox, action: str, **settings: Any) -> None:
    sandbox.control(faults=[{"action": action} | settings])


BODIES: dict[str, bytes] = {
    "empty_object": b"{}",
    "null": b"null",
    "empty_body": b"",
    "empty_list": b"[]",
}


@pytest.mark.parametrize(("action", "body"), BODIES.items())
def test_plain_bodies(sandbox: RunningSandbox, signed_in: Caller, action: str, body: bytes):
    """Some faults answer 200 with a body that says nothing."""
    fault(sandbox, action)
    answer = signed_in.search(OFF_IDS[0])
    assert (answer.status_code, answer.content) == (200, body)


def test_status_with_seconds_or_date(sandbox: RunningSandbox, signed_in: Caller):
    """A status comes with Retry-After in seconds or as a date, or without."""
    fault(sandbox, "status", status=429, retry_after_s=7)
    answer = signed_in.search(OFF_IDS[0])
    assert (answer.status_code, answer.headers["retry-after"], answer.content) == (429, "7", b"")
    fault(sandbox, "status", retry_after_s=60, retry_after_as="date")
    began_s = time.time()
    answer = signed_in.search(OFF_IDS[0])
    assert answer.status_code == 503
    until_s = parsedate_to_datetime(answer.headers["retry-after"]).timestamp()
    assert began_s - 1 < until_s - 60 < time.time() + 1


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


def test_conditions_nth_every_first_times(sandbox: RunningSandbox, signed_in: Caller):
    """Which of the matching requests are struck."""

    def struck(**conditions: int) -> list[int]:
        fault(sandbox, "status", **conditions)
        answers = [signed_in.search(OFF_IDS[0]).status_code for _ in range(6)]
        return [n for n, status in enumerate(answers, 1) if status == 503]

    assert struck(nth=3) == [3]
    assert struck(every=2) == [2, 4, 6]
    assert struck(first=2) == [1, 2]
    assert struck(every=2, times=2) == [2, 4]
    assert sandbox.control()["faults_struck"] == [2]


def test_conditions_area_person_and_share(sandbox: RunningSandbox, signed_in: Caller):
    """Which areas and which persons are struck; a share is always the same persons."""
    fault(sandbox, "status", area="patient-privacy")
    assert signed_in.search(OFF_IDS[0]).status_code == 200
    assert signed_in.search(OFF_IDS[0], PRIVACY_PATH).status_code == 503
    digest = hashlib.sha256(OFF_IDS[5].encode()).hexdigest()
    for conditions in ({"persons": [5]}, {"off_id_sha256": [digest]}):
        fault(sandbox, "status", **conditions)
        statuses = [signed_in.search(o).status_code for o in OFF_IDS[3:8]]
        assert statuses == [200, 200, 503, 200, 200]
    fault(sandbox, "status", share=0.25)
    first = [signed_in.search(o).status_code for o in OFF_IDS[:80]]
    assert [signed_in.search(o).status_code for o in OFF_IDS[:80]] == first
    assert 10 < first.count(503) < 30


SKEWED: dict[str, Any] = {"action": "clock_skew", "skew_s": 60, "replicas": 3}


def test_one_replica_of_three_has_a_wrong_clock(sandbox: RunningSandbox, signed_in: Caller):
    """Every third request or so is refused, and with the same requests always the same ones."""

    def statuses(**changes: Any) -> list[int]:
        sandbox.control(faults=[SKEWED | changes], clear=True)
        return [signed_in.search(OFF_IDS[0]).status_code for _ in range(30)]

    seen = statuses()
    assert set(seen) == {200, 401}
    assert 5 <= seen.count(401) <= 15
    counts = sandbox.stats()["counts"]
    assert counts["refused patient-safety: Invalid 'iat' value."] == seen.count(401)
    assert seen == statuses(skew_s=-60)
    assert set(statuses(skew_s=3)) == {200}
    assert 200 not in statuses(replicas=1)


def test_faults_of_helseid(sandbox: RunningSandbox, caller: Caller):
    """5xx, a token of another type, malformed JSON, a short life, nonces, a wrong issuer."""
    fault(sandbox, "status", area="token", status=500)
    assert caller.ask().status_code == 500
    sandbox.control(faults=[])
    caller.ask()
    fault(sandbox, "bearer_token_type", area="token")
    assert caller.ask().json()["token_type"] == "Bearer"
    fault(sandbox, "broken_json", area="token")
    assert not caller.ask().text.endswith("}")
    fault(sandbox, "token_lifetime", area="token", lifetime_s=5)
    assert caller.ask().json()["expires_in"] == 5
    fault(sandbox, "nonce_every_call", area="token")
    assert caller.ask().status_code == 400
    assert caller.ask().status_code == 200
    assert caller.ask().status_code == 400
    fault(sandbox, "nonce_without_header", area="token")
    answer = caller.ask()
    assert (answer.status_code, "dpop-nonce" in answer.headers) == (400, False)
    fault(sandbox, "clock_skew", area="token", skew_s=-120)
    assert caller.ask().json() == {"error": "invalid_client"}
    fault(sandbox, "wrong_issuer", area="discovery")
    document = caller.http.get(f"{sandbox.issuer}/.well-known/openid-configuration").json()
    assert document["issuer"] != sandbox.issuer


def test_faults_come_from_files(tmp_path: Path):
    """Each is a table; anything else is an error."""
    file = tmp_path / "faults.toml"
    file.write_text('[[fault]]\naction = "drop"\npersons = [1, 2]\n', encoding="utf-8")
    assert read_faults(file) == [Fault(action=Action.DROP, persons=(1, 2))]
    for text, message in (("[fault]", "expected a list"), ('action = "drop"', "unknown key")):
        file.write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match=message):
            read_faults(file)


def test_the_example_of_faults():
    """The file in config/ is read, and shows a replica with a wrong clock."""
    faults = read_faults(ROOT / "config/sandbox-faults.toml")
    assert (Action.CLOCK_SKEW, 3) in [(fault.action, fault.replicas) for fault in faults]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"action": "statu"}, "no action 'statu'; actions are status, drop"),
        ({"action": "drop", "area": "moon"}, "'moon' - at `\\$.area`"),
        ({"action": "drop", "often": 1}, "unknown field `often`"),
        ({"action": "clock_skew", "replicas": 3, "replica": 3}, "from 0 to 2"),
        ({"action": "clock_skew", "replicas": 3, "area": "token"}, "only PTS has replicas"),
        ({"action": "status", "status": "503"}, "`int . null`, got `str` - at `\\$.status`"),
        ({"action": "status", "persons": ["3"]}, "`int`, got `str` - at `\\$.persons\\[0\\]`"),
        ({"action": "slow", "slow_s": True}, "`float`, got `bool` - at `\\$.slow_s`"),
    ],
)
def test_a_wrong_fault_is_refused(table: dict[str, Any], message: str):
    """Keys, actions, areas and types are checked before anything starts."""
    with pytest.raises(ValueError, match=message), running_sandbox(faults=[table]):
        pass
