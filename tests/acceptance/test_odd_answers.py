"""Answers that are odd and perhaps right: one person's oddity is never another's trouble."""

from pathlib import Path

import pytest

from tests.support.acceptance.both_databases import BOTH, fresh_database
from tests.support.program import Installation
from tests.support.standin import SAFETY, Records, Standin, off_id_of, person, ref_of, safety

HEALTHY = 10

GAPS = {
    "long-key",
    "long-code",
    "long-object",
    "exact-duplicate",
    "large-number",
    "very-large-number",
    "negative-number",
    "nul-in-cause",
    "nul-in-key",
    "leap-second",
}
"""What no database column holds, or no key: the old state stands. All else is stored."""


def odd_records(off_id: str) -> dict[str, Records]:
    """Records by what is odd about them."""
    return {
        "long-key": [safety(off_id, "k" * 9_000)],
        "long-code": [safety(off_id, "0", confidentialityCode="N" * 100_000)],
        "long-object": [
            safety(
                off_id,
                "0",
                patientSafetyObject={
                    "person": {"offId": off_id},
                    "confidentialObjectId": {"type": "Svarrapport", "value": "æ" * 70_000},
                },
            )
        ],
        "large-number": [safety(off_id, "0", delayDays=2**63)],
        "very-large-number": [safety(off_id, "0", delayDays=10**400)],
        "negative-number": [safety(off_id, "0", delayDays=-(2**63))],
        "integer-beyond-64-bits": [safety(off_id, "0", revision=2**64 + 1)],
        "nul-in-name": [safety(off_id, "0", **{"a\0b": 1})],
        "nul-in-cause": [safety(off_id, "0", cause="a\0b")],
        "nul-in-key": [safety(off_id, "0", id="a\0b")],
        "year-1": [safety(off_id, "0", createdTime="0001-01-01T00:00:00+14:00")],
        "leap-second": [safety(off_id, "0", createdTime="2016-12-31T23:59:60Z")],
        "emoji": [safety(off_id, "🦜\u200f", cause="\U0010ffff")],
        "number-as-key": [safety(off_id, "0", id=12345678901234567890)],
        "many-records": [safety(off_id, str(n)) for n in range(500)],
        "exact-duplicate": [safety(off_id, "0"), safety(off_id, "0")],
    }


KINDS = list(odd_records(""))


@pytest.fixture(params=BOTH)
def worker(request: pytest.FixtureRequest, standin: Standin, tmp_path: Path) -> Installation:
    """A worker after a good night: one person for each oddity, and some who stay healthy."""
    for number in range(len(KINDS)):
        person(standin, number, safeties=1)
    for number in range(1_000, 1_000 + HEALTHY):
        person(standin, number, safeties=2)
    made = standin.install(tmp_path, fresh_database(request))
    first = made.sync()
    assert first.code == 0, first.err
    return made


@pytest.mark.promise("9")
def test_oddities_stay_with_their_person(worker: Installation, standin: Standin) -> None:
    """Whatever is odd is stored or is a gap of that person; the run goes on for everyone else."""
    kinds = {ref_of(off_id_of(number)): kind for number, kind in enumerate(KINDS)}
    everyone = worker.store.current()
    healthy = {row for row in everyone if row[0] not in kinds}
    for number, kind in enumerate(KINDS):
        off_id = off_id_of(number)
        standin.people[off_id][SAFETY] = odd_records(off_id)[kind]
    # Two nights: what could be stored once must also be recognised.
    for night in ("first", "second"):
        ended = worker.sync("--accept-removals")
        assert ended.code == 3, ended.err[-3000:]
        assert {row for row in worker.store.current() if row[0] not in kinds} == healthy
        written = ended.run["totals"]["rows_opened"] + ended.run["totals"]["rows_changed"]
        assert (written > 0) == (night == "first"), night

    assert {kinds[ref] for ref in worker.store.stale()} == GAPS
    stale = {(*row[:3], True) for row in everyone if kinds.get(row[0]) in GAPS}
    assert stale <= worker.store.current(), "their old state stands"
