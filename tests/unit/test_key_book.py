"""One record key path for each area, as long as a store lasts."""

from datetime import UTC, datetime

from worker.core.model import AreaFailure, CompleteArea, FailureKind, Proof
from worker.sync.record_keys import KeyBook

AT = datetime(2026, 11, 26, 2, 30, 17, tzinfo=UTC)


def read(key_path, area="patient-safety"):
    """A whole answer whose records have this path; none has none."""
    proof = Proof(pages=1, record_count=1, digest=bytes(16), read_at=AT, key_path=key_path)
    return CompleteArea(area=area, records=(), proof=proof)


def test_the_first_path_stays():
    """Also after answers without records, and each area has its own."""
    book = KeyBook({})
    assert book.path("patient-safety") is None
    reads = [read(""), read("id"), read(""), read("digest", "patient-privacy"), read("id")]
    assert reads == [book.admit(one) for one in reads]
    assert (book.path("patient-safety"), book.path("patient-privacy")) == ("id", "digest")


def test_another_path_is_a_failure_of_the_area():
    """Whether the first was seen in this run or in an earlier one; nothing is taken for removed."""
    for book in (KeyBook({"patient-safety": "id"}), KeyBook({})):
        book.admit(read("id"))
        failed = book.admit(read("digest"))
        assert isinstance(failed, AreaFailure)
        assert (
            failed.kind,
            failed.area,
            failed.failed_at,
        ) == (FailureKind.CONTRACT, "patient-safety", AT)
        assert "keyed by digest, the area has used id" in failed.reason
        assert book.path("patient-safety") == "id"
