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
    without,
)
from worker.errors import AreaError, ContractError

pytestmark = pytest.mark.promise("1")

DEEP = b'[{"confidentialityCode":"N","x":' + b"[" * 500 + b"]" * 500 + b"}]"
TOO_DEEP = b"[" * 3000 + b"]" * 3000
GOOD = restriction()

BAD: dict[str, object] = {
    "empty body": b"",
    "white space": b" \r\n ",
    "null": None,
    "true": True,
    "a number": 5,
    "a string": "nothing",
    "an empty object": {},
    "html": b"<html><body>Down for maintenance</body></html>",
    "xml": b"<?xml version='1.0'?><restrictions/>",
    "text": b"OK",
    "cut in the array": orjson.dumps([GOOD, GOOD])[:-40],
    "cut after the array's begin": b"[",
    "cut in a string": b'[{"id": "a',
    "two documents": b"[][]",
    "json lines": b'{"id":1,"cause":"a"}\n{"id":2,"cause":"b"}',
    "trailing comma": b'[{"confidentialityCode": "N",}]',
    "single quotes": b"[{'id': 'a'}]",
    "NaN": b'[{"id": "a", "confidentialityCode": "N", "delayDays": NaN}]',
    "Infinity": b'[{"id": "a", "confidentialityCode": "N", "delayDays": Infinity}]',
    "bad UTF-8": b'[{"id": "\xff\xfe", "confidentialityCode": "N"}]',
    "Latin-1": '[{"id": "\u00f8", "confidentialityCode": "N"}]'.encode("latin-1"),
    "UTF-16": "[]".encode("utf-16"),
    "lone surrogate": b'[{"id": "\\ud800", "confidentialityCode": "N"}]',
    "control character": b'[{"id": "a\x01", "confidentialityCode": "N"}]',
    "deep": DEEP,
    "too deep": TOO_DEEP,
    "gzip": b"\x1f\x8b\x08\x00\x00\x00",
    "field twice": b'[{"id": "a", "confidentialityCode": "N", "id": "b"}]',
    "field twice beside a colon": b'[{"id": "a", "id": "b", "confidentialityCode": "\\u003a"}]',
    "field twice beside a Colon": b'[{"id": "a", "id": "b", "confidentialityCode": "\\u003A"}]',
    "list twice": b'{"items": [{"id": "a", "confidentialityCode": "N"}], "items": []}',
    "field twice, escaped": b'[{"id": "a:", "\\u0069d": "b\\u003a", "confidentialityCode": "N"}]',
    "fields differing in case": [GOOD | {"ID": "other"}],
    "fields differing in case, where a column need not look": [
        GOOD | {"cause": "c", "accessRestriction": [{"cause": "x", "Cause": "y"}]}
    ],
    "very many fields, where a column need not look": [
        GOOD | {"cause": "c", "accessRestriction": [{f"x{n}": n for n in range(1001)}]}
    ],
    "lists differing in case": {"items": [GOOD], "Items": []},
    "error object": {"error": "not available"},
    "error beside an empty list": {"items": [], "error": {"code": "X"}},
    "errors beside an empty list": {"items": [], "errors": ["X"]},
    "errorCode": {"errorCode": "PI-0016", "errorMessage": "blocked"},
    "errorCode beside an empty list": {"items": [], "ErrorCode": "PI-0016"},
    "exception": {"items": [], "exceptionMessage": "x"},
    "fault": {"fault": {"faultstring": "x"}},
    "problem details": {"type": "about:blank", "title": "Error", "status": 500},
    "status beside an empty list": {"items": [], "status": 503},
    "status as text": {"items": [], "statusCode": "503"},
    "status error": {"items": [], "status": "error"},
    "success false": {"items": [], "success": False},
    "not complete": {"items": [], "complete": False},
    "is not complete": {"items": [], "isComplete": False},
    "warnings": {"items": [], "warnings": ["source X did not answer"]},
    "failed sources": {"results": [], "failed": [1]},
    "status partial": {"data": [], "status": "partial"},
    "message beside an empty list": {"items": [], "message": "Temporarily unavailable"},
    "message in Norwegian": {"items": [], "detail": "Tjenesten er utilgjengelig"},
    "operation outcome": {"resourceType": "OperationOutcome", "issue": []},
    "operation outcome beside a list": {"resourceType": "OperationOutcome", "items": []},
    "message": {"message": "try again later"},
    "items null": {"items": None},
    "items an object": {"items": {}},
    "items a string": {"items": "[]"},
    "unknown wrapper, empty": {"sperringer": []},
    "unknown wrapper, unknown items": {"sperringer": [{"a": 1}]},
    "two unknown wrappers": {"a": [restriction(1)], "b": [restriction(2)]},
    "two known wrappers": {"items": [restriction(1)], "data": []},
    "records beside the list": {"items": [], "more": [GOOD]},
    "wrapper within a wrapper": {"data": {"items": [GOOD]}},
    "a list beside a wrapper": {"items": [], "data": {"items": [GOOD]}},
    "a single record": GOOD,
    "a single model record": MODEL,
    "another person": [GOOD | {"offId": OTHER_OFF_ID}],
    "another person, last": [restriction(1), restriction(2, offId=OTHER_OFF_ID)],
    "another person, PascalCase": [without(GOOD, "offId") | {"OffId": OTHER_OFF_ID}],
    "another person, number": [GOOD | {"offId": int(OTHER_OFF_ID)}],
    "another person, nested": [GOOD | {"patientSafetyObject": {"person": {"offId": OTHER_OFF_ID}}}],
    "another person, person": [GOOD | {"person": {"offId": OTHER_OFF_ID}}],
    "another person, patient text": [GOOD | {"patient": OTHER_OFF_ID}],
    "another person around an empty list": {"offId": OTHER_OFF_ID, "items": []},
    "nobody": [GOOD | {"offId": ""}],
    "a person that is a list": [GOOD | {"offId": [OFF_ID]}],
    "a person that is true": [GOOD | {"offId": True}],
    "item null": [GOOD, None],
    "item a string": ["NORU"],
    "item a list": [[GOOD]],
    "item an empty object": [{}],
    "item of another kind": [{"id": "a", "name": "b"}],
    "item of the other area": [SHIELD],
    "fhir bundle": {"resourceType": "Bundle", "entry": [{"resource": GOOD}]},
    "one id, two contents": [restriction(1), restriction(1, cause="Derived")],
    "code is a number": [GOOD | {"confidentialityCode": 3}],
    "code is an object": [GOOD | {"confidentialityCode": {"code": "NORU"}}],
    "days are text": [GOOD | {"delayDays": "14"}],
    "days are a fraction": [GOOD | {"delayDays": 1.5}],
    "days are true": [GOOD | {"delayDays": True}],
    "days too large": [GOOD | {"delayDays": 2**63}],
    "time is a number": [GOOD | {"createdTime": 1772352930}],
    "time is text": [GOOD | {"createdTime": "yesterday"}],
    "time is no day": [GOOD | {"delayDeliveryUntil": "2026-02-30T00:00:00Z"}],
    "object id is text": [GOOD | {"confidentialObjectId": "report-1"}],
    "object value is a number": [GOOD | {"confidentialObjectId": {"type": "a", "value": 1}}],
    "object ids are texts": [
        GOOD | {"confidentialObjectId": "a", "patientSafetyObject": {"confidentialObjectId": "b"}}
    ],
    "rules are an object": [MODEL | {"AccessRestriction": {"ConfidentialityCode": "N"}}],
    "NUL in a text": [GOOD | {"cause": "a\0b"}],
}  # fmt: skip


