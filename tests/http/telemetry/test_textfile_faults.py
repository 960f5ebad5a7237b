"""What the log says of a textfile that cannot be written."""

import asyncio

import structlog

from tests.support.http.reports import NIGHT
from worker.telemetry.emit import emit
from worker.telemetry.numbers import samples_of
from worker.telemetry.options import TelemetryOptions


def failure_of(path):
    """The line in the log about a textfile that cannot be written: reason and hint."""
    with structlog.testing.capture_logs() as logs:
        asyncio.run(emit(samples_of(NIGHT), TelemetryOptions(textfile=path)))
    (log,) = logs
    assert (log["event"], log["target"]) == ("telemetry.failed", "textfile")
    assert f"telemetry.textfile: {path} " in log["reason"]
    return log["reason"], log["hint"]


def test_a_textfile_that_cannot_be_written_names_cause_and_remedy(tmp_path):
    """A missing folder, and a folder in the file's place."""
    reason, hint = failure_of(tmp_path / "nowhere" / "x.prom")
    assert reason.endswith("cannot be written (no such file or directory)")
    assert "make the folder" in hint
    reason, hint = failure_of(tmp_path)
    assert reason.endswith("cannot be written (is a directory)")
    assert "name a file in that folder" in hint
