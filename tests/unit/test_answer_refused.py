"""Answers that are no list of this person's restrictions."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.pts_answers import (
    MODEL,
    OFF_ID,
    OTHER_OFF_ID,
    SHIELD,
    read,
    restriction,
)
from worker.errors import AreaError, ContractError

pytestmark = pytest.mark.promise("1")

DEEP = b'[{"confidentialityCode":"N","x":' + b"[" * 500 + b"]" * 500 + b"}]"
TOO_DEEP = b"[" * 3000 + b"]" * 3000
GOOD = restriction()

BAD: dict[str, object] = {
    "empty body": b"",
    "null": None,
    "a number": 5,
    "a string": "nothing",
    "html": b"<html><body>Down for maintenance</body></html>",
    "cut in the array": orjson.dumps([GOOD, GOOD])[:-40],
    "cut in a string": b'[{"id": "a',
    "two documents": b"[][]",
    "trailing comma": b'[{"confidentialityCode": "N",}]',
    "NaN": b'[{"id": "a", "confidentialityCode": "N", "delayDays": NaN}]',
    "bad UTF-8": b'[{"id": "\xff\xfe", "confidentialityCode": "N"}]',
    "deep": DEEP,
    "too deep": TOO_DEEP,
    "field twice": b'[{"id": "a", "confidentialityCode": "N", "id": "b"}]',
    "list twice": b'{"items": [{"id": "a", "confidentialityCode": "N"}], "items": []}',
    "fields differing in case": [GOOD | {"ID": "other"}],
    "fields differing in case, where a column need not look": [
        GOOD | {"cause": "c", "accessRestriction": [{"cause": "x", "Cause": "y"}]}
    ],
    "lists differing in case": {"items": [GOOD], "Items": []},
    "error object": {"error": "not available"},
    "error beside an empty list": {"items": [], "error": {"code": "X"}},
    "errorCode beside an empty list": {"items": [], "ErrorCode": "PI-0016"},
    "problem details": {"type": "about:blank", "title": "Error", "status": 500},
    "status error": {"items": [], "status": "error"},
    "not complete": {"items": [], "complete": False},
    "warnings": {"items": [], "warnings": ["source X did not answer"]},
    "status partial": {"data": [], "status": "partial"},
    "message beside an empty list": {"items": [], "message": "Temporarily unavailable"},
    "operation outcome beside a list": {"resourceType": "OperationOutcome", "items": []},
    "items null": {"items": None},
    "unknown wrapper, empty": {"sperringer": []},
    "two unknown wrappers": {"a": [restriction(1)], "b": [restriction(2)]},
    "records beside the list": {"items": [], "more": [GOOD]},
    "a list beside a wrapper": {"items": [], "data": {"items": [GOOD]}},
    "a single record": GOOD,
    "another person": [GOOD | {"offId": OTHER_OFF_ID}],
    "another person, number": [GOOD | {"offId": int(OTHER_OFF_ID)}],
    "another person, nested": [GOOD | {"patientSafetyObject": {"person": {"offId": OTHER_OFF_ID}}}],
    "another person, patient text": [GOOD | {"patient": OTHER_OFF_ID}],
    "another person around an empty list": {"offId": OTHER_OFF_ID, "items": []},
    "nobody": [GOOD | {"offId": ""}],
    "a person that is a list": [GOOD | {"offId": [OFF_ID]}],
    "a person that is true": [GOOD | {"offId": True}],
    "item null": [GOOD, None],
    "item of another kind": [{"id": "a", "name": "b"}],
    "item of the other area": [SHIELD],
    "fhir bundle": {"resourceType": "Bundle", "entry": [{"resource": GOOD}]},
    "one id, two contents": [restriction(1), restriction(1, cause="Derived")],
    "code is a number": [GOOD | {"confidentialityCode": 3}],
    "days are text": [GOOD | {"delayDays": "14"}],
    "time is a number": [GOOD | {"createdTime": 1772352930}],
    "time is no day": [GOOD | {"delayDeliveryUntil": "2026-02-30T00:00:00Z"}],
    "object id is text": [GOOD | {"confidentialObjectId": "report-1"}],
    "rules are an object": [MODEL | {"AccessRestriction": {"ConfidentialityCode": "N"}}],
    "NUL in a text": [GOOD | {"cause": "a\0b"}],
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_answers(name):
    """What is not recognisably a list of this person's restrictions is an error, not a list.

    Also once the area's key path is known. The error names no value and carries no cause that
    would: a parser's error holds the body.
    """
    for key_path in (None, "id"):
        with pytest.raises(ContractError) as caught:
            read(BAD[name], key_path=key_path)
        reported = repr(caught.value) + caught.value.field
        kept_out = (OFF_ID, OTHER_OFF_ID, "report-1", "maintenance", "None")
        assert [text for text in kept_out if text in reported] == []
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize("bad_id", [None, "", "  ", [], True, 1.5, "a\0b"], ids=repr)
def test_a_record_without_its_key(bad_id):
    """Once an area has a key path, a record that lacks it is a failure."""
    with pytest.raises(ContractError, match=r"no record key \(id\) \(at \[1\]\)"):
        read([restriction(1), restriction(2, id=bad_id)], key_path="id")


@pytest.mark.parametrize(
    ("content_type", "message"),
    [("TEXT/HTML; charset=utf-8", "HTML"), ("application/problem+json", "problem")],
)
def test_refused_by_its_type(content_type, message):
    """An answer that calls itself HTML or a problem is not read, even if it looks like a list."""
    with pytest.raises(ContractError, match=message) as caught:
        read([], headers={"content-type": (content_type,)})
    assert caught.value.field == "content-type"


@pytest.mark.parametrize(
    ("document", "field"),
    [
        (b"", "$"),
        (GOOD, "$"),
        ({"items": [GOOD], "data": [GOOD]}, "$"),
        ({"items": [], "Fault": "x"}, "fault"),
        ({"offId": OTHER_OFF_ID, "items": []}, "$.offId"),
        ({"items": [GOOD, None]}, "items[1]"),
        ([GOOD, {"id": "a"}], "[1]"),
        ([GOOD, GOOD | {"offId": OTHER_OFF_ID}], "[1].offId"),
        ({"items": [restriction(1), restriction(1, cause="x")]}, "items[1]"),
        ({"items": [restriction(1), restriction(2, delayDays="x")]}, "items[1].delayDays"),
        ([GOOD | {"confidentialObjectId": "x"}], "[0].confidentialObjectId.type"),
    ],
)
def test_errors_name_the_field(document, field):
    """An error tells which field of which item is at fault; ``$`` is the whole answer."""
    with pytest.raises(ContractError) as caught:
        read(document, key_path="id")
    assert caught.value.field == field


DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["id", "offId", "items", "confidentialityCode", "delayDays", "x", "error"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=15,
)


@given(document=DOCUMENTS)
def test_any_document_is_read_completely_or_refused(document):
    """A document gives a page with all its items, or an error of the area."""
    try:
        page = read(document)
    except AreaError:
        return
    items = document if isinstance(document, list) else next(
        value for value in document.values() if isinstance(value, list)
    )  # fmt: skip
    assert len(items) >= page.item_count >= len(page.records)


@given(cut=st.integers(1, 700))
def test_a_truncated_answer_is_refused(cut):
    """An answer that lacks its end is never taken for a shorter one."""
    body = orjson.dumps({"items": [restriction(1), restriction(2)], "total": 2})
    with pytest.raises(ContractError):
        read(body[: -min(cut, len(body))])
