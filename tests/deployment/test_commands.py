"""Each call of the worker in units, manifests, crontab and docs is one that the worker knows."""

import re
import shlex
import subprocess
from pathlib import Path

from tests.support.deployment.deployed import INSTALL, OPERATIONS, ROOT, calls
from tools.docs.command_line import described


def test_each_call_is_one_that_the_worker_knows():
    """The command exists, and has each option that is used."""
    known = dict(described())
    for where, arguments in calls():
        command = known.get(arguments[:2]) or known[arguments[:1]]
        options = {option for param in command.params for option in param.opts}
        assert {word for word in arguments if word.startswith("--")} <= options, where


def test_calls_are_found_everywhere():
    """The reader of calls does not pass over a kind of file."""
    found = {where for where, _ in calls()}
    assert found >= {
        "pts-sync.service",
        "pts-worker-schedule.service",
        "pts-sync",
        "pts-migrate",
        "pts-backfill",
        "pts-worker",
        "operations.md",
        "install-server.md",
        "database.md",
    }


def test_folders_are_made_before_anything_is_put_there():
    """On a clean Debian the pages' install commands find their sources and their folders."""
    there = {"/usr/local/bin", "/etc/systemd/system", "/etc/cron.d", "/etc/logrotate.d"}
    found = 0
    for line in (INSTALL.read_text() + OPERATIONS.read_text()).splitlines():
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
    command = ["make", "--dry-run", "--always-make", "wheelhouse", "WITH=parquet oracle"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    (download,) = re.findall(r"pip download (.*\\\n.*)", done.stdout)
    locks = ["requirements/core.lock", "requirements/parquet.lock", "requirements/oracle.lock"]
    assert re.findall(r"-r (\S+)", download) == locks
    assert {"--require-hashes", "--only-binary"} <= set(download.split())
    assert f"cat {' '.join(locks)};" in done.stdout
    (install,) = re.findall(r"(?m)^\S+/pip install (.*wheelhouse.*)$", INSTALL.read_text())
    assert {"--no-index", "--require-hashes"} <= set(install.split())


def test_ci_has_the_programs_that_the_tests_ask_for():
    """What `tool()` would skip elsewhere is installed in CI."""
    (programs,) = re.findall(r"for program in (.+); do", (ROOT / ".ci" / "run").read_text())
    sources = [path.read_text() for path in (ROOT / "tests").rglob("*.py")]
    asked = {name for text in sources for name in re.findall(r'\btool\("([\w-]+)"\)', text)}
    assert asked - {"systemd-analyze"} - set(programs.split()) == set()
