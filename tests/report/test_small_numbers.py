"""No number of few persons is in the facts that are exported for those who may not see persons."""

import csv
import json
from collections import defaultdict
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.report.exports import export_of
from tests.support.report.stores import ANY, NEVER, missed, privacy, safety, seen
from tests.support.store_world import world_on
from worker.core.model import FailureKind
from worker.errors import UsageError
from worker.report.aggregate import FACTS, hidden_of
from worker.report.sinks import Format
from worker.views import COHORT, DAILY, PUBLICATION

pytestmark = pytest.mark.promise("2")

LEAST, FOLDER = 5, "publication_no=3"
OF_PERSONS = ["roster", "confirmed", "stale", "joined", "departed", "persons_in_effect"]
MEASURES = {
    DAILY.name: [
        "open",
        "persons",
        "in_effect",
        "persons_in_effect",
        "added",
        "changed",
        "removed",
    ],
    COHORT.name: OF_PERSONS,
    PUBLICATION.name: OF_PERSONS,
}


async def three_nights(world):
    """Twelve persons of two clinics, and one of a small one; restrictions of two codes."""
    for night in range(3):
        reads = []
        for n in range(20 - night):
            clinic = ("A", "B")[n % 2] if n < 18 else "C"
            safe = [safety(f"s{n}", "NORN_EPO" if n < 13 else "NORU", NEVER)]
            private = (privacy(f"p{n}", "Block", "Hard"),) if n < 7 + night else ()
            is_missed = night == 2 and n < 2
            reads.append(
                missed(world, n, cohort=clinic)
                if is_missed
                else seen(world, n, *safe, private=private, cohort=clinic)
            )
        await world.publish(*reads, limits=ANY)
        world.fake.advance(86_400)


def exported(out, manifest):
    """The rows of each view, with numbers as such."""
    found = {}
    for file in manifest.files:
        with (out / manifest.folder / file.name).open(encoding="utf-8", newline="") as stream:
            found[file.view] = [
                {name: int(value) if value.isdigit() else value for name, value in row.items()}
                for row in csv.DictReader(stream)
            ]
    return found


async def test_no_small_number_is_exported(sqlite_url, tmp_path):
    """Cells of fewer than five persons are empty and named; a limit of 0 leaves all in.

    Typed files keep their types: what is hidden is null.
    """
    async with world_on(sqlite_url) as world:
        await three_nights(world)
        found = {}
        for least in (LEAST, 0):
            found[least] = exported(
                tmp_path, await export_of(world, tmp_path, Format.CSV, min_cell=least)
            )
        await export_of(world, tmp_path / "typed", Format.PARQUET, min_cell=LEAST)
        with pytest.raises(UsageError, match="by themselves"):
            await export_of(world, tmp_path, Format.CSV, ["run"], min_cell=LEAST)
    assert list(found[0]) == [view.name for view in FACTS]
    said = json.loads((tmp_path / FOLDER / "_manifest.json").read_bytes())
    assert said["min_cell"] == 0
    hidden = 0
    for view, rows in found[0].items():
        for row, shown in zip(rows, found[LEAST][view], strict=True):
            assert row["hidden"] == ""
            for name in MEASURES[view]:
                if shown[name] == "":
                    assert name in shown["hidden"].split()
                    hidden += 1
                else:
                    assert shown[name] == row[name]
                    assert row[name] == 0 or row[name] >= LEAST
    assert hidden > 20
    from pyarrow import parquet

    path = tmp_path / "typed" / FOLDER / COHORT.name / "part-00000.parquet"
    typed = parquet.ParquetFile(path).read().to_pylist()
    shown = found[LEAST][COHORT.name]
    assert [row["roster"] for row in typed] == [
        None if row["roster"] == "" else row["roster"] for row in shown
    ]


def of_cohort(name: str, persons: list[tuple[bool, set[str]]]) -> tuple[Any, Any]:
    """A cohort's persons, ``(stale, codes)`` of each: its counts, and its rows by code."""
    codes: dict[str, int] = defaultdict(int)
    for _, mine in persons:
        for code in mine:
            codes[code] += 1
    zero = dict.fromkeys(("added", "changed", "removed"), 0)
    daily = [
        {"cohort": name, "code": code, "open": n, "persons": n, "in_effect": n}
        | {"persons_in_effect": n, **zero}
        for code, n in sorted(codes.items())
    ]
    stale = sum(is_stale for is_stale, _ in persons)
    facts = {"roster": len(persons), "confirmed": len(persons) - stale, "stale": stale}
    facts["persons_in_effect"] = sum(bool(mine) for _, mine in persons)
    return {"cohort": name, **facts, "joined": 0, "departed": 0}, daily


PERSON = st.tuples(st.booleans(), st.sets(st.sampled_from("xy")))
COHORTS = st.lists(st.lists(PERSON, max_size=9), min_size=1, max_size=3)


@settings(max_examples=40)
@given(cohorts=COHORTS)
@example(cohorts=[[(False, {"x"})] * 6 + [(False, set())] * 3, [(False, {"x"})] * 2])
def test_a_sum_does_not_show_what_is_hidden(cohorts):
    """No small number is shown, and of the parts of a shown sum none is hidden alone."""
    made = [of_cohort(str(place), persons) for place, persons in enumerate(cohorts)]
    failed = dict.fromkeys((f"failed_{kind}" for kind in FailureKind), 0)
    total = {name: sum(row[name] for row, _ in made) for name in OF_PERSONS}
    rows = {
        DAILY.name: [row for _, daily in made for row in daily],
        PUBLICATION.name: [total | failed],
        COHORT.name: [row | failed for row, _ in made],
    }
    hidden, _ = hidden_of(rows, least=LEAST)
    for view, found in rows.items():
        for place, row in enumerate(found):
            few = {name for name in MEASURES[view] if 0 < row[name] < LEAST}
            assert few <= hidden.get((view, place), set())
    for name in OF_PERSONS:
        if name not in hidden.get((PUBLICATION.name, 0), set()):
            alone = [
                row[name]
                for place, row in enumerate(rows[COHORT.name])
                if name in hidden.get((COHORT.name, place), set())
            ]
            assert len(alone) != 1 or alone == [0], name
