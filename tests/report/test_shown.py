"""The report's tables together: an outsider adds and subtracts, and finds no small count."""

import random
from collections import Counter
from datetime import UTC, date, datetime
from typing import Any

import msgspec
import pytest

from worker.core.area import AREAS, ResourceArea
from worker.core.display import ShownCount, SmallNumbers
from worker.core.effect import EffectRule
from worker.report import disclosure
from worker.report.disclosure import ShownFacts
from worker.report.figures import (
    Amount,
    CodeKey,
    CohortFacts,
    NightFacts,
    ReportFacts,
    SnapshotState,
)

UNKNOWN = CodeKey("unknown", "other", "")
CODES = [
    *(CodeKey("denied", code, "") for code in ("NORN_EPO", "NORN_FFL", "NORN_KUT")),
    CodeKey("delayed", "NORU", ""),
    CodeKey("blocked", "NORS", ""),
    *(CodeKey("blocked", "Block", level) for level in ("Soft", "Hard")),
    CodeKey("shielded", "Shield", "Soft"),
    UNKNOWN,
]
AGES = ["age_30", "age_182", "age_365", "age_more"]
ENDS = ["ends_7", "ends_30", "ends_never"]
CAUSES = ["Automated", "Manual", "Undefined"]
OPS = ["insert", "update", "close"]
Bounds = dict[object, tuple[int, int]]


def ward(rng: random.Random, cohorts: int) -> ReportFacts:
    """A ward in which each patient has one restriction at most, so that counts can be compared."""
    roster, some = rng.randrange(8, 60), rng.sample(CODES, rng.randrange(1, len(CODES) + 1))
    chosen = [rng.choice(some) for _ in range(rng.randrange(roster + 1))]
    clinics = [rng.randrange(max(cohorts, 1)) for _ in range(roster)]
    stale = rng.choice([0, rng.randrange(6), rng.randrange(roster + 1)])
    moves = [
        (rng.choice(chosen).group, rng.choice(OPS), rng.choice(clinics))
        for _ in range(rng.randrange(12) if chosen else 0)
    ]
    night = NightFacts(
        publication_no=1,
        published_at=datetime(2026, 4, 1, tzinfo=UTC),
        day=date(2026, 4, 1),
        roster=roster,
        confirmed=roster - min(stale, roster),
        stale=min(stale, roster),
        failed={},
        persons=len(chosen),
        groups=amounts(key.group for key in chosen),
    )
    return ReportFacts(
        made_at=night.published_at,
        state=SnapshotState.COMPLETE,
        published=None,
        last_sync=None,
        latest=None,
        nights=[night],
        codes=amounts(chosen),
        codes_then={},
        causes=amounts(
            rng.choice(CAUSES)
            for key in chosen
            if key.code.startswith("NOR") or (key == UNKNOWN and rng.random() < 0.5)
        ),
        ages=amounts(rng.choice(AGES) for _ in chosen),
        ends=amounts(rng.choice(ENDS) for key in chosen if key.group == "delayed"),
        expired={},
        week_expired={},
        week={
            group: movement(op for name, op, _ in moves if name == group)
            for group in {name for name, _, _ in moves}
        },
        cohorts=[
            CohortFacts(
                cohort=f"Clinic {number}",
                roster=clinics.count(number),
                in_effect=clinics[: len(chosen)].count(number),
                week=movement(op for _, op, clinic in moves if clinic == number),
            )
            for number in range(cohorts)
            if number in clinics
        ],
    )


def amounts(things):
    return {thing: Amount(count, count) for thing, count in Counter(things).items()}


def movement(ops):
    counted = Counter(ops)
    return [Amount(counted[op], counted[op]) for op in OPS]


def cells_of(shown: ShownFacts) -> dict[object, ShownCount]:
    """Every number on the page, by its place."""
    last = shown.last
    cells: dict[object, Any] = {"total": last.total, "persons": last.persons}
    confirmed = shown.small.count(shown.facts.last.confirmed or 0)
    cells |= {"roster": last.roster, "confirmed": confirmed, "stale": last.stale}
    cells |= {("group", name): count for name, count in last.groups.items()}
    for name in ("codes", "causes", "ages", "ends"):
        cells |= {(name, key): count for key, count in (getattr(shown, name) or {}).items()}
    for group, week in shown.week.items():
        cells |= {("added", group): week[0], ("removed", group): week[2]}
    for cohort in shown.cohorts:
        cells |= {("rosters", cohort.name): cohort.roster, ("holders", cohort.name): cohort.persons}
        if shown.has_cohort_weeks:
            cells["added by", cohort.name] = cohort.week[0]
            cells["removed by", cohort.name] = cohort.week[2]
    return cells


