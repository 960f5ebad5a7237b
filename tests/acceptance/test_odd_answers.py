"""Answers that are odd and perhaps right: one person's oddity is never another's trouble."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.published import Store
from tests.support.standin import SAFETY, Records, Standin, off_id_of, person, ref_of, safety

HEALTHY = 30

GAPS = {
    "long-key",
    "long-key-unlike",
    "large-number",
    "very-large-number",
    "negative-number",
    "nul-in-cause",
    "nul-in-key",
    "leap-second",
}
"""What no database column holds, or no key: the old state stands. All else is stored."""


def _pascal(value: Any) -> Any:
    if isinstance(value, dict):
        return {name[:1].upper() + name[1:]: _pascal(item) for name, item in value.items()}
    return value


def odd_records(off_id: str) -> dict[str, Records]:
    """Records by what is odd about them."""
    return {
        "long-key": [safety(off_id, "k" * 9_000)],
        "long-key-unlike": [
            safety(off_id, "", id="".join(f"{n * 7919 % 100_003:x}" for n in range(4_000)))
        ],
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
        "large-unknown-number": [safety(off_id, "0", revision=2**64 - 1)],
        "integer-beyond-64-bits": [safety(off_id, "0", revision=2**64 + 1)],
        "float-for-integer": [safety(off_id, "0", delayDays=14.0)],
        "nul-in-unknown-field": [safety(off_id, "0", note="a\0b")],
        "nul-in-name": [safety(off_id, "0", **{"a\0b": 1})],
        "nul-in-author": [safety(off_id, "0", createdBy="a\0b")],
        "nul-in-cause": [safety(off_id, "0", cause="a\0b")],
        "nul-in-key": [safety(off_id, "0", id="a\0b")],
        "year-1": [safety(off_id, "0", createdTime="0001-01-01T00:00:00+14:00")],
        "year-9999": [safety(off_id, "0", delayDeliveryUntil="9999-12-31T23:59:59.9999999-12:00")],
        "leap-second": [safety(off_id, "0", createdTime="2016-12-31T23:59:60Z")],
        "emoji": [safety(off_id, "🦜\u200f", cause="\U0010ffff")],
        "quotes": [safety(off_id, "'; DROP TABLE person; --", cause='"%s" {} \\ $1 :x ?')],
        "number-as-key": [safety(off_id, "0", id=12345678901234567890)],
        "two-hundred-fields": [safety(off_id, "0", **{f"f{n}": n for n in range(200)})],
        "many-records": [safety(off_id, str(n)) for n in range(3_000)],
        "pascal-case": [_pascal(safety(off_id, "0"))],
        "null-fields": [safety(off_id, "0", cause=None, createdTime=None, delayDeliveryUntil=None)],
        "exact-duplicate": [safety(off_id, "0"), safety(off_id, "0")],
    }


def healthy_of(store: Store, healthy: set[str]) -> set[tuple[Any, ...]]:
    return {row for row in store.current() if row[0] in healthy}


@pytest.mark.promise("9")
def test_oddities_stay_with_their_person(
    standin: Standin, tmp_path: Path, database_url: str
) -> None:
    """Whatever is odd is stored or is a gap of that person; the run goes on for everyone else."""
    healthy = {
        ref_of(person(standin, number, safeties=2)) for number in range(1_000, 1_000 + HEALTHY)
    }
    kinds = {}
    for number, kind in enumerate(odd_records("")):
        off_id = off_id_of(number)
        kinds[ref_of(off_id)] = kind
        person(standin, number, safeties=1)
    worker = standin.install(tmp_path, database_url)
    first = worker.sync()
    assert first.code == 0, first.err
    before, everyone = healthy_of(worker.store, healthy), worker.store.current()

    for number, kind in enumerate(odd_records("")):
        off_id = off_id_of(number)
        standin.people[off_id][SAFETY] = odd_records(off_id)[kind]
    # Two nights: what could be stored once must also be recognised.
    for night in range(2):
        ended = worker.sync("--accept-removals")
        assert ended.code == 3, ended.err[-3000:]
        assert before == healthy_of(worker.store, healthy)
        written = ended.run["totals"]["rows_opened"] + ended.run["totals"]["rows_changed"]
        assert (night == 0) == (written > 0)

    kept = "SELECT count(*) FROM report_patient_safety_current WHERE payload LIKE '%{}%'"
    assert worker.store.one(kept.format(2**64 + 1)) == 1
    assert {kinds[ref] for ref in worker.store.stale()} == GAPS
    for row in everyone:
        if kinds.get(row[0]) in GAPS:
            assert (*row[:3], True) in worker.store.current()
