"""Whatever PTS answers for one person: nothing is lost, nobody else is touched, it heals."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.conftest import DATABASES, MakeDatabase, side_by_side
from tests.support.program import Ended
from tests.support.published import Store
from tests.support.secrecy.bad_answers import CANARY, KINDS
from tests.support.standin import (
    PRIVACY,
    SAFETY,
    Standin,
    person,
    privacy,
    ref_of,
    safety,
)
from tests.support.standin import standin as serve

pytestmark = pytest.mark.promise("1")

HEALTHY = 12
TABLES = {SAFETY: "patient_safety", PRIVACY: "patient_privacy"}


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What readers saw after a run."""

    ended: Ended
    current: dict[str, set[tuple[Any, ...]]]
    history: dict[str, list[tuple[Any, ...]]]
    failures: dict[tuple[str, str], str]


@dataclass(frozen=True, kw_only=True)
class Nights:
    """Three nights: all good, many bad answers, all good again."""

    store: Store
    areas: dict[str, str]
    persons: dict[str, str]
    healthy: list[str]
    good: Seen
    bad: Seen
    healed: Seen
    dump: str
    violations: list[str]


def see(ended: Ended, store: Store) -> Seen:
    return Seen(
        ended=ended,
        current={area: store.current(table) for area, table in TABLES.items()},
        history={area: store.history(table) for area, table in TABLES.items()},
        failures={
            (ref, area): kind
            for ref, area, kind in store.rows(
                "SELECT local_ref, area, failure_kind FROM report_person_freshness "
                "WHERE failure_kind IS NOT NULL"
            )
        },
    )


@pytest.fixture(scope="module")
def all_nights(
    make_sqlite: MakeDatabase, make_postgres: MakeDatabase, tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, Nights]:
    urls = {"sqlite": make_sqlite(), "postgresql": make_postgres()}
    folders = {name: tmp_path_factory.mktemp(name) for name in urls}

    def work(name: str) -> Nights:
        with serve() as made:
            return _three_nights(made, urls[name], folders[name])

    return side_by_side(work)


@pytest.fixture(params=DATABASES)
def nights(all_nights: Mapping[str, Nights], request: pytest.FixtureRequest) -> Nights:
    """All kinds in one run: every kind strikes another person, half of them in each area."""
    return all_nights[request.param]


def _three_nights(made: Standin, database_url: str, folder: Path) -> Nights:
    persons, areas, healthy = {}, {}, []
    for number, kind in enumerate(KINDS):
        if number % (len(KINDS) // HEALTHY) == 0:
            healthy.append(person(made, 5000 + number, safeties=2, privacies=1))
        persons[kind] = person(made, number, safeties=3, privacies=2)
        areas[kind] = (SAFETY, PRIVACY)[number % 2]
    worker = made.install(folder, database_url, request_timeout_s=1.5, max_pages=20)
    good = see(worker.sync(), worker.store)
    assert good.ended.code == 0, good.ended.out + good.ended.err

    for kind, off_id in persons.items():
        made.script[off_id, areas[kind]] = KINDS[kind]
        # The other area changes at the same time, and must be read all the same.
        other = PRIVACY if areas[kind] == SAFETY else SAFETY
        new = privacy if other == PRIVACY else safety
        made.people[off_id][other].append(new(off_id, "new"))
    bad = see(worker.sync("--log-level", "DEBUG"), worker.store)
    dump = str(worker.store.everything())

    made.script.clear()
    healed = see(worker.sync(), worker.store)
    return Nights(
        store=worker.store,
        areas=areas,
        persons=persons,
        healthy=[ref_of(off_id) for off_id in healthy],
        good=good,
        bad=bad,
        healed=healed,
        dump=dump,
        violations=made.violations,
    )


def of_person(
    rows: set[tuple[Any, ...]] | list[tuple[Any, ...]], ref: str
) -> list[tuple[Any, ...]]:
    return sorted((row for row in rows if row[0] == ref), key=str)


def test_the_nights_end_as_they_should(nights: Nights) -> None:
    """Complete, with gaps, complete: 0, 3, 0; and the worker broke no rule on the way."""
    codes = [seen.ended.code for seen in (nights.good, nights.bad, nights.healed)]
    assert codes == [0, 3, 0], nights.bad.ended.err[-3000:]
    assert nights.violations == []
    assert len(KINDS) == nights.bad.ended.run["totals"]["areas_failed"]
    assert len(KINDS) == nights.bad.ended.run["totals"]["persons_stale"]


def test_a_bad_answer_loses_nothing(nights: Nights) -> None:
    """The person's restrictions stand as they were, marked stale; the history has no word of it."""
    for kind in KINDS:
        area, ref = nights.areas[kind], ref_of(nights.persons[kind])
        before = of_person(nights.good.current[area], ref)
        stale = [(*row[:3], True) for row in before]
        assert stale == of_person(nights.bad.current[area], ref), kind
        history = of_person(nights.good.history[area], ref)
        assert history == of_person(nights.bad.history[area], ref), kind
        assert (ref, area) in nights.bad.failures, kind


@pytest.mark.promise("9")
def test_the_other_area_is_read_all_the_same(nights: Nights) -> None:
    """A restriction that is new in the person's other area is published, and not stale."""
    for kind in KINDS:
        other = PRIVACY if nights.areas[kind] == SAFETY else SAFETY
        ref = ref_of(nights.persons[kind])
        before = of_person(nights.good.current[other], ref)
        after = of_person(nights.bad.current[other], ref)
        assert len(after) == len(before) + 1, kind
        assert [row[3] for row in after] == [False] * len(after), kind
        assert (ref, other) not in nights.bad.failures, kind


def test_a_good_answer_heals(nights: Nights) -> None:
    """The next good answer takes the mark away, writes no version, and forgets the failure."""
    for kind in KINDS:
        area, ref = nights.areas[kind], ref_of(nights.persons[kind])
        good, healed = nights.good, nights.healed
        assert of_person(good.current[area], ref) == of_person(healed.current[area], ref), kind
        assert of_person(good.history[area], ref) == of_person(healed.history[area], ref), kind
        assert (ref, area) not in healed.failures, kind


def test_nobody_else_is_touched(nights: Nights) -> None:
    """Persons with good answers stand as they stood, not stale, with the same history."""
    for area in TABLES:
        for ref in nights.healthy:
            assert of_person(nights.good.current[area], ref) == of_person(
                nights.bad.current[area], ref
            )
            assert of_person(nights.good.history[area], ref) == of_person(
                nights.bad.history[area], ref
            )
            assert (ref, area) not in nights.bad.failures


@pytest.mark.promise("8")
def test_bodies_that_were_not_understood_are_kept_nowhere(nights: Nights) -> None:
    """A word of theirs stands in no log at DEBUG, no output and no table."""
    assert CANARY not in nights.bad.ended.err
    assert CANARY not in nights.bad.ended.out
    assert CANARY not in nights.dump
