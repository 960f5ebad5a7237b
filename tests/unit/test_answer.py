"""What is a list of this person's restrictions, and the many answers that are none."""

from datetime import UTC, datetime
from hashlib import blake2b

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.columns import named
from tests.unit.pts_answers import (
    JSON,
    LEADING_ZERO,
    OFF_ID,
    OTHER_OFF_ID,
    PRIVACY,
    PSEUDONYM,
    SAFETY,
    person,
    read,
    restriction,
    without,
)
from worker.core.answer import read_page
from worker.core.model import Drift
from worker.core.overrides import with_overrides
from worker.core.times import END_OF_TIME
from worker.errors import AreaError, ContractError, DeniedError, RejectedError, TransientError

MODEL = {
    "Id": "11111111-0000-4000-8000-000000000001",
    "CreatedTime": "2026-03-01T08:00:00",
    "ModifiedTime": None,
    "ParentConfidentialAttribute": None,
    "OffId": OFF_ID,
    "ConfidentialObjectId": {"Type": "SvarrapportId", "Value": "report-1"},
    "AccessRestriction": [
        {"Id": "a", "ConfidentialityCode": "NORU", "IsCurrent": False},
        {
            "Id": "b",
            "ConfidentialityCode": "NORN_FFL",
            "DelayDeliveryUntil": "9999-12-31T23:59:59.9999999",
            "IsCurrent": True,
        },
        {"Id": "c", "ConfidentialityCode": "N", "IsCurrent": False},
    ],
}

SHIELD = {
    "id": "22222222-0000-4000-8000-000000000001",
    "privacyType": "Shield",
    "privacyLevel": "Soft",
    "restrictionDomain": "PPS",
    "objectScope": {"type": "All"},
    "subjectScope": {"type": "Specified", "ids": ["9144900"]},
    "timeRanges": [{"from": "2026-01-01T00:00:00Z", "to": "2026-12-31T00:00:00Z"}],
}


def test_a_list():
    """An array of restrictions gives one record each, with its typed columns."""
    page = read([restriction(1), restriction(2)])
    assert (2, "id", frozenset()) == (page.item_count, page.key_path, page.drift)
    assert [restriction(1)["id"], restriction(2)["id"]] == [r.key for r in page.records]
    assert {
        "confidentiality_code": "NORU",
        "cause": "Manual",
        "delay_days": 14,
        "delay_delivery_until": datetime(2026, 3, 31, 22, 0, tzinfo=UTC),
        "delay_is_indefinite": False,
        "object_type": "Svarrapport",
        "object_value": "report-1",
        "parent_object_type": "Rekvisisjon",
        "parent_object_value": "request-1",
        "source_created_at": datetime(2026, 3, 1, 8, 15, 30, 123_456, tzinfo=UTC),
        "source_modified_at": None,
        "created_by": "lab",
    } == named(page.records[0])


def test_an_empty_list():
    """No restriction is an answer too, and keeps the key path that was known."""
    page = read([], key_path="id")
    assert ((), 0, "id") == (page.records, page.item_count, page.key_path)
    assert "" == read([]).key_path


def test_the_information_model():
    """PascalCase and the rule inside the attribute are read as well as camelCase."""
    page = read([MODEL])
    columns = named(page.records[0])
    assert MODEL["Id"] == page.records[0].key
    assert ("NORN_FFL", "SvarrapportId") == (
        columns["confidentiality_code"],
        columns["object_type"],
    )
    assert (END_OF_TIME, True) == (columns["delay_delivery_until"], columns["delay_is_indefinite"])
    assert {
        Drift(field="[].createdTime", kind="naive_time"),
        Drift(field="[].accessRestriction[current].delayDeliveryUntil", kind="naive_time"),
    } == page.drift


def test_the_created_shape():
    """The nested shape of the create call is read too (pts reference, section 1.4)."""
    nested = {
        "patientSafetyObject": {
            "person": {"offId": OFF_ID},
            "confidentialObjectId": {"type": "Rekvisisjon", "value": "a|b\\c"},
        },
        "confidentialityCode": "NORU",
        "delayDays": 14,
    }
    page = read([nested])
    assert "Rekvisisjon|a\\|b\\\\c" == page.records[0].key
    assert "Rekvisisjon" == named(page.records[0])["object_type"]
    assert page.key_path.startswith("patientSafetyObject.confidentialObjectId.type+")


