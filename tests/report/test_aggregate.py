"""The facts of publications for those who may not see persons."""

import csv
import json
from collections import defaultdict
from itertools import product
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from tests.support.report.stores import ANY, NEVER, missed, privacy, safety, seen
from tests.support.store_world import world_on
from worker.core.model import FailureKind
from worker.errors import UsageError
from worker.report.aggregate import FACTS, hidden_of
from worker.report.export import Options, export
from worker.report.sinks import Format
from worker.views import COHORT, DAILY, PUBLICATION

pytestmark = pytest.mark.promise("2")

LEAST = 5
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
    COHORT.name: ["roster", "confirmed", "stale", "joined", "departed", "persons_in_effect"],
}
MEASURES[PUBLICATION.name] = MEASURES[COHORT.name]
FREE_MAX = 8


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


async def facts_of(world, out, fmt, **options):
    return await export(
        world.database.read,
        out,
        Options(format=fmt, **options),
        now=world.fake.now(),
        schema_revision="0001",
    )


def exported(out, manifest):
    found = {}
    for file in manifest.files:
        with (out / manifest.folder / file.name).open(encoding="utf-8", newline="") as stream:
            found[file.view] = [
                {name: int(value) if value.isdigit() else value for name, value in row.items()}
                for row in csv.DictReader(stream)
            ]
    return found


async def test_no_small_number_is_exported(database_url, tmp_path):
    """Cells of fewer than five persons are empty and named; a limit of 0 leaves all in."""
    async with world_on(database_url, our_clock=True) as world:
        await three_nights(world)
        found = {}
        manifest = None
        for least in (LEAST, 0):
            manifest = await facts_of(world, tmp_path, Format.CSV, min_cell=least)
            found[least] = exported(tmp_path, manifest)
    assert [view.name for view in FACTS] == list(found[0])
    assert manifest is not None
    said = json.loads((tmp_path / manifest.folder / "_manifest.json").read_bytes())
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
                    assert row[name] == shown[name]
                    assert row[name] == 0 or row[name] >= LEAST
    assert hidden > 20


async def test_the_same_in_every_format(sqlite_url, tmp_path):
    """Typed files keep their types: what is hidden is null."""
    async with world_on(sqlite_url) as world:
        await three_nights(world)
        for fmt in (Format.NDJSON, Format.PARQUET):
            await facts_of(world, tmp_path / fmt, fmt, min_cell=LEAST)
    folder = "publication_no=3/report_publication_cohort"
    lines = (tmp_path / "ndjson" / folder / "part-00000.ndjson").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["roster"] for row in rows if row["cohort"] == "C"][:2] == [None, None]
    assert {type(row["roster"]) for row in rows} == {int, type(None)}
    from pyarrow import parquet

    path = tmp_path / "parquet" / folder / "part-00000.parquet"
    table = parquet.ParquetFile(path).read().to_pylist()
    assert [row["roster"] for row in rows] == [row["roster"] for row in table]


@pytest.mark.parametrize("other", [{"views": ["run"]}, {"since": 1}])
async def test_facts_are_exported_by_themselves(sqlite_url, tmp_path, other):
    """Views beside them would name persons."""
    async with world_on(sqlite_url) as world:
        with pytest.raises(UsageError, match="by themselves"):
            await facts_of(world, tmp_path, Format.CSV, min_cell=LEAST, **other)


def of_cohort(name, persons, night):
    """A cohort's persons: ``(stale, codes)`` of each; and its rows of ``report_daily``."""
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


ONE: tuple[bool, set[str]] = (False, {"x"})
OTHER: tuple[bool, set[str]] = (False, {"y"})
BOTH: tuple[bool, set[str]] = (False, {"x", "y"})
NONE: tuple[bool, set[str]] = (False, set())


@given(cohorts=COHORTS)
@example(cohorts=[[ONE] * 6 + [NONE] * 3, [ONE] * 2 + [NONE] * 6])
@example(cohorts=[[BOTH] * 6 + [ONE] * 2, [ONE] * 2 + [NONE] * 6])
@example(cohorts=[[ONE] * 20 + [OTHER] * 3])
@example(cohorts=[[ONE] * 6 + [BOTH], [ONE] * 2 + [BOTH] * 4, [BOTH] * 3 + [NONE] * 4])
def test_an_attacker_computes_no_hidden_number(cohorts):
    """Of each hidden count of persons another would fit as well, with all that adds up."""
    made = [of_cohort(str(place), persons, 0) for place, persons in enumerate(cohorts)]
    failed = dict.fromkeys((f"failed_{kind}" for kind in FailureKind), 0)
    total = {
        name: sum(row[name] for row, _ in made)
        for name in ("roster", "confirmed", "stale", "joined", "departed", "persons_in_effect")
    }
    rows = {
        DAILY.name: [row for _, daily in made for row in daily],
        PUBLICATION.name: [total | failed],
        COHORT.name: [row | failed for row, _ in made],
    }
    hidden, _ = hidden_of(rows, least=LEAST)
    for view, found in rows.items():
        for place, row in enumerate(found):
            for name in MEASURES[view]:
                assert not 0 < row[name] < LEAST or name in hidden[view, place]
    names = ("roster", "confirmed", "stale", "persons_in_effect")
    free = [
        (view, place, name)
        for (view, place), columns in hidden.items()
        for name in names
        if name in columns
    ]
    assume(len(free) <= FREE_MAX)
    assert {key for key in free if rows[key[0]][key[1]][key[2]]} <= other_solutions(rows, free)


