"""Every command explains itself, at once."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from tests.acceptance.program import environment
from worker.cli import run
from worker.cli.main import app

HEAVY = ("pydantic", "sqlalchemy", "httptools", "httpx", "alembic", "structlog", "joserfc")


def commands(group: object, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The words of each command under a group, and of each group."""
    for name, command in getattr(group, "commands", {}).items():
        yield (*words, name)
        yield from commands(command, (*words, name))


COMMANDS = sorted(commands(typer.main.get_command(app)))


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_an_example(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
):
    """``--help`` of each command and group shows how it is called, and ends with 0."""
    assert 0 == run([*words, "--help"])
    out, err = capsys.readouterr()
    assert ("", True) == (err, "Example: " in out)


def test_the_commands_of_the_contract_are_there():
    """What cron lines, units and manifests call exists."""
    assert {" ".join(words) for words in COMMANDS} >= {
        "sync", "backfill", "schedule", "plan", "status", "explain", "report", "export", "doctor",
        "sandbox", "failures list", "failures show", "failures retry", "failures purge",
        "db upgrade", "db check", "keys new", "keys public", "keys check", "keys pseudonym",
        "config show", "config schema",
    }  # fmt: skip


def test_help_loads_nothing_heavy(tmp_path: Path):
    """Help is there before a reader notices: what a command needs is loaded when it runs."""
    code = f"""
import sys
from worker.cli import run
assert run(["--help"]) == 0
print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert "[]\n" == done.stderr