def test_patient_privacy():
    """A shield has its scopes, its first time range, and all ranges as JSON."""
    columns = named(read([SHIELD], area=PRIVACY).records[0], PRIVACY)
    assert ("Shield", "Soft", "PPS", "All", "Specified") == (
        columns["privacy_type"],
        columns["privacy_level"],
        columns["restriction_domain"],
        columns["object_scope"],
        columns["subject_scope"],
    )
    assert datetime(2026, 1, 1, tzinfo=UTC) == columns["restricted_from"]
    assert datetime(2026, 12, 31, tzinfo=UTC) == columns["restricted_to"]
    assert SHIELD["timeRanges"] == orjson.loads(str(columns["time_ranges"]))


@pytest.mark.parametrize("ranges", [[], {"from": "2026-01-01T00:00:00Z"}, None])
def test_other_time_ranges(ranges):
    """None, or one alone, are time ranges as well."""
    columns = named(read([SHIELD | {"timeRanges": ranges}], area=PRIVACY).records[0], PRIVACY)
    assert bool(ranges) == (columns["restricted_from"] is not None)


def test_identifier_is_nowhere():
    """In pseudonym mode neither key, payload nor columns hold the identifier."""
    page = read([restriction(id=f"x-{OFF_ID}", createdBy={"who": int(OFF_ID)}, **{OFF_ID: 1})])
    assert f"x-{PSEUDONYM}" == page.records[0].key
    assert OFF_ID not in repr(page)
    assert PSEUDONYM == orjson.loads(page.records[0].payload)["offId"]


def test_plain_mode():
    """Without a pseudonym everything is kept as received."""
    page = read([restriction()], pseudonym=None)
    assert restriction() == orjson.loads(page.records[0].payload)


@pytest.mark.parametrize("pseudonym", [PSEUDONYM, None])
@pytest.mark.parametrize("names", [(), ("offId",)], ids=["with", "without identifier"])
def test_payload_is_canonical(pseudonym, names):
    """The order of fields and the white space do not make a record a changed one."""
    document = without(restriction(), *names)
    turned = dict(reversed(document.items()))
    spaced = orjson.dumps([turned], option=orjson.OPT_INDENT_2)
    first, second = (read(answer, pseudonym=pseudonym) for answer in ([document], spaced))
    assert first.records == second.records


def test_unknown_fields_are_kept():
    """A new field stands in the payload and is reported by name."""
    page = read([restriction(newField={"a": 1})])
    assert {"a": 1} == orjson.loads(page.records[0].payload)["newField"]
    assert {Drift(field="[].newField", kind="unknown_field")} == page.drift


def test_fields_of_a_declared_key_are_known():
    """What a key is made of is no drift, though no column reads it."""
    area = with_overrides(SAFETY, {"record_key": "caseId+part.number"})
    document = without(restriction(caseId="c", part={"number": 7}), "id")
    page = read([document], area=area)
    assert ("c|7", frozenset()) == (page.records[0].key, page.drift)


def test_unknown_field_of_a_personal_name():
    """A field name that could be personal is not reported as it stands."""
    assert {Drift(field="[].?", kind="unknown_field")} == read([restriction(**{OFF_ID: 1})]).drift


def test_volatile_fields():
    """A volatile field is kept, but does not change the hash or the digest key."""
    area = with_overrides(SAFETY, {"volatile": ["readAt"], "record_key": "digest"})
    first = read([restriction(readAt="a")], area=area).records[0]
    second = read([restriction(readAt="b")], area=area).records[0]
    assert (first.key, first.content_hash) == (second.key, second.content_hash)
    assert first.payload != second.payload
    third = read([restriction(readAt="b", cause="Derived")], area=area).records[0]
    assert second.key != third.key
    assert second.content_hash != third.content_hash


def test_volatile_fields_within_others():
    """A volatile field may stand inside an object, in either case, or not be there at all."""
    area = with_overrides(SAFETY, {"volatile": ["meta.answer.readAt"]})
    documents = [
        restriction(meta={"answer": {"readAt": "a"}}),
        restriction(meta={"HttpResponse": {"ReadAt": "b"}}),
        restriction(meta={"answer": {}}),
        restriction(meta={"answer": "x"}),
        restriction(),
    ]
    hashes = [read([each], area=area).records[0].content_hash for each in documents]
    assert hashes[0] == hashes[2]
    assert 4 == len(set(hashes))


