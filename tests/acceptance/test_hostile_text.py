"""Codes and references that would control a terminal, a spreadsheet or a report stay text."""

import csv
import io
import re
from collections.abc import Iterator

import pytest

from tests.support.made_databases import MakeDatabase
from tests.support.program import Installation, calls
from tests.support.standin import SAFETY, Standin, person, ref_of, safety
from tests.support.standin import standin as serve

CODE = "x\x1b]0;owned\x07\x9b2J\u202egpj\x01"
REFERENCE = "=cmd|'/c calc'!A1;=1+1 "
MARKUP = "<script>alert(1)</script>\x0b]]>"
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@pytest.fixture(scope="module")
def standin() -> Iterator[Standin]:
    """For all tests of this file: what they call changes nothing."""
    with serve() as made:
        yield made


@pytest.fixture(scope="module")
def worker(
    standin: Standin, make_sqlite: MakeDatabase, tmp_path_factory: pytest.TempPathFactory
) -> Installation:
    """A store with hostile codes, keys and references, published."""
    lines = []
    for number in range(4):
        off_id = person(standin, number)
        standin.people[off_id][SAFETY] = [
            safety(off_id, MARKUP, confidentialityCode=CODE, cause=MARKUP, createdBy=REFERENCE)
        ]
        lines.append(f"{off_id},{REFERENCE}{ref_of(off_id)}")
    made = standin.install(tmp_path_factory.mktemp("hostile"), make_sqlite())
    made.roster(*lines)
    ended = made.sync()
    assert ended.code == 0, ended.err
    return made


COMMANDS = ("status", "explain", "failures list", "doctor")


@pytest.mark.parametrize("how", ["--log-format console", "--json --log-format json"])
def test_no_raw_control_byte_reaches_a_terminal(worker: Installation, how: str) -> None:
    """Neither in results nor in logs, as text or as JSON: what it was is written out."""
    off_id = (worker.folder / "roster.csv").read_text().splitlines()[1][:11]
    lines = [f"{command} {how}" for command in (*COMMANDS, "sync --set log.level=DEBUG")]
    for line, ended in zip(lines, calls(worker, *((line, off_id) for line in lines)), strict=True):
        assert _CONTROLS.findall(ended.out + ended.err) == [], line
        if line.startswith("explain --log"):
            assert "\\u001b]0;owned\\u0007\\u009b2J" in ended.out


def test_an_export_runs_nothing(worker: Installation) -> None:
    """No cell begins a formula, in any locale, and `cat` shows what a code holds."""
    export = "export --format csv --out cells/"
    lines = (f"{export}plain", f"{export}excel --dialect excel-nb")
    assert [ended.code for ended in calls(worker, *lines)] == [0, 0]
    paths = [*(worker.folder / "cells").rglob("*.csv")]
    pages = [path.read_bytes().decode() for path in paths]
    rows = (row for page in pages for row in csv.reader(io.StringIO(page, newline="")))
    cells = [part for row in rows for cell in row for part in re.split(r"[;\t\r\n]", cell)]
    assert any("cmd|" in cell for cell in cells)
    assert [cell for cell in cells if cell.startswith(("=", "+", "@"))] == []
    assert any("\\u001b]0;owned\\u0007\\u009b2J\\u202egpj" in page for page in pages)
    shown = "".join(page.replace("\r\n", "\n") for page in pages)
    assert _CONTROLS.findall(shown) == []