def sums_of(cells, facts: ReportFacts):
    """Which cells add up to which; a total that is on no page has a name of its own."""

    def table(name, is_in=lambda _key: True):
        return [
            place for place in cells
            if isinstance(place, tuple) and place[0] == name and is_in(place[1])
        ]  # fmt: skip

    yield "total", table("group")
    yield "total", table("ages")
    yield ("group", "delayed"), table("ends")
    yield "safety", table("causes")
    # An unknown code may be of either area.
    if ("codes", UNKNOWN) in cells:
        yield ("codes", UNKNOWN), ["unknown safety", "unknown privacy"]
    unknown = ["unknown safety"] if ("codes", UNKNOWN) in cells else []
    yield "safety", [*table("codes", lambda key: key.code.startswith("NOR")), *unknown]
    blocked = table("codes", lambda key: key.code == "NORS")
    denied_or_delayed = table("group", {"denied", "delayed"}.__contains__)
    yield "safety", [*denied_or_delayed, *blocked, *unknown]
    privacy = table("codes", lambda key: not key.code.startswith("NOR") and key != UNKNOWN)
    unknown_privacy = ["unknown privacy"] if unknown else []
    yield "total", ["safety", *privacy, *unknown_privacy]
    if not blocked:
        private_groups = table("group", {"blocked", "shielded"}.__contains__)
        yield "total", ["safety", *private_groups, *unknown_privacy]
    for group in {key.group for key in facts.codes}:
        yield ("group", group), table("codes", lambda key, group=group: key.group == group)
    yield "roster", ["confirmed", "stale"]
    if len(facts.cohorts) <= 16:
        yield "roster", table("rosters")
        yield "persons", table("holders")
    for op in ("added", "removed"):
        yield op, table(op)
        if len(facts.cohorts) <= 16:
            yield op, table(f"{op} by")


def solved(cells: dict[object, ShownCount], facts: ReportFacts, least: int) -> list[object]:
    """The hidden cells for which adding and subtracting leaves fewer than three values."""
    bounds: Bounds = {place: _bounds(count, least) for place, count in cells.items()}
    bounds |= dict.fromkeys(("safety", "unknown safety", "unknown privacy"), (0, 10**6))
    sums = [(total, parts) for total, parts in sums_of(cells, facts) if parts]
    for _ in range(8):
        for total, parts in sums:
            low, high = bounds.get(total, (0, 10**6))
            lows, highs = (sum(bounds[part][end] for part in parts) for end in (0, 1))
            low, high = bounds[total] = max(low, lows), min(high, highs)
            for part in parts:
                at_least = low - highs + bounds[part][1]
                at_most = high - lows + bounds[part][0]
                bounds[part] = max(bounds[part][0], at_least), min(bounds[part][1], at_most)
                lows, highs = (sum(bounds[one][end] for one in parts) for end in (0, 1))
    return [
        place
        for place, count in cells.items()
        if count.is_few and bounds[place][1] - bounds[place][0] < 2
    ]


def _bounds(count: ShownCount, least: int) -> tuple[int, int]:
    """The values for which the page would show this text, by the words of its glossary."""
    if count.is_few:
        return 1, (least - 1 if count.last == 0 else count.last + 2)
    if count.first == 0:
        return 0, 0
    low = least if count.first < least + 5 else count.first - 2
    return low, count.last + 2


@pytest.mark.promise("8")
@pytest.mark.parametrize("cohorts", [0, 3, 18])
@pytest.mark.parametrize("least", [4, 5, 10])
def test_no_page_reveals_a_small_count(least, cohorts):
    """Wards of 8 to 60 patients, as a page of one ward, and with clinics, of which 16 are shown."""
    rng = random.Random(f"{least} {cohorts}")
    few = 0
    for number in range(400):
        facts = ward(rng, cohorts)
        cells = cells_of(ShownFacts(facts, SmallNumbers(least)))
        few += sum(count.is_few for count in cells.values())
        assert solved(cells, facts, least) == [], (number, facts)
    assert few > 400


@pytest.mark.parametrize(("least", "first"), [(0, 20), (5, 23)])
def test_no_ward_below_twenty_has_a_rate(least, first):
    """A roster of 18 is shown as 20, so a ward has a rate from a roster that is shown as 25."""
    rated = []
    for roster in range(15, 30):
        clinic = CohortFacts(cohort="A", roster=roster, in_effect=10, week=[Amount()] * 3)
        others = CohortFacts(cohort="B", roster=100, in_effect=10, week=[Amount()] * 3)
        facts = msgspec.structs.replace(ward(random.Random(1), 0), cohorts=[clinic, others])
        cohorts = ShownFacts(facts, SmallNumbers(least)).cohorts
        rated += [roster] * all(cohort.rate is not None for cohort in cohorts)
    assert rated == list(range(first, 30))