def other_solutions(rows, free):
    """The hidden counts for which there is another solution, one step away."""
    found = set()
    for steps in product((0, 1, -1), repeat=len(free)):
        step = dict(zip(free, steps, strict=True))

        def value(view, place, name, step=step):
            return rows[view][place][name] + step.get((view, place, name), 0)

        if any(steps) and is_possible(rows, value):
            found |= {key for key in free if step[key]}
    return found


def is_possible(rows, value):
    """Whether the counts could be those of a publication."""
    cohorts = range(len(rows[COHORT.name]))
    sums = ("roster", "confirmed", "stale", "persons_in_effect")
    if any(
        value(PUBLICATION.name, 0, name) != sum(value(COHORT.name, c, name) for c in cohorts)
        for name in sums
    ):
        return False
    for place in cohorts:
        roster, confirmed, stale, persons = (
            value(COHORT.name, place, name) for name in sums[:3] + sums[3:]
        )
        mine = [
            value(DAILY.name, other, "persons_in_effect")
            for other, row in enumerate(rows[DAILY.name])
            if row["cohort"] == rows[COHORT.name][place]["cohort"]
        ]
        if roster != confirmed + stale or min(confirmed, stale, roster - persons, *mine, 0) < 0:
            return False
        if not max(mine, default=0) <= persons <= sum(mine):
            return False
        if is_in_one_row(rows, place) and persons != sum(mine):
            return False
    return True


def is_in_one_row(rows, place):
    """Whether nobody of a cohort has two codes, which a reader may know."""
    cohort = rows[COHORT.name][place]
    held = [r["persons_in_effect"] for r in rows[DAILY.name] if r["cohort"] == cohort["cohort"]]
    return cohort["persons_in_effect"] == sum(held)


def of_night(before, added, removed):
    """A publication of one code, one restriction a person: a row only if it says something."""
    stands = before + added - removed
    cell = {"area": "patient-safety", "code": "x", "level": "", "cause": "", "cohort": ""}
    flows = {"added": added, "changed": 0, "removed": removed}
    counts = {"open": stands, "persons": stands, "in_effect": 0, "persons_in_effect": 0, **flows}
    return {
        DAILY.name: [cell | counts] if any(counts.values()) else [],
        PUBLICATION.name: [],
        COHORT.name: [],
    }


@given(moves=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=2, max_size=5))
@example(moves=[(20, 0), (0, 17), (0, 0), (30, 0)])
def test_no_hidden_number_is_computed_from_night_to_night(moves):
    """What was open, came and went says what is open: a hidden number has another solution."""
    before = 0
    hidden_before: frozenset[Any] = frozenset()
    shown, real = [], []
    for added, wished in moves:
        removed = min(wished, before)
        rows = of_night(before, added, removed)
        before += added - removed
        hidden, hidden_before = hidden_of(rows, least=LEAST, before=hidden_before)
        shown.append(hidden.get((DAILY.name, 0), set()))
        real.append({"open": before, "added": added, "removed": removed})
    free = [
        (night, name)
        for night, names in enumerate(shown)
        for name in ("open", "added", "removed")
        if name in names
    ]
    for night, counts in enumerate(real):
        for name, value in counts.items():
            assert not 0 < value < LEAST or (night, name) in free
            assert not value >= 2 * LEAST or name != "open" or (night, name) not in free
    assume(len(free) <= FREE_MAX)
    found = set()
    for steps in product((0, 1, -1), repeat=len(free)):
        step = dict(zip(free, steps, strict=True))
        if any(steps) and flows_add_up(real, step):
            found |= {key for key in free if step[key]}
    assert {key for key in free if 0 < real[key[0]][key[1]] < LEAST} <= found


def flows_add_up(real, step):
    """Whether each night's open are the last one's, what came, and without what went."""
    before = 0
    for night, counts in enumerate(real):
        stands, added, removed = (
            counts[name] + step.get((night, name), 0) for name in ("open", "added", "removed")
        )
        if min(stands, added, removed, before - removed, stands - added) < 0:
            return False
        if stands != before + added - removed:
            return False
        before = stands
    return True
