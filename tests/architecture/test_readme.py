"""What the README says of the program is compared with the program."""

import re
import shlex
import sqlite3
import subprocess
import tomllib
from contextlib import closing
from pathlib import Path

import click
import pytest

from tests.architecture.command_line import described
from tests.architecture.documents import (
    README,
    ROOT,
    blocks,
    configuration_table,
    names,
    rows,
    section,
)
from worker.config import markdown_table
from worker.config.keys import KEYS
from worker.errors import ExitCode
from worker.store.dialects import SQLITE
from worker.store.schema.views import view_definitions

TEXT = README.read_text(encoding="utf-8")

EXIT_CODES = """
| 0 | published, every person and area read | \N{EN DASH} |
| 2 | wrong usage | fix the call |
| 3 | published with gaps: some persons or areas could not be read; their last known state stands \
and is marked stale | look at `failures` |
| 4 | another run holds the lease; nothing was done | nothing |
| 5 | withheld: too many removals at once, or too little could be read; the last published state \
stands | a person decides |
| 65 | the data contract is broken: the roster cannot be read, or PTS answers in a shape that is \
not understood | stop, look |
| 69 | HelseID, PTS or the database is unavailable after all retries | retry later |
| 70 | a bug | report it |
| 75 | stopped on request or by its deadline; what was read is kept, the next run continues \
| run again |
| 77 | refused: HelseID or PTS denies this client | stop, look |
| 78 | configuration | stop, fix |
"""
"""The public surface. A change here is a breaking change for every cron line and manifest."""


COMMANDS = {
    " ".join(words): {option for parameter in command.params for option in parameter.opts}
    for words, command in described()
    if not isinstance(command, click.Group)
}


def command_rows() -> list[tuple[list[str], str]]:
    return [(names(first), told) for first, told in rows(section(TEXT, "Commands"))]


def test_the_table_of_commands_is_the_programs():
    """Every command stands in the table once, and none that does not exist."""
    assert sorted(COMMANDS) == sorted(name for listed, _ in command_rows() for name in listed)


def test_the_options_in_the_table_exist():
    """An option that a row speaks of is one of its command's."""
    unknown = [
        (listed, option)
        for listed, told in command_rows()
        for option in re.findall(r"`(--[a-z-]+)", told)
        if not any(option in COMMANDS[name] for name in listed)
    ]
    assert [] == unknown


def calls() -> list[list[str]]:
    """The calls of the worker in the README's shell blocks."""
    lines = "\n".join(blocks(TEXT, "sh")).splitlines()
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("pts-worker")]


@pytest.mark.parametrize("arguments", calls(), ids=" ".join)
def test_the_calls_in_the_readme_can_be_made(arguments):
    """The command exists, and it has each option that is given."""
    path = " ".join(arguments[:2]) if " ".join(arguments[:2]) in COMMANDS else arguments[0]
    assert path in COMMANDS
    assert {word for word in arguments if word.startswith("--")} <= COMMANDS[path]


def test_the_exit_codes_are_the_programs():
    """The table holds each code of the program, with the meaning that everyone relies on."""
    table = section(TEXT, "Exit codes")
    lines = [line for line in table.splitlines() if line.startswith("|")]
    assert EXIT_CODES.strip().splitlines() == lines[2:]
    assert sorted(ExitCode) == [int(code) for code, _, _ in rows(table)]


def test_the_table_of_keys_is_the_generated_one():
    """``python -m tests.architecture.documents`` brings it up to date."""
    assert markdown_table() == configuration_table(TEXT)


def test_the_example_configuration_names_keys():
    """Each key of the README's TOML is one of the program's."""
    (example,) = blocks(TEXT, "toml")
    given = {f"{name}.{key}" for name, values in tomllib.loads(example).items() for key in values}
    assert given <= set(KEYS)


def test_the_reporting_views_are_the_databases(migrated_sqlite: Path):
    """Each view stands in the table with its columns, in their order."""
    told = {
        names(view)[0]: names(cells) for view, _, cells in rows(section(TEXT, "Reporting views"))
    }
    with closing(sqlite3.connect(migrated_sqlite)) as connection:
        real = {
            view: [row[1] for row in connection.execute(f"PRAGMA table_info({view})")]
            for view in view_definitions(SQLITE)
        }
    assert real == told


def test_the_make_targets_exist():
    """What the README tells to make is what `make` can make, and CI makes what the README tells."""
    told = set(re.findall(r"(?m)^make ([\w-]+)", "\n".join(blocks(TEXT, "sh"))))
    listed = subprocess.run(
        ["make", "--no-print-directory", "help"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout
    assert told <= {line.split()[1] for line in listed.splitlines()}
    assert {"demo", "check", "test", "install", "tools", "wheel", "lock"} <= told
    called = re.findall(r"(?m)^make ([\w-]+)", (ROOT / ".ci" / "run").read_text())
    assert called == ["test", "versions"]
    assert set(called) <= told