def test_clinics_are_ordered_by_name():
    """A rate of rounded numbers makes no rank. Persons without a clinic are last."""
    names = ["\u00d8re", "", "Post 19", "\u00c5pen", "Zen", "Post 2", "bryst"]
    cohorts = [
        CohortFacts(cohort=name, roster=100, in_effect=10 * n, week=[Amount()] * 3)
        for n, name in enumerate(names)
    ]
    facts = msgspec.structs.replace(ward(random.Random(1), 0), cohorts=cohorts)
    ordered = [cohort.name for cohort in ShownFacts(facts, SmallNumbers(5)).cohorts]
    assert ordered == ["bryst", "Post 2", "Post 19", "Zen", "\u00d8re", "\u00c5pen", ""]


def test_a_number_of_persons_reveals_no_row():
    """Of 8 persons, 4 have ten restrictions by one code and 4 by another.

    Shown as "10" they would be 8 at least, and a row of fewer than five has 4 at most.
    """
    ward_of_eight = ward(random.Random(1), 0)
    night = msgspec.structs.replace(ward_of_eight.last, persons=8, groups={"denied": Amount(20, 8)})
    rows = dict.fromkeys(CODES[:2], Amount(10, 4))
    facts = msgspec.structs.replace(
        ward_of_eight, nights=[night], codes=rows, causes={}, ages={}, ends={}
    )
    persons = ShownFacts(facts, SmallNumbers(5)).last.persons
    assert (persons.first, persons.last) == (5, 10)


def test_causes_are_compared_with_the_areas_that_state_them(monkeypatch):
    """4, 4, 4 and 7 by cause are <5, <5, <5 and 5, and beside a code of 19 they can be solved.

    The codes of a third area, which states no cause, do not belong to the same total.
    """
    rule = EffectRule(code="object_type", groups=(), ends="")
    third = ResourceArea(name="third", table="third", columns=(), effect=rule)
    monkeypatch.setattr(disclosure, "AREAS", (*AREAS, third))
    one_ward = ward(random.Random(1), 0)
    groups = {"denied": Amount(19, 19), "blocked": Amount(50, 50)}
    night = msgspec.structs.replace(one_ward.last, persons=69, groups=groups)
    codes = {
        CodeKey("denied", "NORN_EPO", ""): Amount(19, 19),
        CodeKey("blocked", "Svarrapport", ""): Amount(50, 50),
    }
    few = {cause: Amount(4, 4) for cause in ("Automated", "Derived", "Undefined")}
    facts = msgspec.structs.replace(
        one_ward, nights=[night], codes=codes, causes=few | {"Manual": Amount(7, 7)}, ages={}
    )
    assert ShownFacts(facts, SmallNumbers(5)).causes is None


def test_causes_are_compared_with_the_groups_that_have_none():
    """Causes of <5, <5, <5 and 5 are 19 at most, and a group of <5 is 4 at most.

    A total of "25-30" is 23 at least, so each of them would have its maximum.
    """
    one_ward = ward(random.Random(1), 0)
    groups = {
        "denied": Amount(15, 10),
        "delayed": Amount(5, 5),
        "blocked": Amount(5, 4),
    }
    night = msgspec.structs.replace(one_ward.last, persons=15, groups=groups)
    codes = {
        CodeKey("denied", "NORN_FFL", ""): Amount(9, 8),
        CodeKey("denied", "NORN_ALL", ""): Amount(3, 2),
        CodeKey("denied", "NORN_EPO", ""): Amount(2, 2),
        CodeKey("denied", "NORN_KUT", ""): Amount(1, 1),
        CodeKey("delayed", "NORU", ""): Amount(5, 5),
        CodeKey("blocked", "Block", "Hard"): Amount(2, 2),
        CodeKey("blocked", "Block", "Soft"): Amount(3, 3),
    }
    causes = {
        "Automated": Amount(3, 3),
        "Derived": Amount(6, 3),
        "Manual": Amount(7, 6),
        "Undefined": Amount(4, 4),
    }
    ages = {"age_30": Amount(11, 8), "age_182": Amount(8, 7), "age_more": Amount(6, 4)}
    facts = msgspec.structs.replace(
        one_ward, nights=[night], codes=codes, causes=causes, ages=ages, ends={}
    )
    shown = ShownFacts(facts, SmallNumbers(5))
    assert (shown.last.total.first, shown.last.total.last) == (25, 30)
    assert shown.causes is None
