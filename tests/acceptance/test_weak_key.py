"""A pseudonym key that may be guessed: every command that uses it refuses to begin with it."""

from pathlib import Path

import pytest

from tests.support.databases import migrate_now
from tests.support.program import Ended, Installation, calls
from tests.support.standin import Standin, off_id_of, person
from worker.core.identity import PseudonymKey, pseudonyms

WEAK = b"a password that somebody knows by heart"
COMMANDS = (
    "db upgrade", "sync", "backfill --person -", "explain", "erase",
    "failures show -", "doctor",
)  # fmt: skip


@pytest.fixture
def worker(standin: Standin, tmp_path: Path) -> Installation:
    """A worker without a database whose key is text."""
    person(standin, 3, safeties=1)
    made = standin.install(tmp_path, f"sqlite:///{tmp_path / 'pts.db'}")
    (tmp_path / "pseudonym.key").write_bytes(WEAK)
    return made


def every_command(worker: Installation) -> dict[str, Ended]:
    off_id = off_id_of(3)
    lines = [(f"{command} --json", off_id) for command in COMMANDS]
    return dict(zip(COMMANDS, calls(worker, *lines), strict=True))


@pytest.mark.promise("8")
def test_no_database_begins_with_it(worker: Installation):
    """The same sentence everywhere, also before there are tables; and no file is made."""
    (first,) = calls(worker, "db upgrade --json")
    assert (first.code, worker.store.path.exists()) == (78, False), first.story()
    migrate_now(worker.database_url)
    ends = every_command(worker)
    assert {name: one.code for name, one in ends.items()} == dict.fromkeys(COMMANDS, 78)
    refusal = "the key is text, not random bytes; no new database begins with it"
    said = {name: one.out + one.err for name, one in {**ends, "first": first}.items()}
    assert [name for name, text in said.items() if refusal not in text] == []


def test_a_database_that_was_begun_with_it_goes_on(worker: Installation):
    """Each command warns; ``doctor`` has it in its line and says what a new key would mean."""
    migrate_now(worker.database_url)
    check = pseudonyms(PseudonymKey(WEAK), None).key_check
    worker.store.rows(f"UPDATE store_identity SET identity = 'pseudonym', key_check = '{check}'")
    ends = every_command(worker)
    assert [name for name, one in ends.items() if one.code == 78] == []
    doctor = ends.pop("doctor")
    assert [name for name, one in ends.items() if "privacy.weak_key" not in one.err] == []
    (line,) = (one for one in doctor.document["lines"] if one["name"] == "database")
    assert line["state"] == "WARN"
    assert "the key is text, not random bytes" in line["text"]
    assert "a new database and a full sync" in line["hint"]
