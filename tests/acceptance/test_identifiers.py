"""Identifiers in many spellings, through the program: into the database and exports."""

import contextlib
import csv
import functools
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.conftest import MakeDatabase
from tests.support.identifier_spellings import spellings, unfound, unfound_of_others
from tests.support.program import PSEUDONYM_KEY, Ended, Installation
from tests.support.pseudonyms import pseudonym_of
from tests.support.secrecy.canaries import Secrets
from tests.support.secrecy.nights import database_bytes
from tests.support.session import calls
from tests.support.standin import SAFETY, safety
from tests.support.standin import standin as serve

pytestmark = pytest.mark.promise("8")

OWN, OTHER = "02867599994", "01858299949"
"""Both begin with a zero, and have structure and control digits."""
FRIEND = "R-friend"

FOUND = {who: dict(spellings(digits)) for who, digits in (("own", OWN), ("other", OTHER))}
UNFOUND = {"own": dict(unfound(OWN)), "other": dict(unfound_of_others(OTHER))}
Case = tuple[str, str]
CASES: list[Case] = [(who, name) for who, texts in FOUND.items() for name in texts]
NAMED: list[Case] = [(who, name) for who, texts in UNFOUND.items() for name in texts]


def text_of(case: Case) -> str:
    who, name = case
    return FOUND[who].get(name) or UNFOUND[who][name]


def pseudonym(digits: str) -> str:
    """What stands for a person in the store."""
    return pseudonym_of(PSEUDONYM_KEY, digits)


def records() -> list[dict[str, Any]]:
    """One record for each case: the text in key, columns, unknown fields and field names."""
    made = []
    for number, case in enumerate(
        (*CASES, *NAMED), 100
    ):  # no number that makes somebody else with what follows
        text = text_of(case)
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


def texts_in(value: Any) -> Iterator[str]:
    """Every text in a value, also in JSON within texts."""
    if isinstance(value, str):
        yield value
        with contextlib.suppress(ValueError):
            yield from texts_in(json.loads(value) if value[:1] in {"{", "["} else [])
    elif isinstance(value, Mapping):
        yield from texts_in([*value.keys(), *value.values()])
    elif isinstance(value, Iterable) and not isinstance(value, bytes):
        for part in value:
            yield from texts_in(part)


def keep(url: str, folder: Path) -> Kept:
    with serve() as made:
        made.people[OWN] = {SAFETY: records()}
        made.people[OTHER] = {SAFETY: [safety(OTHER, "0")]}
        worker = made.install(folder, url)
        worker.roster(f"{OWN},pid {OWN[:6]} {OWN[6:]},clinic {OTHER}", f"{OTHER},{FRIEND}-{OWN}")
        lines = (
            "sync --json",
            "export --format csv --out csv --json",
            "export --format ndjson --include-payload --out ndjson --json",
            "sync --json",
        )
        ended = dict(zip(("sync", "csv", "ndjson", "again"), calls(worker, *lines), strict=True))
    store = worker.store
    rows = list(store.everything().values())
    exported = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("part-*")}
    parsed = [
        list(csv.reader(io.StringIO(content.decode())))
        if name.endswith("csv")
        else [json.loads(line) for line in content.splitlines()]
        for name, content in exported.items()
    ]
    return Kept(
        worker=worker,
        ended=ended,
        texts=frozenset(texts_in([rows, parsed])),
        files={"database": database_bytes(store)} | exported,
    )


@pytest.fixture(scope="module")
def kept(make_database: MakeDatabase, tmp_path_factory: pytest.TempPathFactory) -> Kept:
    return keep(make_database(), tmp_path_factory.mktemp("kept"))


def test_enough_is_tried(kept: Kept) -> None:
    """At least sixty spellings of each identifier, all in a run that was published without gaps."""
    assert min(len(texts) for texts in FOUND.values()) >= 60
    assert [one.code for one in kept.ended.values()] == [0, 0, 0, 0], kept.ended["sync"].err
    assert len(records()) == kept.worker.store.one(
        f"SELECT count(*) FROM report_patient_safety_current WHERE person_key = '{pseudonym(OWN)}'"
    )
    current = "publication_no=1/area=patient-safety/current/part-00000"
    assert {f"csv/{current}.csv", f"ndjson/{current}.ndjson"} <= set(kept.files)


def test_what_is_left_is_what_is_named(kept: Kept) -> None:
    """Of all spellings none is anywhere; of those that nobody looks for, each is."""
    everything = "\n".join(kept.texts)
    assert [case for case in NAMED if text_of(case) not in everything] == []
    rest = functools.reduce(lambda some, case: some.replace(text_of(case), ""), NAMED, everything)
    assert [case for case in CASES if text_of(case) in rest] == []


def test_no_identifier_in_any_byte(kept: Kept) -> None:
    """Neither the person's nor the other's digits stand in the files, but where it is named."""
    secrets = Secrets(identifiers=frozenset({OWN, OTHER}), keys=())
    unfound_here = {text_of(case).encode() for case in NAMED}
    for name, data in kept.files.items():
        rest = functools.reduce(lambda some, text: some.replace(text, b""), unfound_here, data)
        assert set() == secrets.identifiers_in(rest), name


@pytest.mark.parametrize("who", ["own", "other"])
def test_everybody_has_the_pseudonym_that_they_have_in_the_store(kept: Kept, who: str) -> None:
    """In key, column and payload, so that rows of one person can be joined."""
    digits = {"own": OWN, "other": OTHER}[who]
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


def test_a_local_reference_that_is_an_identifier(kept: Kept) -> None:
    """It becomes the pseudonym of the person named, and the log says how many there were."""
    found = dict(kept.worker.store.rows("SELECT person_key, local_ref FROM person"))
    assert found[pseudonym(OWN)] == f"pid {pseudonym(OWN)}"
    assert found[pseudonym(OTHER)] == f"{FRIEND}-{pseudonym(OWN)}"
    assert "roster.local_ref_is_an_identifier" in kept.ended["sync"].err


def test_a_cohort_that_is_an_identifier(kept: Kept) -> None:
    """The same, and no fact names it."""
    found = dict(kept.worker.store.rows("SELECT person_key, cohort FROM person"))
    assert found[pseudonym(OWN)] == f"clinic {pseudonym(OTHER)}"
    assert "roster.cohort_is_an_identifier" in kept.ended["sync"].err
    named = kept.worker.store.rows("SELECT DISTINCT cohort FROM report_publication_cohort")
    assert set(named) == {("",), ("other",)}


def test_the_next_sync_finds_nothing_changed(kept: Kept) -> None:
    """The same answers give the same rows."""
    totals = kept.ended["again"].run["totals"]
    assert tuple(totals[f"rows_{name}"] for name in ("opened", "changed", "closed")) == (0, 0, 0)
