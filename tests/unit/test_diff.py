"""The difference: applying it gives what was read, and a second time nothing more."""

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.diff import StoredVersion, diff_area
from worker.core.model import CompleteArea, Proof, Record
from worker.core.record import digest_of

NOW = datetime(2026, 3, 28, 22, 17, 43, tzinfo=UTC)
BEFORE = NOW - timedelta(days=30)


def area(contents: dict[str, int]) -> CompleteArea:
    records = tuple(
        Record(key=key, content_hash=bytes([content]) * 16, columns=())
        for key, content in contents.items()
    )
    proof = Proof(pages=1, record_count=len(records), digest=b"", read_at=NOW)
    return CompleteArea(area="patient-safety", records=records, proof=proof)


class Rows:
    """A table of one person's versions, as the writer keeps it."""

    def __init__(self) -> None:
        self.rows: dict[int, dict[str, Any]] = {}
        self._ids = count(1)

    def stored(self, run: int) -> list[StoredVersion]:
        return [
            StoredVersion(
                version_id=row_id,
                key=row["key"],
                content_hash=row["hash"],
                first_seen_at=row["first"],
                opened_here=row["opened"] == run,
                closed_here=row["closed"] == run,
            )
            for row_id, row in self.rows.items()
            if row["closed"] in (None, run)
        ]

    def apply(self, read: CompleteArea, run: int):
        change = diff_area(self.stored(run), read)
        for row_id in change.erase:
            del self.rows[row_id]
        for row_id in change.close:
            self.rows[row_id]["closed"] = run
        for row_id in change.reopen:
            self.rows[row_id]["closed"] = None
        for opening in change.open:
            self.rows[next(self._ids)] = {
                "key": opening.record.key,
                "hash": opening.record.content_hash,
                "first": opening.first_seen_at,
                "opened": run,
                "closed": None,
            }
        return change

    def open(self) -> dict[str, bytes]:
        return {row["key"]: row["hash"] for row in self.rows.values() if row["closed"] is None}


contents = st.dictionaries(st.sampled_from("abcd"), st.integers(0, 2), max_size=4)


@given(nights=st.lists(contents, max_size=4))
def test_what_was_read_is_what_is_open(nights):
    """After each night the open rows are what was read; each key is open once."""
    rows = Rows()
    for run, night in enumerate(nights, start=1):
        rows.apply(area(night), run)
        assert rows.open() == {key: bytes([value]) * 16 for key, value in night.items()}
        again = rows.apply(area(night), run)
        assert [*again.open, *again.close, *again.erase, *again.reopen] == []
        assert again.unchanged == len(night)


@pytest.mark.promise("3")
@given(published=contents, first=contents, second=contents)
def test_reading_twice_in_one_run_leaves_only_the_second(published, first, second):
    """Rows that this run opened and no longer finds are erased; what it closed it can reopen."""
    twice, once = Rows(), Rows()
    for rows in (twice, once):
        rows.apply(area(published), 1)
    twice.apply(area(first), 2)
    twice.apply(area(second), 2)
    once.apply(area(second), 2)

    def shape(rows: Rows) -> list[Any]:
        return sorted(
            (r["key"], r["hash"], r["opened"], r["closed"] or 0) for r in rows.rows.values()
        )

    assert shape(once) == shape(twice)


def test_a_changed_record_remembers_when_it_was_first_seen():
    """Other content opens another version of the same restriction.

    Also at a second reading in one run, which had closed it at its first.
    """
    old = StoredVersion(version_id=7, key="a", content_hash=b"\x01" * 16, first_seen_at=BEFORE)
    change = diff_area([old], area({"a": 2, "b": 3}))
    assert change.close == (7,)
    assert [opening.first_seen_at for opening in change.open] == [BEFORE, NOW]
    assert [opening.observed_at for opening in change.open] == [NOW, NOW]
    assert change.removed == 0
    rows = Rows()
    rows.apply(area({"a": 1}), 1)
    rows.rows[1]["first"] = BEFORE
    rows.apply(area({}), 2)
    again = rows.apply(area({"a": 2, "b": 1}), 2)
    assert {one.record.key: one.first_seen_at for one in again.open} == {"a": BEFORE, "b": NOW}


def test_only_what_is_gone_counts_as_removed():
    """A removal is what the guard counts: not a change, and not a record that stays."""
    stored = [
        StoredVersion(version_id=n, key=key, content_hash=b"\x01" * 16, first_seen_at=BEFORE)
        for n, key in enumerate("abcd")
    ]
    change = diff_area(stored, area({"a": 1, "b": 2}))
    assert (change.removed, change.unchanged, change.close) == (2, 1, (1, 2, 3))


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
