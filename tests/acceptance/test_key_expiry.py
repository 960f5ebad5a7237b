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
from worker.sandbox.people import roster
from worker.sandbox.serve import RunningSandbox, running_sandbox

DAYS = 20
METRIC = "pts_worker_client_key_expires_timestamp_seconds"


@pytest.fixture(scope="module")
def key_pair() -> ECKey:
    return ECKey.generate_key("P-256", private=True)


@pytest.fixture(scope="module")
def helseid(key_pair: ECKey) -> Iterator[RunningSandbox]:
    """HelseID, where keys are accepted for 20 days."""
    life_s = timedelta(days=DAYS, hours=1).total_seconds()
    with running_sandbox(persons=2, client_jwks=(public(key_pair),), key_life_s=life_s) as sandbox:
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
        telemetry={"textfile": str(tmp_path / "pts.prom"), "key_expiry": True},
    )
    made.roster(*(off_id for off_id, *_ in roster(1, 2)), header="off_id")
    return made


def line(ended: Ended) -> dict[str, Any]:
    lines = ended.document["lines"]
    found: dict[str, Any] = next(line for line in lines if line["name"] == "self-service")
    return found


def metric(worker: Installation) -> float | None:
    """The metric in the textfile, if it is there."""
    text = (worker.folder / "pts.prom").read_text("utf-8")
    found = re.search(rf"^{METRIC} (\S+)$", text, re.MULTILINE)
    return None if found is None else float(found.group(1))


def test_it_is_reported_thirty_days_ahead(worker: Installation):
    """Date, days left and what to do, in ``doctor``, the log and a metric; exit codes stay 0."""
    checked, ended = worker.run("doctor"), worker.sync()
    found = line(checked)
    expires_at = datetime.fromisoformat(found["facts"]["expires_at"])
    assert timedelta(days=DAYS) < expires_at - datetime.now(UTC) < timedelta(days=DAYS, hours=1)
    assert (checked.code, found["state"], ended.code) == (0, "WARN", 0)
    assert f"the key expires {expires_at:%Y-%m-%d}, in {DAYS} days" in found["text"]
    assert abs((metric(worker) or 0) - expires_at.timestamp()) < 1
    (event,) = ended.events("helseid.key_expires")
    assert "keys rotate" in found["hint"]
    assert "keys rotate" in event["hint"]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"action": "status", "status": 200, "body": "[]"}, "does not list"),
        ({"action": "status", "status": 503}, "503"),
    ],
    ids=["another key", "no answer"],
)
def test_who_gets_no_answer_does_not_know(
    worker: Installation, helseid: RunningSandbox, fault: dict[str, Any], reason: str
):
    """It changes no exit code, and nothing claims a date."""
    helseid.control(faults=[{"area": "client-secret", **fault}])
    checked, ended = worker.run("doctor"), worker.sync()
    found = line(checked)
    assert (checked.code, found["state"], ended.code) == (0, "WARN", 0), found
    assert "expiry is unknown" in found["text"]
    assert found["facts"].get("expires_at") is None
    assert metric(worker) is None
    (event,) = ended.events("helseid.key_expiry_unknown")
    assert reason in event["reason"]
