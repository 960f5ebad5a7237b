"""Each call of the worker in units, manifests, crontab and docs is one that the worker knows."""

import functools
import os
import subprocess
import sys

import pytest

from tests.deployment.deployed import ROOT, calls

CALLS = sorted(set(calls()))


def words(arguments: tuple[str, ...]) -> tuple[str, ...]:
    """The command's words, before its options: ``db upgrade``."""
    options = [place for place, word in enumerate(arguments) if word.startswith("-")]
    return arguments[: options[0]] if options else arguments


@functools.cache
def help_of(command: tuple[str, ...]) -> str:
    """What ``--help`` of a command prints."""
    done = subprocess.run(
        [sys.executable, "-m", "worker", *command, "--help"],
        cwd=ROOT,
        env=os.environ | {"COLUMNS": "250", "NO_COLOR": "1", "TERM": "dumb"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize(
    ("where", "arguments"), CALLS, ids=[f"{where}: {' '.join(call)}" for where, call in CALLS]
)
def test_call_is_one_that_the_worker_knows(where: str, arguments: tuple[str, ...]):
    """The command exists, and its help names each option that is used."""
    text = help_of(words(arguments)).split()
    missing = [word for word in arguments if word.startswith("--") and word not in text]
    assert missing == [], where


def test_calls_are_found_everywhere():
    """The reader of calls does not pass over a kind of file."""
    found = {where for where, _ in CALLS}
    assert found >= {
        "pts-sync.service",
        "pts-sync-shard@.service",
        "job-sync-shards.yaml",
        "pts-worker-schedule.service",
        "cronjob-sync.yaml",
        "job-migrate.yaml",
        "job-backfill.yaml",
        "pts-worker",
        "operations.md",
    }
