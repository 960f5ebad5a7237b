"""A limit of the process that is too small for its connections is a fault of this machine."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.program import environment
from tests.support.standin import Standin, person

LIMITS = (17, 18, 19)
"""Enough for the database, and for at most one connection to HelseID and one to PTS."""


@pytest.mark.parametrize(
    "limits", [LIMITS[1:2], pytest.param(LIMITS, marks=pytest.mark.nightly)], ids=["one", "all"]
)
def test_too_few_open_files_are_no_outage_of_pts(
    standin: Standin, sqlite_url: str, tmp_path: Path, limits: tuple[int, ...]
):
    """78 and the limit, and not 69, which would be tried again all night."""
    for number in range(20):
        person(standin, number)
    worker = standin.install(tmp_path, sqlite_url, concurrency=16, retry_attempts=2)
    program = (sys.executable, "-m", "worker", "--config", str(worker.config), "sync")
    ended = [
        subprocess.run(
            ["/bin/sh", "-c", f'ulimit -n {limit}; exec "$@"', "sh", *program],
            env=environment(),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        for limit in limits
    ]
    assert not [one for one in ended if "PTS is unavailable" in one.stdout]
    named = [one for one in ended if "too many open files: no connection" in one.stdout]
    assert {one.returncode for one in named} == {78}, [one.stdout for one in ended]
    assert all("`ulimit -n`" in one.stdout for one in named)
