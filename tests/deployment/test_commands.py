"""Each call of the worker in units, manifests, crontab and docs is one that the worker knows."""

import re

from tests.support.deployment.deployed import ROOT, calls
from tools.docs.command_line import described


def test_each_call_is_one_that_the_worker_knows():
    """The command exists, and has each option that is used."""
    known = dict(described())
    for where, arguments in calls():
        command = known.get(arguments[:2]) or known[arguments[:1]]
        options = {option for param in command.params for option in param.opts}
        assert {word for word in arguments if word.startswith("--")} <= options, where


def test_ci_has_the_programs_that_the_tests_ask_for():
    """What `tool()` would skip elsewhere is installed in CI."""
    (programs,) = re.findall(r"for program in (.+); do", (ROOT / ".ci" / "run").read_text())
    sources = [path.read_text() for path in (ROOT / "tests").rglob("*.py")]
    asked = {name for text in sources for name in re.findall(r'\btool\("([\w-]+)"\)', text)}
    assert asked - {"systemd-analyze"} - set(programs.split()) == set()