def test_a_delay_that_is_not_there_is_not_indefinite_either():
    """Without a time nothing is said of it; the year 9999 is one without an end."""
    for until, expected in ((None, None), ("2026-01-01", False), ("9999-12-31", True)):
        columns = named(read([restriction(delayDeliveryUntil=until)]).records[0])
        assert expected is columns["delay_is_indefinite"]


def test_the_longest_key():
    """A key may have a thousand bytes, and not one more."""
    assert 1000 == len(read([restriction(id="x" * 1000)]).records[0].key)
    with pytest.raises(ContractError, match="more than 1000 bytes"):
        read([restriction(id="x" * 1001)])


def test_digest_key():
    """Where nothing else serves, a record is known by its digest, of this person, and reported."""
    bare = without(restriction(), "id", "offId", "confidentialObjectId")
    page = read([bare, bare | {"cause": "Derived"}])
    assert ("digest", True) == (page.key_path, Drift(field="[]", kind="digest_key") in page.drift)
    assert 2 == len({record.key for record in page.records})
    other = read_page(
        200, JSON, orjson.dumps([bare]), area=SAFETY, person=person(OTHER_OFF_ID, "other")
    )
    assert page.records[0].key != other.records[0].key


def test_what_stores_hold_is_known_again():
    """Other hashes or keys in a new version would close and open every restriction that there is.

    The values are those that BLAKE2b gives for the payload, and for payload, NUL and person.
    """
    area = with_overrides(SAFETY, {"record_key": "digest"})
    record = read([restriction()], area=area).records[0]
    payload = record.payload.encode()
    of_person = payload + b"\0" + PSEUDONYM.encode()
    assert blake2b(payload, digest_size=16).digest() == record.content_hash
    assert blake2b(of_person, digest_size=16).hexdigest() == record.key


def test_key_path_that_serves_for_all():
    """Before an area has a key path, the first that all records have is taken."""
    page = read([restriction(1), without(restriction(2), "id")])
    assert "confidentialObjectId.type+confidentialObjectId.value" == page.key_path


def test_numeric_id():
    """An id may be a number."""
    assert "7" == read([restriction(id=7)]).records[0].key


def test_the_first_place_with_a_value_serves():
    """Null in one place does not hide what stands in another."""
    record = read([restriction(cause=None, patientSafetyObject={"cause": "Derived"})]).records[0]
    assert "Derived" == named(record)["cause"]


def test_exact_duplicates():
    """A record that stands twice is one record, counted twice, and reported."""
    page = read([restriction(), restriction()])
    assert (1, 2) == (len(page.records), page.item_count)
    assert {Drift(field="[]", kind="duplicate")} == page.drift


@pytest.mark.parametrize(
    "off_id_as",
    [LEADING_ZERO, int(LEADING_ZERO), f" {LEADING_ZERO} ", None],
)
def test_the_person_asked_for(off_id_as):
    """The identifier may be a string, a number that lost its zero, or absent."""
    page = read([restriction(offId=off_id_as)], off_id=LEADING_ZERO)
    assert 1 == page.item_count
    assert LEADING_ZERO not in page.records[0].payload


@pytest.mark.parametrize(
    "name",
    [
        "items",
        "Items",
        "value",
        "results",
        "data",
        "entries",
        "records",
        "content",
        "restrictions",
        "accessRestrictions",
        "result",
        "values",
        "entry",
    ],
)
def test_wrapped_lists(name):
    """The list may stand in an object under a usual name, in either case."""
    page = read({name: [restriction()], "requestId": "x"})
    assert (1, {"requestId": "x"}) == (page.item_count, page.envelope)
    assert 0 == read({name: []}).item_count


def test_unknown_wrapper():
    """A list under a new name counts if it holds records, and is reported."""
    page = read({"sperringer": [restriction()], "Links": [{"rel": "self"}], "total": 1})
    assert {Drift(field="sperringer", kind="unknown_envelope")} == page.drift
    assert {"Links": [{"rel": "self"}], "total": 1} == page.envelope
    with pytest.raises(ContractError) as caught:
        read({"sperringer": [restriction(delayDays="x")]})
    assert "sperringer[0].delayDays" == caught.value.field


