"""Each call of the worker in units, manifests, crontab and docs is one that the worker knows."""

import functools
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deployment.deployed import OPERATIONS, ROOT, calls

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
        "pts-worker-schedule.service",
        "pts-sync",
        "pts-migrate",
        "pts-backfill",
        "pts-worker",
        "operations.md",
    }


def test_folders_are_made_before_anything_is_put_there():
    """On a clean Debian the page's install commands find their sources and their folders."""
    there = {"/usr/local/bin", "/etc/systemd/system", "/etc/cron.d", "/etc/logrotate.d"}
    found = 0
    for line in OPERATIONS.read_text().splitlines():
        match = re.search(r"^(?:\|.*`)?install (-[^`]+)", line)
        words = shlex.split(match[1]) if match else []
        if "-d" in words:
            there |= {word for word in words if word.startswith("/")}
        elif words:
            *sources, target = [word for word in words if "/" in word]
            found += 1
            assert all(list(ROOT.glob(source)) for source in sources), line
            assert str(Path(target.rstrip("/"))) in there or str(Path(target).parent) in there, line
    assert found >= 7


def test_wheelhouse_holds_locked_wheels_alone():
    """Each wheel is checked against its hash where it is downloaded and where it is installed."""
    command = ["make", "--dry-run", "--always-make", "wheelhouse", "WITH=otlp oracle"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    (download,) = re.findall(r"pip download (.*\\\n.*)", done.stdout)
    locks = ["requirements.lock", "requirements-otlp.lock", "requirements-oracle.lock"]
    assert re.findall(r"-r (\S+)", download) == locks
    assert {"--require-hashes", "--only-binary"} <= set(download.split())
    assert f"cat {' '.join(locks)};" in done.stdout
    (install,) = re.findall(r"(?m)^\S+/pip install (.*wheelhouse.*)$", OPERATIONS.read_text())
    assert {"--no-index", "--require-hashes"} <= set(install.split())


def test_ci_has_the_programs_that_the_tests_ask_for():
    """What `tool()` would skip elsewhere is installed in CI."""
    (programs,) = re.findall(r"for program in (.+); do", (ROOT / ".ci" / "run").read_text())
    folders = (Path(__file__).parent, Path(__file__).parents[1] / "drills")
    sources = [path.read_text() for folder in folders for path in folder.glob("*.py")]
    asked = {name for text in sources for name in re.findall(r'tool\("([\w-]+)"\)', text)}
    assert asked - {"systemd-analyze"} == set(programs.split()) - {"chromium"}
