"""Whatever PTS answers for one person: nothing is lost, nobody else is touched, it heals."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.made_databases import BOTH
from tests.support.program import REQUEST_TIMEOUT_S
from tests.support.published import Store
from tests.support.secrecy.bad_answers import kinds
from tests.support.standin import PRIVACY, SAFETY, Standin, person, privacy, ref_of, safety

HEALTHY = 12
TABLES = {SAFETY: "patient_safety", PRIVACY: "patient_privacy"}
FAILING = "SELECT local_ref, area FROM report_person_freshness WHERE failure_kind IS NOT NULL"
Seen = dict[tuple[str, str], tuple[list[Any], list[Any]]]


def seen(store: Store, refs: set[str]) -> Seen:
    """Of each person's area what readers see now, and its history."""
    found: Seen = {(ref, area): ([], []) for ref in refs for area in TABLES}
    for area, table in TABLES.items():
        for place, rows in enumerate((store.current(table), store.history(table))):
            for row in sorted(rows, key=str):
                found[row[0], area][place].append(row[1:])
    return found


@pytest.mark.promise("1")
@pytest.mark.promise("9")
@pytest.mark.parametrize("database_url", BOTH, indirect=True)
def test_a_bad_answer_loses_nothing(standin: Standin, tmp_path: Path, database_url: str) -> None:
    """Each kind of bad answer strikes another person, half of them in each area: 0, 3, 0.

    The person's restrictions stand, marked stale, and history has no word of it; the next good
    answer takes that away. What is new in the person's other area is read all the same.
    """
    struck = kinds(slow=not database_url.startswith("sqlite"))  # by night slow ones, too
    for number in range(HEALTHY):
        person(standin, 5000 + number, safeties=2, privacies=1)
    bad: dict[tuple[str, str], str] = {}
    other: set[tuple[str, str]] = set()
    scripts = {}
    for number, (kind, answerer) in enumerate(struck.items()):
        off_id = person(standin, number, safeties=3, privacies=2)
        area, another = (SAFETY, PRIVACY)[:: -1 if number % 2 else 1]
        scripts[off_id, area] = answerer
        bad[ref_of(off_id), area] = kind
        other.add((ref_of(off_id), another))
    worker, store = standin.install(tmp_path, database_url), Store(database_url)
    worker.constants[REQUEST_TIMEOUT_S] = 10.0
    assert worker.sync().code == 0
    refs = {ref_of(off_id) for off_id in standin.people}
    good = seen(store, refs)

    standin.script = scripts
    for off_id, area in scripts:
        another, new = (PRIVACY, privacy) if area == SAFETY else (SAFETY, safety)
        standin.people[off_id][another].append(new(off_id, "new"))
    ended = worker.sync("--set", "log.level=DEBUG")
    assert ended.code == 3, ended.story()
    totals = ended.run["totals"]
    assert totals["areas_failed"] == totals["persons_stale"] == len(bad)
    then = seen(store, refs)
    assert set(store.rows(FAILING)) == bad.keys()

    standin.script = {}
    assert worker.sync().code == 0
    healed = seen(store, refs)
    assert store.rows(FAILING) == []
    assert standin.violations == []
    for key, kind in bad.items():
        current, history = good[key]
        assert then[key] == ([(*row[:-1], True) for row in current], history), kind
        assert healed[key] == good[key], kind
    for key in good.keys() - bad.keys():
        assert len(then[key][0]) == len(good[key][0]) + (key in other), key
        assert not any(row[-1] for row in then[key][0]), key
        if key not in other:
            assert then[key] == good[key]
