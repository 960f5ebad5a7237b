"""A run that is longer than its deadline: every start brings it further, and the last publishes."""

import time
from pathlib import Path

import pytest

from tests.support.standin import Standin, off_id_of, person

PERSONS = 100
RATE = 12.0
DEADLINE_S = 5
HOLD_S = 11


@pytest.mark.promise("3")
def test_a_run_of_several_starts_publishes(
    standin: Standin, tmp_path: Path, sqlite_url: str
) -> None:
    """It takes longer than sync.continue_within altogether, and never that long at a time."""
    for number in range(PERSONS):
        person(standin, number, safeties=1)
    worker = standin.install(
        tmp_path,
        sqlite_url,
        requests_per_second=RATE,
        deadline=f"{DEADLINE_S}s",
        continue_within=f"{HOLD_S}s",
    )
    planned = worker.run("plan").document["deadline"]
    assert (False, float(DEADLINE_S)) == (planned["fits"], planned["deadline_s"])
    began = time.monotonic()
    ended = worker.sync()
    codes = [ended.code]
    while codes[-1] == 75 and len(codes) < 12:
        ended = worker.sync()
        codes.append(ended.code)
    assert codes[-1] == 0, (codes, ended.err[-2_000:])
    assert len(codes) >= 3
    assert time.monotonic() - began > HOLD_S
    assert worker.store.runs() == [("published", 0)]
    assert ended.run["totals"]["persons_complete"] == PERSONS
    # Nothing that was written was read again; what was under way at a deadline was.
    everything = {(off_id_of(n), area) for n in range(PERSONS) for area in ("patient-safety",)}
    assert everything <= set(standin.asked)
    assert len(standin.asked) <= 2 * PERSONS + 16 * len(codes)
