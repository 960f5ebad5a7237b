"""An attacker who reads all tables of the report computes no hidden number."""

from datetime import UTC, date, datetime
from itertools import product

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from worker.core.small_numbers import Mark
from worker.report.disclosure import INDEFINITE, LATER, NONE, NOT_NOW, OPEN, VisibleNumbers
from worker.report.figures import (
    Amount,
    CodeFacts,
    CodeKey,
    CohortFacts,
    EndFacts,
    NightFacts,
    ReportFacts,
    SnapshotState,
)

LEAST, NUMBER, FREE_MAX = 5, 7, 9
AT = datetime(2026, 11, 26, 3, tzinfo=UTC)
FEW = st.integers(0, 9)


def facts_of(codes, weeks, cohorts, *, nothing, not_now, stale):
    """A publication: restrictions by group and code, each of a person of its own.

    ``weeks`` says how the delayed end; the rest of them has no end.
    """
    groups, counted = {}, {}
    for group, amounts in codes.items():
        for place, amount in enumerate(amounts):
            key = CodeKey(group, "patient-safety", f"{group}{place}", "")
            counted[key] = CodeFacts(open=Amount(amount, amount), in_effect=Amount(amount, amount))
        groups[group] = Amount(sum(amounts), max(amounts))
    groups = {group: amount for group, amount in groups.items() if amount.restrictions}
    late = Amount(not_now, not_now)
    counted[CodeKey("none", "patient-safety", "N", "")] = CodeFacts(
        open=Amount(nothing, nothing), in_effect=Amount()
    )
    counted[CodeKey("delayed", "patient-safety", "late", "")] = CodeFacts(
        open=late, in_effect=Amount()
    )
    rest = groups.get("delayed", Amount()).restrictions
    ending = []
    for week in weeks:
        ending.append(min(week, rest))
        rest -= ending[-1]
    roster = sum(size for size, _ in cohorts)
    night = NightFacts(
        publication_no=NUMBER,
        published_at=AT,
        day=date(2026, 11, 26),
        roster=roster,
        confirmed=roster - min(stale, roster),
        stale=min(stale, roster),
        failed={},
        persons_in_effect=sum(min(held, size) for size, held in cohorts),
        groups=groups,
    )
    return ReportFacts(
        made_at=AT,
        state=SnapshotState.COMPLETE,
        published=None,
        last_sync=None,
        runs=(),
        nights=(night,),
        codes=counted,
        codes_then={},
        ends=EndFacts(
            weeks=[Amount(amount, amount) for amount in ending],
            later=Amount(),
            indefinite=Amount(rest, rest),
            not_now=late,
        ),
        cohorts=[
            CohortFacts(cohort=str(place), roster=size, in_effect=min(held, size))
            for place, (size, held) in enumerate(cohorts)
        ],
    )


def is_possible(keys, value):
    """Whether what the tables say adds up as a reader knows it does."""

    def adds_up(total, parts):
        parts = list(parts)
        return not parts or value(total) == sum(map(value, parts))

    of = {name: [key for key in keys if key[0] == name] for name in ("group", "code", "week")}
    cohorts = [key for key in keys if key[0] == "cohort"]
    rosters = [key for key in keys if key[0] == "cohort roster"]
    delayed = ("group", NUMBER, "delayed")
    return all(
        (
            adds_up(("total", NUMBER), of["group"]),
            adds_up(OPEN, [NONE, NOT_NOW, ("total", NUMBER)]),
            *(
                adds_up(group, [code for code in of["code"] if code[2].group == group[2]])
                for group in of["group"]
            ),
            delayed not in keys or adds_up(delayed, [*of["week"], LATER, INDEFINITE]),
            adds_up(("persons", NUMBER), cohorts),
            adds_up(("roster", NUMBER), rosters),
            adds_up(("roster", NUMBER), [("confirmed", NUMBER), ("stale", NUMBER)]),
        )
    )


@pytest.mark.promise("2")
@given(
    codes=st.fixed_dictionaries(
        {"denied": st.lists(FEW, min_size=1, max_size=3), "delayed": st.tuples(FEW)}
    ),
    weeks=st.lists(FEW, min_size=2, max_size=2),
    cohorts=st.lists(st.tuples(st.integers(5, 12), FEW), min_size=1, max_size=3),
    others=st.fixed_dictionaries({"nothing": FEW, "not_now": FEW, "stale": st.integers(0, 6)}),
)
@example(
    {"denied": [9, 1], "delayed": (6,)},
    [5, 1],
    [(9, 6), (9, 2), (9, 7)],
    {"nothing": 9, "not_now": 9, "stale": 1},
)
@example(
    {"denied": [7, 8], "delayed": (3,)},
    [0, 3],
    [(6, 5), (9, 4)],
    {"nothing": 0, "not_now": 4, "stale": 6},
)
def test_an_attacker_computes_no_hidden_number(codes, weeks, cohorts, others):
    """Of each hidden number another would fit as well, however the tables are put together."""
    shown = VisibleNumbers(facts_of(codes, weeks, cohorts, **others), least=LEAST)
    cells, marks = shown.cells, shown.marks
    for key, cell in cells.items():
        assert not 0 < cell.value < LEAST or key in marks
        assert key not in marks or shown.value(key) is None
    free = list(marks)
    assume(len(free) <= FREE_MAX)
    found = set()
    for steps in product((0, 1, -1), repeat=len(free)):
        step = dict(zip(free, steps, strict=True))
        fits = all(
            min(cells[key].value, 1) <= cells[key].value + step[key]  # 0 is shown as 0
            and (marks[key] is not Mark.SMALL or cells[key].value + step[key] < LEAST)
            for key in free
        )
        if fits and is_possible(cells, lambda key, step=step: cells[key].value + step.get(key, 0)):
            found |= {key for key in free if step[key]}
    assert {key for key in free if cells[key].value} <= found


def test_the_sum_of_all_is_hidden_before_the_total_in_effect():
    """One restriction is not in effect yet, and none restricts nothing: the headline stands."""
    facts = facts_of(
        {"denied": [20], "delayed": (30,)}, [], [(90, 40)], nothing=0, not_now=1, stale=0
    )
    marks = VisibleNumbers(facts, least=LEAST).marks
    assert OPEN in marks
    assert ("total", NUMBER) not in marks
