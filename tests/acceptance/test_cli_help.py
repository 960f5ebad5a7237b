"""Every command explains itself, at once."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from subprocess import DEVNULL

import pytest

from tests.support.program import environment
from tools.docs.command_line import commands
from worker.cli import GONE, run

COMMANDS = sorted(commands())
HELP_CPU_S_MAX = 0.3


@pytest.mark.parametrize("columns", [80, 140])
@pytest.mark.parametrize("words", [(), *COMMANDS], ids=" ".join)
def test_every_command_has_help_with_an_example(
    words: tuple[str, ...],
    columns: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    """``--help`` of each command and group fits the terminal, and breaks no line at a hyphen."""
    monkeypatch.setenv("COLUMNS", f"{columns}")
    assert run([*words, "--help"]) == 0
    out, err = capsys.readouterr()
    assert (err, "Example: " in out) == ("", bool(words))
    width = max(map(len, out.splitlines()))
    assert width < columns
    assert words != ("sync",) or (width > 80) == (columns == 140)
    assert not re.search(r"\w-$", out, re.MULTILINE)


def test_help_and_what_was_meant(capsys: pytest.CaptureFixture[str]):
    """Without a command they are listed; a mistyped one gets the right one."""
    for words, code, text in (
        ("", 2, "Commands:"),
        ("syncc", 2, "Did you mean 'sync'?"),
        ("lease", 2, "No such command 'lease'. →"),
    ):
        assert run(words.split()) == code, words
        out, err = capsys.readouterr()
        assert text in " ".join((out + err).split())


@pytest.mark.parametrize("call", GONE)
def test_what_is_gone_says_where_it_went(call: str, capsys: pytest.CaptureFixture[str]):
    """A cron line of an earlier version ends with 2 and one sentence, which no other call gets."""
    word = shlex.split(call)[-1]
    for words, message in ((call, GONE[call]), (f"contract {word}", "No such ")):
        assert run([*shlex.split(words), "--json"]) == 2
        assert message in json.loads(capsys.readouterr().out)["error"]["message"]


@pytest.mark.parametrize("command", ["", "sync", "schedule", "report", "export", "doctor"])
def test_help_is_there_at_once(command: str, tmp_path: Path):
    """It takes less than 0.3 s of processor time; the best of five counts."""
    took_s: list[float] = []
    while len(took_s) < 5 and min(took_s, default=HELP_CPU_S_MAX) >= HELP_CPU_S_MAX:
        words = [sys.executable, "-m", "worker", *command.split(), "--help"]
        before = getrusage(RUSAGE_CHILDREN)
        subprocess.run(words, cwd=tmp_path, env=environment(), stdout=DEVNULL, check=True)
        after = getrusage(RUSAGE_CHILDREN)
        took_s.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(took_s) < HELP_CPU_S_MAX
