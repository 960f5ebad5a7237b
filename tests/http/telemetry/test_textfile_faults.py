"""What the log says of a textfile that cannot be written."""

import asyncio
import os
import subprocess

import pytest
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


@pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED: only root mounts")
@pytest.mark.parametrize(
    ("option", "why", "remedy"),
    [
        ("ro", "read-only file system", "ReadWritePaths="),
        ("size=4k", "no space left on device", "make room on that disk"),
    ],
)
def test_a_disk_that_takes_no_textfile(tmp_path, option, why, remedy):
    """A file system that is read-only or full is called that."""
    mount = ["mount", "-t", "tmpfs", "-o", option, "tmpfs", str(tmp_path)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("NOT TESTED: this container may not mount")
    try:
        if option.startswith("size"):
            (tmp_path / "backup").write_bytes(bytes(4096))
        reason, hint = failure_of(tmp_path / "pts_worker.prom")
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
    assert why in reason
    assert remedy in hint