@pytest.mark.promise("9")
@pytest.mark.parametrize("name", BAD)
def test_bad_answers(name):
    """What is not recognisably a list of this person's restrictions is an error, not a list.

    The error names no value and carries no cause that would: a parser's error holds the body.
    """
    with pytest.raises(ContractError) as caught:
        read(BAD[name])
    reported = repr(caught.value) + caught.value.field
    kept_out = (OFF_ID, OTHER_OFF_ID, "report-1", "maintenance", "None")
    assert not any(text in reported for text in kept_out)
    assert (caught.value.__cause__, caught.value.__suppress_context__) == (None, True) or (
        caught.value.__context__ is None
    )


@pytest.mark.parametrize("name", BAD)
def test_bad_answers_with_a_known_key(name):
    """The same holds once the area's key path is known."""
    with pytest.raises(ContractError):
        read(BAD[name], key_path="id")


@pytest.mark.parametrize(
    "bad_id", [None, "", "  ", [], {}, True, 1.5, "a\0b"], ids=["null", "empty", "blank", "list",
    "object", "true", "fraction", "NUL"],
)  # fmt: skip
def test_a_record_without_its_key(bad_id):
    """Once an area has a key path, a record that lacks it is a failure."""
    with pytest.raises(ContractError, match=r"no record key \(id\) \(at \[1\]\)"):
        read([restriction(1), restriction(2, id=bad_id)], key_path="id")


@pytest.mark.parametrize(
    ("content_type", "message"),
    [
        *((kind, "HTML") for kind in ("text/html", "text/html; charset=utf-8", "TEXT/HTML")),
        ("application/problem+json", "problem"),
    ],
)
def test_refused_by_its_type(content_type, message):
    """An answer that calls itself HTML or a problem is not read, even if it looks like a list."""
    with pytest.raises(ContractError, match=message) as caught:
        read([], headers={"content-type": (content_type,)})
    assert caught.value.field == "content-type"


@pytest.mark.promise("9")
@pytest.mark.parametrize(
    ("document", "field"),
    [
        (b"", "$"),
        (b"[", "$"),
        (TOO_DEEP, "$"),
        (DEEP, "$"),
        (b'[{"id": "a", "id": "b"}]', "$"),
        (5, "$"),
        (GOOD, "$"),
        ({"a": [GOOD], "b": [GOOD]}, "$"),
        ({"items": [GOOD], "data": [GOOD]}, "$"),
        ({"items": [], "Fault": "x"}, "fault"),
        ({"resourceType": "OperationOutcome", "items": []}, "resourcetype"),
        ({"offId": OTHER_OFF_ID, "items": []}, "$.offId"),
        ({"items": [GOOD, None]}, "items[1]"),
        ([GOOD, {"id": "a"}], "[1]"),
        ([GOOD, GOOD | {"offId": OTHER_OFF_ID}], "[1].offId"),
        ([GOOD | {"person": {"offId": [OFF_ID]}}], "[0].person.offId"),
        ({"items": [restriction(1), restriction(1, cause="x")]}, "items[1]"),
        ({"items": [restriction(1), restriction(2, delayDays="x")]}, "items[1].delayDays"),
        ([GOOD | {"confidentialObjectId": "x"}], "[0].confidentialObjectId.type"),
        ([restriction(1), restriction(2, id="x" * 1001)], "[1]"),
    ],
)
def test_errors_name_the_field(document, field):
    """An error tells which field of which item is at fault; ``$`` is the whole answer."""
    with pytest.raises(ContractError) as caught:
        read(document, key_path="id")
    assert field == caught.value.field


@given(body=st.binary(max_size=60))
def test_any_bytes_are_an_error_or_an_empty_list(body):
    """Bytes at random give no record and no other kind of failure."""
    try:
        page = read(body)
    except ContractError:
        return
    assert page.records == ()


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
