"""When the client key expires: `doctor`, the log and the metric tell it, or that it is unknown."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import ECKey

from tests.support.made_databases import MakeDatabase
from tests.support.program import Ended, Installation, install
from tests.support.sandbox_caller import public
from worker.sandbox.clients import PTS_SCOPE, SELF_SERVICE_SCOPE, Client
from worker.sandbox.people import roster
from worker.sandbox.serve import RunningSandbox, running_sandbox

MODEST = "c0ffee00-0000-4000-8000-0000000000aa"
"""A client that may not ask self-service."""
NEW = "c0ffee00-0000-4000-8000-0000000000bb"
"""A client whose access to PTS is not approved yet."""
DAYS = 20
METRIC = "pts_worker_client_key_expires_timestamp_seconds"


@pytest.fixture(scope="module")
def key_pair() -> ECKey:
    return ECKey.generate_key("P-256", private=True)


@pytest.fixture(scope="module")
def helseid(key_pair: ECKey) -> Iterator[RunningSandbox]:
    """HelseID, where keys are accepted for 20 days."""
    jwks = (public(key_pair),)
    clients = [
        Client(client_id=MODEST, jwks=jwks, scopes=(PTS_SCOPE,)),
        Client(client_id=NEW, jwks=jwks, scopes=(SELF_SERVICE_SCOPE,), pending_scopes=(PTS_SCOPE,)),
    ]
    life_s = timedelta(days=DAYS, hours=1).total_seconds()
    with running_sandbox(
        persons=2, client_jwks=jwks, clients=clients, key_life_s=life_s
    ) as sandbox:
        yield sandbox


@pytest.fixture
def worker(
    tmp_path: Path, helseid: RunningSandbox, key_pair: ECKey, make_sqlite: MakeDatabase
) -> Installation:
    helseid.control(faults=[], clear=True)
    made = install(
        tmp_path,
        database_url=make_sqlite(),
        issuer=helseid.issuer,
        base_url=helseid.base_url,
        client_id=helseid.client_id,
        client_key=key_pair.as_dict(private=True),
    )
    made.configure(
        helseid={"self_service_url": helseid.options.helseid_url},
        telemetry={"textfile": str(tmp_path / "pts.prom")},
    )
    made.roster(*(off_id for off_id, *_ in roster(1, 2)), header="off_id")
    return made


def line(ended: Ended, name: str = "self-service") -> dict[str, Any]:
    found: dict[str, Any] = next(line for line in ended.document["lines"] if line["name"] == name)
    return found


def metric(worker: Installation) -> float | None:
    """The metric in the textfile, if it is there."""
    text = (worker.folder / "pts.prom").read_text("utf-8")
    found = re.search(rf"^{METRIC} (\S+)$", text, re.MULTILINE)
    return None if found is None else float(found.group(1))


def calls_of(helseid: RunningSandbox) -> set[str]:
    """Which parts of self-service were asked."""
    return {name.split()[0] for name in helseid.stats()["counts"]} & {"client", "client-secret"}


def test_doctor_warns_thirty_days_ahead(worker: Installation, helseid: RunningSandbox):
    """The date, the days left and what to do; the exit code stays 0."""
    ended = worker.run("doctor")
    found = line(ended)
    expires_at = datetime.fromisoformat(found["facts"]["expires_at"])
    assert timedelta(days=DAYS) < expires_at - datetime.now(UTC) < timedelta(days=DAYS, hours=1)
    assert (ended.code, found["state"]) == (0, "WARN")
    assert f"the key expires {expires_at:%Y-%m-%d}, in {DAYS} days" in found["text"]
    assert "keys rotate" in found["hint"]
    assert found["facts"]["scopes"] == {PTS_SCOPE: "ok", SELF_SERVICE_SCOPE: "ok"}


def test_doctor_says_that_a_scope_awaits_approval(worker: Installation):
    """Where the token is refused for it, self-service knows why."""
    worker.configure(helseid={"client_id": NEW})
    ended = worker.run("doctor")
    assert (ended.code, line(ended, "token")["state"]) == (77, "FAIL")
    assert f"scope {PTS_SCOPE}: pending Awaits approval." in line(ended)["text"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"client_id": MODEST}, "SKIP: invalid_scope"),
        ({"self_service_url": None}, "SKIP: self_service_url is not set"),
        ({"self_service_url": "http://127.0.0.1:9"}, "WARN: 127.0.0.1:9"),
    ],
)
def test_who_cannot_ask_does_not_know(worker: Installation, changes: dict[str, Any], expected: str):
    """No scope, no address, nobody there: no date is guessed, and nothing fails."""
    worker.configure(helseid=changes)
    check_unknown(worker.run("doctor"), expected)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ({"action": "status", "status": 200, "body": "[]"}, "WARN: does not list"),
        ({"action": "html"}, "WARN: no valid response"),
        ({"action": "status", "status": 404}, "WARN: no self-service API"),
    ],
)
def test_who_gets_no_answer_does_not_know(
    worker: Installation, helseid: RunningSandbox, fault: dict[str, Any], expected: str
):
    """Another key, no JSON, something else at that address."""
    helseid.control(faults=[{"area": "client-secret", **fault}])
    check_unknown(worker.run("doctor"), expected)


def check_unknown(ended: Ended, expected: str) -> None:
    state, _, text = expected.partition(": ")
    found = line(ended)
    assert (0, state) == (ended.code, found["state"]), found
    assert "expiry is unknown" in found["text"]
    assert text in found["text"]
    assert found["facts"].get("expires_at") is None


def test_a_run_reports_it_as_a_metric_if_it_may(worker: Installation, helseid: RunningSandbox):
    """Nobody is asked unless that is configured; then once, after the run, with a warning."""
    assert worker.sync().code == 0
    assert (set(), None) == (calls_of(helseid), metric(worker))
    worker.configure(telemetry={"key_expiry": True})
    ended = worker.sync()
    assert ended.code == 0
    expected = datetime.now(UTC) + timedelta(days=DAYS, minutes=30)
    assert abs((metric(worker) or 0) - expected.timestamp()) < 1800
    assert calls_of(helseid) == {"client-secret"}
    (event,) = ended.events("helseid.key_expires")
    assert "keys rotate" in event["hint"]

    helseid.control(clear=True)
    off_id = next(iter(roster(1, 1)))[0]
    assert worker.run("backfill", "--person", "-", stdin=f"{off_id}\n".encode()).code == 0
    assert set() == calls_of(helseid)


def test_a_run_does_not_mind_what_it_cannot_know(worker: Installation, helseid: RunningSandbox):
    """Self-service that fails changes no exit code, and no metric claims a date."""
    worker.configure(telemetry={"key_expiry": True})
    helseid.control(faults=[{"area": "client-secret", "action": "status", "status": 503}])
    ended = worker.sync()
    assert (ended.code, metric(worker)) == (0, None)
    (event,) = ended.events("helseid.key_expiry_unknown")
    assert "503" in event["reason"]
