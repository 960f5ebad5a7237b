"""A pseudonym key that may be guessed: every command that uses it refuses it."""

from pathlib import Path

import pytest

from tests.support.databases import migrate_now
from tests.support.program import Installation, calls
from tests.support.standin import Standin, off_id_of, person

WEAK = b"a password that somebody knows by heart"
COMMANDS = (
    "sync", "backfill --person -", "explain", "erase",
    "failures show -", "doctor",
)  # fmt: skip


@pytest.fixture
def worker(standin: Standin, tmp_path: Path) -> Installation:
    """A worker without a database whose key is text."""
    person(standin, 3, safeties=1)
    made = standin.install(tmp_path, f"sqlite:///{tmp_path / 'pts.db'}")
    (tmp_path / "pseudonym.key").write_bytes(WEAK)
    return made


@pytest.mark.promise("8")
def test_it_is_refused(worker: Installation):
    """The same sentence everywhere."""
    migrate_now(worker.database_url)
    off_id = off_id_of(3)
    lines = [(f"{command} --json", off_id) for command in COMMANDS]
    ends = dict(zip(COMMANDS, calls(worker, *lines), strict=True))
    assert {name: one.code for name, one in ends.items()} == dict.fromkeys(COMMANDS, 78)
    refusal = "the key is text, not random bytes"
    said = {name: one.out + one.err for name, one in ends.items()}
    assert [name for name, text in said.items() if refusal not in text] == []
