"""Identifiers in texts of PTS and of the roster, through the program: none is stored."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support.acceptance.both_databases import BOTH, fresh_database
from tests.support.acceptance.named_persons import OTHER, OWN, pseudonym, texts_in
from tests.support.program import Ended, Installation, calls
from tests.support.secrecy.canaries import Secrets
from tests.support.secrecy.nights import database_bytes
from tests.support.standin import SAFETY, safety
from tests.support.standin import standin as serve

pytestmark = pytest.mark.promise("8")

FRIEND = "R-friend"
SEPARATORS = ("", " ", "-", ".", "/", "_", "\u00a0")
TEXTS = {
    (who, separator): f"see {digits[:6]}{separator}{digits[6:]}."
    for who, digits in (("own", OWN), ("other", OTHER))
    for separator in SEPARATORS
}


def records() -> list[dict[str, Any]]:
    """One record for each text: in its id, columns, undeclared fields and field names."""
    made = []
    # From 100: no number that makes somebody else with what follows.
    for number, text in enumerate(TEXTS.values(), 100):
        made.append(
            safety(
                OWN,
                f"{number}-{text}",
                cause=text,
                createdBy={"offId": text, "role": f"LIS {text}"},
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
        texts: every text in the database's tables, whatever it stood in.
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
            "export --format csv --out csv --json",
            "export --format csv --dialect excel-nb --out excel --json",
            "sync --json",
        )
        ended = dict(zip(("sync", "csv", "excel", "again"), calls(worker, *lines), strict=True))
    assert [one.code for one in ended.values()] == [0, 0, 0, 0], ended["sync"].err
    exported = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("part-*")}
    return Kept(
        worker=worker,
        ended=ended,
        texts=frozenset(texts_in([*worker.store.everything().values()])),
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


def test_a_reference_or_cohort_that_is_an_identifier(kept: Kept) -> None:
    """It is masked, the log says so, and no fact names it."""
    found = {
        key: (ref, cohort)
        for key, ref, cohort in kept.worker.store.rows(
            "SELECT person_key, local_ref, cohort FROM person"
        )
    }
    assert found[pseudonym(OWN)] == ("pid ***", "clinic ***")
    assert found[pseudonym(OTHER)][0] == f"{FRIEND}-***"
    for name in ("local_ref", "cohort"):
        assert len(kept.ended["sync"].events(f"roster.{name}_is_an_identifier")) == 1, name
    named = kept.worker.store.rows("SELECT DISTINCT cohort FROM report_publication_cohort")
    assert set(named) == {("",), ("clinic ***",)}


def test_the_next_sync_finds_nothing_changed(kept: Kept) -> None:
    """The same answers give the same rows."""
    totals = kept.ended["again"].run["totals"]
    names = ("opened", "changed", "closed")
    assert {name: totals[f"rows_{name}"] for name in names} == dict.fromkeys(names, 0)
