"""What a change takes away, and the digests of reads."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from tests.support.clock import START
from tests.support.columns import as_columns
from tests.support.pts_answers import PRIVACY, SAFETY
from worker.core.area import ResourceArea
from worker.core.diff import (
    Change,
    Confirm,
    StoredVersion,
    Unconfirmed,
    confirmed,
    diff_area,
    ids_digest,
)
from worker.core.model import CompleteArea, FirstRead, Proof, Record
from worker.core.record import digest_of
from worker.errors import UnstableError

BEFORE = START - timedelta(days=30)


def update(area: ResourceArea, before: Mapping[str, Any], now: Mapping[str, Any]) -> Change:
    """The change of one restriction between two contents, with ``extra``."""
    extra = before.get("extra"), now.get("extra")
    columns = [
        as_columns({name: value for name, value in one.items() if name != "extra"}, area)
        for one in (before, now)
    ]
    row = StoredVersion(
        version_id=1,
        key="a",
        content_hash=b"1" * 16,
        first_seen_at=BEFORE,
        columns=columns[0],
        extra=extra[0],
    )
    record = Record(key="a", content_hash=b"2" * 16, columns=columns[1], extra=extra[1])
    proof = Proof(pages=1, record_count=1, digest=b"", read_at=START)
    read = CompleteArea(area=area.name, records=(record,), proof=proof)
    (change,) = diff_area(area, [row], read)
    return change


PAST, FUTURE = START - timedelta(hours=1), datetime(2030, 1, 1, tzinfo=UTC)
CASES: Sequence[tuple[ResourceArea, dict[str, Any], dict[str, Any], bool, bool]] = [
    (SAFETY, {"confidentiality_code": "NORU"}, {"confidentiality_code": "NORS"}, False, False),
    (SAFETY, {"confidentiality_code": "NORU"}, {"confidentiality_code": "N"}, True, False),
    (SAFETY, {"confidentiality_code": "N"}, {"confidentiality_code": "NORU"}, False, False),
    (SAFETY, {"confidentiality_code": "NORU"}, {"confidentiality_code": "???"}, False, True),
    (SAFETY, {"confidentiality_code": "???"}, {"confidentiality_code": "!!!"}, False, False),
    (SAFETY, {"confidentiality_code": "NORU"}, {}, False, True),
    (SAFETY, {"object_value": "a"}, {"object_value": " "}, False, True),
    (SAFETY, {"cause": "Manual"}, {"cause": "Manuell"}, False, True),
    (SAFETY, {"cause": "Manual"}, {"cause": "Automated"}, False, False),
    (PRIVACY, {"privacy_level": "Hard"}, {"privacy_level": "Softish"}, False, True),
    (SAFETY, {"extra": '{"a":1,"b":2}'}, {"extra": '{"b":3}'}, False, True),
    (SAFETY, {"extra": '{"a":1}'}, {"extra": '{"a":2,"b":3}'}, False, False),
    (SAFETY, {"extra": '{"a":{"b":1,"c":""}}'}, {"extra": '{"a":{"b":null,"c":2}}'}, False, True),
    (SAFETY, {"created_by": '{"x":{"no":"1"}}'}, {"created_by": '{"x":{}}'}, False, True),
    (SAFETY, {"created_by": '[{"n":"1"},{"n":"2"}]'}, {"created_by": '[{"n":"1"}]'}, False, False),
    (SAFETY, {"delay_delivery_until": FUTURE}, {"delay_delivery_until": PAST}, True, False),
    (SAFETY, {"delay_delivery_until": PAST}, {"delay_delivery_until": PAST}, False, False),
    (PRIVACY, {"restricted_to": FUTURE}, {"restricted_to": PAST}, True, False),
    (PRIVACY, {"restricted_from": PAST}, {"restricted_from": FUTURE}, True, False),
]
"""What a restriction said and says; whether it is out of effect by that, and loses a value."""


@pytest.mark.promise("5")
@pytest.mark.parametrize(("area", "before", "now", "closes", "loses"), CASES)
def test_what_a_change_takes_away(
    area: ResourceArea, before: dict[str, Any], now: dict[str, Any], closes: bool, loses: bool
) -> None:
    """Out of effect is as good as closed; a value that is gone, or no known code, is lost."""
    change = update(area, before, now)
    assert (change.closes, change.loses) == (closes, loses)


RECORDS = st.dictionaries(st.text(max_size=3), st.binary(min_size=16, max_size=16), max_size=4)


def records(contents: dict[str, bytes]) -> list[Record]:
    return [Record(key=key, content_hash=content, columns=()) for key, content in contents.items()]


@given(RECORDS, RECORDS)
def test_a_digest_is_of_a_set_of_records(one, other):
    """Two sets have one digest if they are the same, in whatever order they come, and only then."""
    assert (one == other) == (digest_of(records(one)) == digest_of(records(other)))
    assert digest_of(records(one)) == digest_of(reversed(records(one)))


def test_digests_that_stores_keep():
    """Another way to compute them would make every person a changed one, once."""
    assert digest_of([]).hex() == "cae66941d9efbd404e4d88758ea67670"
    found = digest_of(records({"b": b"\1" * 16, "a": b"\2" * 16}))
    assert found.hex() == "0a98d178fdf4189fff499eb5305eb641"
    assert found != digest_of(records({"ab": b"\1" * 16}))


@pytest.mark.promise("1")
def test_an_end_that_passes_between_both_reads():
    """Both reads are compared at one time, so they agree; and drift is counted once."""
    ends_at = START + timedelta(seconds=5)
    columns = as_columns({"privacy_level": "Hard", "restricted_to": ends_at}, PRIVACY)
    record = Record(key="a", content_hash=b"1" * 16, columns=columns)

    def read_at(at: datetime) -> CompleteArea:
        proof = Proof(pages=1, record_count=1, digest=digest_of([record]), read_at=at)
        return CompleteArea(area=PRIVACY.name, records=(record,), proof=proof, drift={"new": 1})

    first, second = read_at(START), read_at(START + timedelta(seconds=10))
    kept = FirstRead(read_at=START, record_count=1, digest=first.proof.digest)
    waiting = Unconfirmed(read=kept, ids=ids_digest(PRIVACY, first, START))
    both = confirmed(PRIVACY, waiting, second, Confirm.REMOVALS)
    assert (both.proof.first_read, both.drift) == (kept, {})
    two = [record, Record(key="b", content_hash=b"2" * 16, columns=columns)]
    turned = [structs.replace(first, records=tuple(each)) for each in (two, reversed(two))]
    assert len({ids_digest(PRIVACY, read, START) for read in turned}) == 1, "in any order"
    other = structs.replace(waiting, read=structs.replace(kept, digest=b"3" * 16))
    assert confirmed(PRIVACY, other, second, Confirm.REMOVALS).records == second.records
    over = as_columns({"privacy_level": "Hard", "restricted_to": START}, PRIVACY)
    ended = structs.replace(second, records=(structs.replace(record, columns=over),))
    with pytest.raises(UnstableError):  # the same restriction, no longer in effect
        confirmed(PRIVACY, waiting, ended, Confirm.REMOVALS)
    with pytest.raises(UnstableError) as caught:  # the same restrictions, with another content
        confirmed(PRIVACY, other, second, Confirm.CHANGES)
    assert caught.value.attempts == 1, "those of the second read alone"
