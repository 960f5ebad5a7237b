"""A pseudonym key that may be guessed: every command that uses it refuses to begin with it."""

from dataclasses import dataclass

import pytest

from tests.support.program import Ended, Installation
from tests.support.session import calls
from tests.support.standin import person
from tests.support.standin import standin as serve
from worker.core.identity import PseudonymKey, pseudonyms

WEAK = b"a password that somebody knows by heart"
COMMANDS = (
    "db upgrade", "sync", "backfill --person -", "plan", "explain", "erase", "verify --sample 1",
    "failures show -", "doctor",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Tried:
    """What came of it, by command.

    Attributes:
        first: ``db upgrade`` without a file.
        is_made: whether that made one.
        empty: with tables and nobody in them.
        begun: in a database that was begun with that key.
    """

    first: Ended
    is_made: bool
    empty: dict[str, Ended]
    begun: dict[str, Ended]


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> Tried:
    folder = tmp_path_factory.mktemp("weak")
    with serve() as made:
        off_id = person(made, 3, safeties=1)
        worker: Installation = made.install(folder, f"sqlite:///{folder / 'pts.db'}")
        key = folder / "pseudonym.key"
        strong = key.read_bytes()

        def all_calls() -> dict[str, Ended]:
            lines = [(f"{command} --json", off_id) for command in COMMANDS]
            return dict(zip(COMMANDS, calls(worker, *lines), strict=True))

        worker.store.path.unlink(missing_ok=True)
        key.write_bytes(WEAK)
        (first,) = calls(worker, "db upgrade --json")
        is_made = worker.store.path.exists()
        key.write_bytes(strong)
        calls(worker, "db upgrade")
        key.write_bytes(WEAK)
        empty = all_calls()
        check = pseudonyms(PseudonymKey(WEAK), None).key_check
        worker.store.rows(
            f"UPDATE store_identity SET identity = 'pseudonym', key_check = '{check}'"
        )
        return Tried(first=first, is_made=is_made, empty=empty, begun=all_calls())


@pytest.mark.promise("8")
def test_no_database_begins_with_it(tried: Tried):
    """The same sentence everywhere, also before there are tables; and no file is made."""
    assert (tried.first.code, tried.is_made) == (78, False), tried.first.story()
    assert {name: one.code for name, one in tried.empty.items()} == dict.fromkeys(COMMANDS, 78)
    said = {name: one.out + one.err for name, one in {**tried.empty, "first": tried.first}.items()}
    refusal = "the key is text, not random bytes; no new database begins with it"
    assert [name for name, text in said.items() if refusal not in text] == []


def test_a_database_that_was_begun_with_it_goes_on(tried: Tried):
    """Each command warns; ``doctor`` has it in its line and says what a new key would mean."""
    assert [name for name, one in tried.begun.items() if one.code == 78] == []
    doctor = tried.begun.pop("doctor")
    assert [name for name, one in tried.begun.items() if "privacy.weak_key" not in one.err] == []
    (line,) = (one for one in doctor.document["lines"] if one["name"] == "database")
    assert line["state"] == "WARN"
    assert "the key is text, not random bytes" in line["text"]
    assert "a new database and a full sync" in line["hint"]
