"""Identifiers in many spellings, through the program: into the database and exports."""

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support.acceptance.both_databases import BOTH, fresh_database
from tests.support.acceptance.named_persons import OTHER, OWN, pseudonym, texts_in
from tests.support.identifier_spellings import spellings
from tests.support.program import Ended, Installation
from tests.support.secrecy.canaries import Secrets
from tests.support.secrecy.nights import database_bytes
from tests.support.session import calls
from tests.support.standin import SAFETY, safety
from tests.support.standin import standin as serve

pytestmark = pytest.mark.promise("8")

FRIEND = "R-friend"
TEXTS = {
    (who, name): text
    for who, digits in (("own", OWN), ("other", OTHER))
    for name, text in spellings(digits)
}


def records() -> list[dict[str, Any]]:
    """One record for each text: in its key, columns, unknown fields and field names."""
    made = []
    # From 100: no number that makes somebody else with what follows.
    for number, text in enumerate(TEXTS.values(), 100):
        kept = text.replace("\0", "-")  # no database keeps a NUL in a text or key
        made.append(
            safety(
                OWN,
                f"{number}-{kept}",
                cause=kept,
                createdBy={"offId": kept, "role": f"LIS {kept}"},
                note=text,
                deep=[{"a": [text, {f"field {number}: {text}": text}]}],
            )
        )
    return made


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What a night has left behind.

    Attributes:
        ended: how each call ended.
        texts: every text in the database's tables and in exports, whatever it stood in.
        files: the bytes of the database's files and of the exports.
    """

    worker: Installation
    ended: Mapping[str, Ended]
    texts: frozenset[str]
    files: Mapping[str, bytes]


@pytest.fixture(scope="module", params=BOTH)
def kept(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Kept:
    """A night with all of these texts, exported, and the next night."""
    folder = tmp_path_factory.mktemp("kept")
    with serve() as made:
        made.people[OWN] = {SAFETY: records()}
        made.people[OTHER] = {SAFETY: [safety(OTHER, "0")]}
        worker = made.install(folder, fresh_database(request))
        worker.roster(f"{OWN},pid {OWN[:6]} {OWN[6:]},clinic {OTHER}", f"{OTHER},{FRIEND}-{OWN}")
        lines = (
            "sync --json",
            "export --format csv --include-payload --out csv --json",
            "sync --json",
        )
        ended = dict(zip(("sync", "csv", "again"), calls(worker, *lines), strict=True))
    assert [one.code for one in ended.values()] == [0, 0, 0], ended["sync"].err
    exported = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("part-*")}
    parsed = [list(csv.reader(io.StringIO(content.decode()))) for content in exported.values()]
    return Kept(
        worker=worker,
        ended=ended,
        texts=frozenset(texts_in([list(worker.store.everything().values()), parsed])),
        files={"database": database_bytes(worker.store)} | exported,
    )


def test_no_spelling_of_an_identifier_is_kept(kept: Kept) -> None:
    """Neither in a table nor in an export, though every record was published."""
    assert kept.worker.store.one(
        f"SELECT count(*) FROM report_patient_safety_current WHERE person_key = '{pseudonym(OWN)}'"
    ) == len(TEXTS)
    current = "publication_no=1/area=patient-safety/current/part-00000"
    assert f"csv/{current}.csv" in kept.files
    everything = "\n".join(kept.texts)
    assert [case for case, text in TEXTS.items() if text in everything] == []
    secrets = Secrets(identifiers=frozenset({OWN, OTHER}), keys=())
    assert {name for name, data in kept.files.items() if secrets.identifiers_in(data)} == set()


@pytest.mark.parametrize("digits", [OWN, OTHER], ids=["own", "other"])
def test_everybody_has_the_pseudonym_that_they_have_in_the_store(kept: Kept, digits: str) -> None:
    """In key, column and payload, so that rows of one person can be joined."""
    names = ("restriction_id", "cause", "created_by", "payload")
    found = kept.worker.store.rows(
        f"SELECT {', '.join(names)} FROM report_patient_safety_current "
        f"WHERE person_key = '{pseudonym(OWN)}' AND cause = '{pseudonym(digits)}'"
    )
    assert found
    for row in found:
        for name, value in zip(names, row, strict=True):
            assert pseudonym(digits) in value, name
    assert kept.worker.store.rows(
        f"SELECT count(*) FROM person WHERE person_key = '{pseudonym(digits)}'"
    ) == [(1,)]


def test_a_reference_or_cohort_that_is_an_identifier(kept: Kept) -> None:
    """It becomes the pseudonym of the person named, the log says so, and no fact names it."""
    found = {
        key: (ref, cohort)
        for key, ref, cohort in kept.worker.store.rows(
            "SELECT person_key, local_ref, cohort FROM person"
        )
    }
    assert found[pseudonym(OWN)] == (f"pid {pseudonym(OWN)}", f"clinic {pseudonym(OTHER)}")
    assert found[pseudonym(OTHER)][0] == f"{FRIEND}-{pseudonym(OWN)}"
    for name in ("local_ref", "cohort"):
        assert len(kept.ended["sync"].events(f"roster.{name}_is_an_identifier")) == 1, name
    named = kept.worker.store.rows("SELECT DISTINCT cohort FROM report_publication_cohort")
    assert set(named) == {("",), ("other",)}


def test_the_next_sync_finds_nothing_changed(kept: Kept) -> None:
    """The same answers give the same rows."""
    totals = kept.ended["again"].run["totals"]
    names = ("opened", "changed", "closed")
    assert {name: totals[f"rows_{name}"] for name in names} == dict.fromkeys(names, 0)