def test_declared_wrapper():
    """A declared envelope is looked for where it was declared."""
    area = with_overrides(SAFETY, {"envelope": "answer.list"})
    page = read({"answer": {"list": [restriction()], "total": 1}}, area=area)
    assert (1, 1) == (page.item_count, page.envelope["total"])
    outer = read({"answer": {"list": [restriction()]}, "total": 2}, area=area)
    assert (1, 2) == (outer.item_count, outer.envelope["total"])


def test_declared_wrapper_far_inside():
    """However deep the list stands, what stands beside it counts for the paging."""
    area = with_overrides(SAFETY, {"envelope": "a.b.list"})
    page = read({"a": {"b": {"list": [restriction()], "total": 3}, "total": 2}}, area=area)
    assert (1, 3) == (page.item_count, page.envelope["total"])
    area = with_overrides(SAFETY, {"envelope": "lists[1]"})
    page = read({"lists": [[], [restriction()]], "total": 4}, area=area)
    assert (1, 4) == (page.item_count, page.envelope["total"])


def test_declared_wrapper_that_is_not_there():
    """Where the declared list is missing, or something else, the error names its path."""
    area = with_overrides(SAFETY, {"envelope": "answer.list"})
    documents: list[object] = [{"answer": {}}, {"answer": {"list": {}}}, {"items": []}]
    for document in documents:
        with pytest.raises(ContractError, match="no list") as caught:
            read(document, area=area)
        assert "answer.list" == caught.value.field
    with pytest.raises(ContractError) as caught:
        read({"answer": {"list": [restriction(delayDays="x")]}}, area=area)
    assert "answer.list[0].delayDays" == caught.value.field


def test_harmless_error_fields():
    """Fields for errors that are empty, and a status of success, are no error."""
    answer: dict[str, object] = {
        "items": [],
        "errors": [],
        "error": None,
        "errorCode": 0,
        "success": True,
    }
    assert 0 == read(answer | {"status": 200}).item_count


def test_byte_order_mark():
    """A UTF-8 byte order mark is tolerated."""
    assert 0 == read(b"\xef\xbb\xbf[]").item_count


def test_colons_in_escapes():
    """Colons in strings, escaped or not, are not taken for fields that stand twice."""
    body = orjson.dumps([restriction(cause="a: b: c \\u003a")])
    assert 1 == read(body.replace(b"a: b", b"a\\u003a b")).item_count


def test_404_as_declared():
    """404 is an empty area only where it was declared so, and never as a web page."""
    empty = with_overrides(SAFETY, {"not_found_means": "empty"})
    for key_path in ("id", None):
        page = read(b"", status=404, area=empty, key_path=key_path)
        assert ((), 0, key_path or "") == (page.records, page.item_count, page.key_path)
    with pytest.raises(RejectedError) as caught:
        read(b"", status=404)
    assert (404, True) == (caught.value.status, "not_found_means" in caught.value.hint)
    with pytest.raises(RejectedError):
        read(b"", status=404, area=empty, headers={"content-type": ("text/html",)})


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, RejectedError),
        (401, DeniedError),
        (403, DeniedError),
        (409, RejectedError),
        (429, TransientError),
        (500, TransientError),
        (503, TransientError),
        (201, ContractError),
        (202, ContractError),
        (203, ContractError),
        (204, ContractError),
        (206, ContractError),
        (301, ContractError),
        (302, ContractError),
        (304, ContractError),
        (307, ContractError),
    ],
)
def test_other_statuses(status, kind):
    """Whatever body comes with it, another status than 200 gives no record, but an error."""
    with pytest.raises(kind, match=f"status {status}") as caught:
        read([restriction()], status=status)
    assert (kind, status) == (type(caught.value), caught.value.status)
    assert (300 <= status < 400) == ("redirect" in str(caught.value))


@pytest.mark.parametrize(
    "told",
    [
        {"status": 400},
        {"statusCode": "500"},
        {"httpStatus": "503"},
        {"status": "Error"},
        {"status": "failed"},
        {"code": "FAILURE"},
        {"status": "fail"},
        {"Ok": False},
    ],
)
def test_failures_reported_with_status_200(told):
    """A body that tells of a failure is one, whatever list it holds."""
    with pytest.raises(ContractError, match="an error reported with status 200") as caught:
        read({"items": [], **told})
    assert next(iter(told)).lower() == caught.value.field


