"""Whatever PTS answers for one person: nothing is lost, nobody else is touched, it heals."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.acceptance.both_databases import BOTH, fresh_database
from tests.support.program import Ended
from tests.support.published import Store
from tests.support.secrecy.bad_answers import kinds
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

    areas: dict[str, str]
    persons: dict[str, str]
    healthy: list[str]
    good: Seen
    bad: Seen
    healed: Seen
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


@pytest.fixture(scope="module", params=BOTH)
def nights(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Nights:
    """All kinds in one run: every kind strikes another person, half of them in each area."""
    with serve() as made:
        return _three_nights(made, fresh_database(request), tmp_path_factory.mktemp("nights"))


def _three_nights(made: Standin, database_url: str, folder: Path) -> Nights:
    persons, areas, healthy = {}, {}, []
    # The nightly turn waits for slow answers, too.
    struck = kinds(slow=not database_url.startswith("sqlite"))
    for number, kind in enumerate(struck):
        if number % (len(struck) // HEALTHY) == 0:
            healthy.append(person(made, 5000 + number, safeties=2, privacies=1))
        persons[kind] = person(made, number, safeties=3, privacies=2)
        areas[kind] = (SAFETY, PRIVACY)[number % 2]
    worker = made.install(folder, database_url)
    good = see(worker.sync(), worker.store)
    assert good.ended.code == 0, good.ended.out + good.ended.err

    for kind, off_id in persons.items():
        made.script[off_id, areas[kind]] = struck[kind]
        # The other area changes at the same time, and must be read all the same.
        other = PRIVACY if areas[kind] == SAFETY else SAFETY
        new = privacy if other == PRIVACY else safety
        made.people[off_id][other].append(new(off_id, "new"))
    bad = see(worker.sync("--log-level", "DEBUG"), worker.store)

    made.script.clear()
    healed = see(worker.sync(), worker.store)
    return Nights(
        areas=areas,
        persons=persons,
        healthy=[ref_of(off_id) for off_id in healthy],
        good=good,
        bad=bad,
        healed=healed,
        violations=made.violations,
    )


def of_person(rows: Iterable[tuple[Any, ...]], ref: str) -> list[tuple[Any, ...]]:
    return sorted((row for row in rows if row[0] == ref), key=str)


def test_the_nights_end_as_they_should(nights: Nights) -> None:
    """Complete, with gaps, complete: 0, 3, 0; and the worker broke no rule on the way."""
    codes = [seen.ended.code for seen in (nights.good, nights.bad, nights.healed)]
    assert codes == [0, 3, 0], nights.bad.ended.err[-3000:]
    assert nights.violations == []
    totals = nights.bad.ended.run["totals"]
    assert {name: totals[name] for name in ("areas_failed", "persons_stale")} == {
        "areas_failed": len(nights.persons),
        "persons_stale": len(nights.persons),
    }


def test_a_bad_answer_loses_nothing(nights: Nights) -> None:
    """The person's restrictions stand, marked stale, until the next good answer takes that away.

    The history has no word of it, and no failure is left.
    """
    good, bad, healed = nights.good, nights.bad, nights.healed
    for kind, off_id in nights.persons.items():
        area, ref = nights.areas[kind], ref_of(off_id)
        before = of_person(good.current[area], ref)
        assert of_person(bad.current[area], ref) == [(*row[:3], True) for row in before], kind
        assert (ref, area) in bad.failures, kind
        assert of_person(healed.current[area], ref) == before, kind
        assert (ref, area) not in healed.failures, kind
        history = of_person(good.history[area], ref)
        assert of_person(bad.history[area], ref) == history, kind
        assert of_person(healed.history[area], ref) == history, kind


@pytest.mark.promise("9")
def test_the_other_area_is_read_all_the_same(nights: Nights) -> None:
    """A restriction that is new in the person's other area is published, and not stale."""
    for kind, off_id in nights.persons.items():
        other = PRIVACY if nights.areas[kind] == SAFETY else SAFETY
        before = of_person(nights.good.current[other], ref_of(off_id))
        after = of_person(nights.bad.current[other], ref_of(off_id))
        assert len(after) == len(before) + 1, kind
        assert [row for row in after if row[3]] == [], f"{kind}: a row is stale"
        assert (ref_of(off_id), other) not in nights.bad.failures, kind


def test_nobody_else_is_touched(nights: Nights) -> None:
    """Persons with good answers stand as they stood, not stale, with the same history."""
    good, bad = nights.good, nights.bad
    for area in TABLES:
        for ref in nights.healthy:
            assert of_person(bad.current[area], ref) == of_person(good.current[area], ref)
            assert of_person(bad.history[area], ref) == of_person(good.history[area], ref)
            assert (ref, area) not in bad.failures
