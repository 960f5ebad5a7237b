"""What must have been seen in a night in fast motion."""

import re
from datetime import datetime
from pathlib import Path

import pytest

from tests.support.deployment.night import Night, play
from worker.log_events import MEANINGS

pytestmark = pytest.mark.nightly  # faketime and promtool

DAY_S = 86_400


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory, migrated_sqlite: Path) -> Night:
    """The night, played once."""
    return play(tmp_path_factory.mktemp("night"), migrated_sqlite)


def test_it_starts_on_the_minute_and_is_retried(night: Night):
    """At 03:30 and not before; 69 twice, each retry after the quiet that PTS asked for; then 0."""
    failures = [line for line in night.log if line["event"] == "schedule.retrying"]
    assert [(line["code"], line["retry"]) for line in failures] == [(69, 1), (69, 2)]
    ends = night.events("run.summary")
    assert [line["code"] for line in ends] == [69, 69, 0]
    first_s = (datetime.fromisoformat(ends[0]["started_at"]) - night.start_at).total_seconds()
    assert 0 <= first_s < 30
    for failed, again in zip(failures, night.events("run.began")[1:], strict=True):
        until = re.search(r"quiet until (\S+) ", failed["reason"])
        assert until
        assert datetime.fromisoformat(again["timestamp"]) >= datetime.fromisoformat(until[1])
    assert night.code == 0


def test_one_run_is_continued_until_it_publishes(night: Night):
    """Three attempts at the same run, and readers get one publication."""
    assert night.runs == [("published", 0), ("published", 0)]
    assert [line["continued"] for line in night.events("run.began")] == [False, True, True]


def test_the_metrics_show_it(night: Night):
    """The exit code while PTS is away and after it, and the time of the publication."""
    assert 'pts_worker_exit_code{run="sync"} 69.0' in night.metrics["away"]
    for name in ("last_published", "last_success"):
        times = [_value(text, name) for text in night.metrics.values()]
        assert times[0] == times[1] < night.start_at.timestamp() - DAY_S + 60 < times[2]
    assert 'pts_worker_exit_code{run="sync"} 0.0' in night.metrics["published"]
    assert 'pts_worker_exit_code{run="sync"} 0.0' in night.metrics["started"]


def _value(text: str, name: str) -> float:
    found = re.search(rf"^pts_worker_{name}_timestamp_seconds (\S+)$", text, re.MULTILINE)
    assert found, name
    return float(found.group(1))


def test_every_line_of_the_log_is_documented(night: Night):
    """No library speaks into it, and each event has its line in the reference."""
    assert {line["event"] for line in night.log} <= set(MEANINGS)


def test_the_alert_fires_and_clears(night: Night):
    """After six hours with 69, by the rules that are shipped; nothing is left of it afterwards."""
    assert night.alerts == {
        5.0: [],
        6.5: ["PtsUnavailable"],
        8.0: [],
    }


def test_the_dead_mans_switch_hears_each_attempt(night: Night):
    """Two failures with their code, then success."""
    failed = ["POST /check/start", "POST /check/fail exit code 69"]
    assert night.pings == [*failed, *failed, "POST /check/start", "POST /check exit code 0"]