@pytest.mark.parametrize(
    ("told", "field"),
    [
        ({"timed_out": True}, "timedout"),
        ({"has_errors": "true"}, "haserrors"),
        ({"is_success": False}, "issuccess"),
        ({"success": "false"}, "success"),
        ({"succeeded": 0}, "succeeded"),
        ({"status_code": 503}, "statuscode"),
        ({"validation_errors": ["x"]}, "validationerrors"),
        ({"@error": {"code": "x"}}, "error"),
        ({"odata.error": {"code": "x"}}, "odataerror"),
        ({"_shards": {"total": 5, "failed": 1}}, "shards.failed"),
        ({"meta": {"error": "x"}}, "meta.error"),
        ({"metadata": {"errors": ["x"]}}, "metadata.errors"),
        ({"outcome": "error"}, "outcome"),
        ({"resultCode": "ERROR"}, "resultcode"),
        ({"feilmelding": "x"}, "feilmelding"),
        ({"degraded": True}, "degraded"),
    ],
    ids=str,
)
def test_failures_in_other_spellings(told, field):
    """Letter case, underscores and prefixes do not matter, nor does an object about the request."""
    with pytest.raises(ContractError, match="an error reported with status 200") as caught:
        read({"items": [], **told})
    assert field == caught.value.field


@pytest.mark.parametrize(
    "said",
    [{"message": "Ingen feil"}, {"warnings": ["old"]}, {"meta": {"status": "partial"}}, {"ok": 0}],
    ids=str,
)
def test_what_is_declared_to_be_no_failure(said):
    """A harmless word on every answer must not end every night, so there is a key for it."""
    with pytest.raises(ContractError, match="if it is none, add it to areas"):
        read({"items": [], **said})
    names = [*said, "status"]
    ignoring = with_overrides(SAFETY, {"paging": {"ignore": names}})
    assert () == read({"items": [], **said}, area=ignoring).records


@pytest.mark.parametrize(
    "told",
    [{"errors": "0"}, {"warnings": "no"}, {"has_errors": "false"}, {"_shards": {"failed": 0}}],
    ids=str,
)
def test_failures_that_did_not_happen(told):
    """A negative value says that all is well."""
    assert () == read({"items": [], **told}).records


@pytest.mark.parametrize(
    "told",
    [
        {"status": 399},
        {"status": "200"},
        {"code": "N"},
        {"ok": None},
        {"resourceType": "Bundle"},
        {"note": "OperationOutcome"},
        {"complete": True},
        {"warnings": []},
        {"failed": 0},
        {"message": "No restrictions"},
        {"status": "complete"},
    ],
)
def test_successes_told_in_the_body(told):
    """A status below 400, and words that tell of no failure, are none."""
    assert 0 == read({"items": [], **told}).item_count


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


@pytest.mark.parametrize("name", BAD)
def test_bad_answers(name):
    """What is not recognisably a list of this person's restrictions is an error, not a list.

    The error names no value and carries no cause that would: a parser's error holds the body.
    """
    with pytest.raises(ContractError) as caught:
        read(BAD[name])
    told = repr(caught.value) + caught.value.field
    kept_out = (OFF_ID, OTHER_OFF_ID, "report-1", "maintenance", "None")
    assert not any(text in told for text in kept_out)
    assert (None, True) == (caught.value.__cause__, caught.value.__suppress_context__) or (
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


@pytest.mark.parametrize("content_type", ["text/html", "text/html; charset=utf-8", "TEXT/HTML"])
def test_html_by_its_type(content_type):
    """An answer that calls itself HTML is not read, even if it looks like a list."""
    with pytest.raises(ContractError, match="HTML") as caught:
        read([], headers={"content-type": (content_type,)})
    assert "content-type" == caught.value.field


def test_problem_by_its_type():
    """A problem report is one by its type alone."""
    with pytest.raises(ContractError, match="problem") as caught:
        read([], headers={"content-type": ("application/problem+json",)})
    assert "content-type" == caught.value.field


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
    assert () == page.records


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
