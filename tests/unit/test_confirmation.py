"""What needs a second read, and whether two reads agree."""

from datetime import timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.clock import START
from tests.support.pts_answers import SAFETY, complete_area
from worker.core.diff import Confirm, Unconfirmed, compared, ids_digest
from worker.core.model import AreaFailure, CompleteArea, FirstRead
from worker.errors import FailureKind

REMOVALS, CHANGES = Confirm.REMOVALS, Confirm.CHANGES

contents = st.dictionaries(st.sampled_from("abcd"), st.integers(1, 3))


def first_of(read: CompleteArea) -> Unconfirmed:
    """What a first read leaves."""
    proof = read.proof
    left = FirstRead(read_at=proof.read_at, record_count=proof.record_count, digest=proof.digest)
    return Unconfirmed(read=left, ids=ids_digest(SAFETY, read))


@pytest.mark.promise("1")
@given(first=contents, second=contents, confirm=st.sampled_from(Confirm))
@example(first={"a": 1}, second={"b": 1}, confirm=REMOVALS)
@example(first={}, second={"x": 1}, confirm=REMOVALS)
def test_two_reads_agree_or_are_a_failure(
    first: dict[str, int], second: dict[str, int], confirm: Confirm
) -> None:
    """What two agree on is the second, with both in its proof."""
    before, later = complete_area(first), complete_area(second, after_s=12.5)
    result = compared(SAFETY, first_of(before), later, confirm)
    agrees = first == second if confirm == CHANGES else first.keys() == second.keys()
    if not agrees:
        assert isinstance(result, AreaFailure)
        assert (result.kind, result.attempts, result.status) == (FailureKind.UNSTABLE, 2, 200)
        assert result.failed_at == START + timedelta(seconds=12.5)
        return
    assert isinstance(result, CompleteArea)
    assert result.records == later.records
    assert result.proof.first_read == first_of(before).read
    assert result.proof.read_at == START + timedelta(seconds=12.5)
