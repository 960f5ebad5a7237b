"""Every command explains itself, at once."""

import subprocess
import sys
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import typer

from tests.acceptance.program import environment
from worker.cli import main, run
from worker.cli.main import COMMANDS as NAMED
from worker.cli.main import program_of

HEAVY = ("pydantic", "sqlalchemy", "httptools", "httpx", "alembic", "structlog", "joserfc")


def commands(group: object, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The words of each command under a group, and of each group."""
    for name, command in getattr(group, "commands", {}).items():
        yield (*words, name)
        yield from commands(command, (*words, name))


WHOLE = typer.main.get_command(program_of(NAMED))
COMMANDS = sorted(commands(WHOLE))


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_an_example(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
):
    """``--help`` of each command and group shows how it is called, and ends with 0."""
    assert 0 == run([*words, "--help"])
    out, err = capsys.readouterr()
    assert ("", True) == (err, "Example: " in out)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_the_text_of_help_fills_its_lines(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    """On a terminal of 80 columns no line ends where the next one's first word had room."""
    monkeypatch.setenv("COLUMNS", "80")
    run([*words, "--help"])
    text, _, options = capsys.readouterr().out.partition("╭")
    lines = [line.rstrip() for line in text.splitlines()]
    ended = [a for a, b in pairwise(lines) if a and b and len(f"{a} {b.split()[0]}") < 79]
    assert [] == ended
    assert 80 == len(options.splitlines()[1])


@pytest.mark.parametrize("name", NAMED)
def test_a_command_stands_alone_as_it_stands_among_all(
    name: str, capsys: pytest.CaptureFixture[str]
):
    """A command that is named first is laid out without the others, and is the same."""
    alone = typer.main.get_command(program_of([name]))
    assert [words for words in COMMANDS if words[0] == name] == sorted(commands(alone))
    told = []
    for program in (WHOLE, alone):
        program(args=[name, "--help"], prog_name="pts-worker", standalone_mode=False)
        told.append(capsys.readouterr().out)
    assert told[0] == told[1]
    assert f"Usage: pts-worker {name} " in told[0]


@pytest.mark.parametrize(
    ("arguments", "laid_out"),
    [
        (["sync", "--help"], ["sync"]),
        (["db", "check", "--help"], ["db"]),
        (["--json", "sync", "--help"], [*NAMED]),
        (["syncc"], [*NAMED]),
        ([], [*NAMED]),
    ],
    ids=" ".join,
)
def test_only_the_command_that_is_named_first_is_laid_out(
    arguments: list[str], laid_out: list[str], monkeypatch: pytest.MonkeyPatch
):
    """Every start would pay for all of them; who names none sees all."""
    asked = []

    def noted(names: Iterable[str]) -> typer.Typer:
        asked.append([*names])
        return program_of(asked[-1])

    monkeypatch.setattr(main, "program_of", noted)
    run(arguments)
    assert [laid_out] == asked


def test_a_wrong_command_is_told_what_there_is(capsys: pytest.CaptureFixture[str]):
    """Whoever mistypes a command is told of the one that was meant."""
    assert 2 == run(["syncc"])
    assert "Did you mean 'sync'?" in " ".join(capsys.readouterr().err.split())


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
