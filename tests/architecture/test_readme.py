"""What the README says of the program is compared with the program."""

import re
import shlex
import subprocess
import tomllib

import click
import pytest

from tests.architecture.command_line import described
from tests.architecture.documents import (
    README,
    ROOT,
    blocks,
    names,
    rows,
    section,
)
from worker.areas.reporting import COLUMNS
from worker.config.keys import KEYS

TEXT = README.read_text(encoding="utf-8")

COMMANDS = {
    " ".join(words): {option for parameter in command.params for option in parameter.opts}
    for words, command in described()
    if not isinstance(command, click.Group)
}


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


def test_the_example_configuration_names_keys():
    """Each key of the README's TOML is one of the program's."""
    (example,) = blocks(TEXT, "toml")
    given = {f"{name}.{key}" for name, values in tomllib.loads(example).items() for key in values}
    assert given <= set(KEYS)


def test_the_readme_is_short():
    """Whatever is longer has a page of its own."""
    assert len(TEXT.splitlines()) <= 120


def test_five_views_and_one_query():
    """The views of the table exist, and the query asks one of them."""
    shown = [names(row[0])[0] for row in rows(section(TEXT, "Query it"))]
    assert len(shown) == 5
    assert set(shown) <= set(COLUMNS)
    (query,) = blocks(TEXT, "sql")
    assert re.findall(r"report_\w+", query)[0] in shown


def test_the_make_targets_exist():
    """What the README says to make is what `make` can make, and CI makes what the README says."""
    named = set(re.findall(r"(?m)(?:^|`)make ([\w-]+)", TEXT))
    listed = subprocess.run(
        ["make", "--no-print-directory", "help"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout
    assert named <= {line.split()[1] for line in listed.splitlines()}
    assert {"demo", "check", "test", "install", "test-image", "lock"} <= named
    called = re.findall(r"(?m)^make ([\w-]+)", (ROOT / ".ci" / "run").read_text())
    assert {"test", "versions", "docs"} <= set(called)
    assert set(called) <= named
