"""A list of this person's restrictions, and what is made of it."""

from datetime import UTC, datetime
from hashlib import blake2b

import orjson
import pytest

from tests.support.columns import named
from tests.support.pts_answers import (
    JSON,
    LEADING_ZERO,
    MODEL,
    OFF_ID,
    OTHER_OFF_ID,
    PRIVACY,
    PSEUDONYM,
    SAFETY,
    SHIELD,
    person,
    read,
    restriction,
    without,
)
from worker.core.answer import read_page
from worker.core.model import Drift
from worker.core.overrides import with_overrides
from worker.core.times import END_OF_TIME
from worker.errors import ContractError


def test_a_list():
    """An array of restrictions gives one record each, with its typed columns."""
    page = read([restriction(1), restriction(2)])
    assert (page.item_count, page.key_path, page.drift) == (2, "id", frozenset())
    assert [r.key for r in page.records] == [restriction(1)["id"], restriction(2)["id"]]
    assert named(page.records[0]) == {
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
    }


def test_an_empty_list():
    """No restriction is an answer too, and keeps the key path that was known."""
    page = read([], key_path="id")
    assert (page.records, page.item_count, page.key_path) == ((), 0, "id")
    assert read([]).key_path == ""


def test_the_information_model():
    """PascalCase and the rule inside the attribute are read as well as camelCase."""
    page = read([MODEL])
    columns = named(page.records[0])
    assert page.records[0].key == MODEL["Id"]
    assert (columns["confidentiality_code"], columns["object_type"]) == (
        "NORN_FFL",
        "SvarrapportId",
    )
    assert (columns["delay_delivery_until"], columns["delay_is_indefinite"]) == (END_OF_TIME, True)
    bare = named(read([restriction(delayDeliveryUntil=None)]).records[0])
    assert bare["delay_is_indefinite"] is None, "of a delay that is not there nothing is said"
    assert page.drift == {
        Drift(field="[].createdTime", kind="naive_time"),
        Drift(field="[].accessRestriction[current].delayDeliveryUntil", kind="naive_time"),
    }


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
    assert page.records[0].key == "Rekvisisjon|a\\|b\\\\c"
    assert named(page.records[0])["object_type"] == "Rekvisisjon"
    assert page.key_path.startswith("patientSafetyObject.confidentialObjectId.type+")


def test_patient_privacy():
    """A shield has its scopes, its first time range, and all ranges as JSON."""
    columns = named(read([SHIELD], area=PRIVACY).records[0], PRIVACY)
    assert orjson.loads(str(columns["time_ranges"])) == SHIELD["timeRanges"]
    expected = {
        "privacy_type": "Shield",
        "privacy_level": "Soft",
        "restriction_domain": "PPS",
        "object_scope": "All",
        "subject_scope": "Specified",
        "restricted_from": datetime(2026, 1, 1, tzinfo=UTC),
        "restricted_to": datetime(2026, 12, 31, tzinfo=UTC),
    }
    assert {name: columns[name] for name in expected} == expected


@pytest.mark.promise("8")
def test_identifier_is_nowhere():
    """In pseudonym mode neither key, payload nor columns hold the identifier."""
    page = read([restriction(id=f"x-{OFF_ID}", createdBy={"who": int(OFF_ID)}, **{OFF_ID: 1})])
    assert page.records[0].key == f"x-{PSEUDONYM}"
    assert OFF_ID not in repr(page)
    assert orjson.loads(page.records[0].payload)["offId"] == PSEUDONYM


@pytest.mark.parametrize("pseudonym", [PSEUDONYM, None])
def test_payload_is_canonical(pseudonym):
    """The order of fields and the white space do not make a record a changed one."""
    document = restriction(id=7)
    turned = dict(reversed(document.items()))
    spaced = orjson.dumps([turned], option=orjson.OPT_INDENT_2)
    first, second = (read(answer, pseudonym=pseudonym) for answer in ([document], spaced))
    assert first.records == second.records
    assert first.records[0].key == "7"
    if pseudonym is None:
        assert orjson.loads(first.records[0].payload) == document, "kept as received"


@pytest.mark.promise("9")
def test_unknown_fields_are_kept():
    """A new field stands in the payload and is reported by name, unless that could be personal."""
    page = read([restriction(newField={"a": 1}, **{OFF_ID: 1})])
    assert orjson.loads(page.records[0].payload)["newField"] == {"a": 1}
    assert page.drift == {
        Drift(field=f"[].{name}", kind="unknown_field") for name in ("newField", "?")
    }


def test_volatile_fields():
    """A volatile field is kept, but does not change the hash or the digest key."""
    area = with_overrides(SAFETY, {"volatile": ["readAt", "meta.at"], "record_key": "digest"})
    first = read([restriction(readAt="a", meta={"at": 1})], area=area).records[0]
    second = read([restriction(readAt="b", meta={"At": 2})], area=area).records[0]
    assert (first.key, first.content_hash) == (second.key, second.content_hash)
    assert first.payload != second.payload
    changed = restriction(readAt="b", meta={"At": 2}, cause="Derived")
    third = read([changed], area=area).records[0]
    assert second.key != third.key
    assert second.content_hash != third.content_hash


def test_digest_key():
    """Where nothing else serves, a record is known by its digest, of this person, and reported."""
    bare = without(restriction(), "id", "offId", "confidentialObjectId")
    page = read([bare, bare | {"cause": "Derived"}])
    assert (page.key_path, Drift(field="[]", kind="digest_key") in page.drift) == ("digest", True)
    assert len({record.key for record in page.records}) == 2
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
    assert record.content_hash == blake2b(payload, digest_size=16).digest()
    assert record.key == blake2b(of_person, digest_size=16).hexdigest()


def test_key_path_that_serves_for_all():
    """Before an area has a key path, the first that all records have is taken."""
    page = read([restriction(1), without(restriction(2), "id")])
    assert page.key_path == "confidentialObjectId.type+confidentialObjectId.value"


def test_exact_duplicates():
    """A record that stands twice is one record, counted twice, and reported."""
    page = read([restriction(), restriction()])
    assert (len(page.records), page.item_count) == (1, 2)
    assert page.drift == {Drift(field="[]", kind="duplicate")}


@pytest.mark.parametrize(
    "off_id_as",
    [LEADING_ZERO, int(LEADING_ZERO), f" {LEADING_ZERO} ", None],
)
def test_the_person_asked_for(off_id_as):
    """The identifier may be a string, a number that lost its zero, or absent."""
    page = read([restriction(offId=off_id_as)], off_id=LEADING_ZERO)
    assert page.item_count == 1
    assert LEADING_ZERO not in page.records[0].payload


@pytest.mark.parametrize(
    "name",
    ["items", "Items", "value", "results", "data", "entry", "accessRestrictions"],
)
def test_wrapped_lists(name):
    """The list may stand in an object under a usual name, in either case."""
    page = read({name: [restriction()], "requestId": "x"})
    assert (page.item_count, page.envelope) == (1, {"requestId": "x"})
    assert read({name: []}).item_count == 0


def test_unknown_wrapper():
    """A list under a new name counts if it holds records, and is reported."""
    page = read({"sperringer": [restriction()], "Links": [{"rel": "self"}], "total": 1})
    assert page.drift == {Drift(field="sperringer", kind="unknown_envelope")}
    assert page.envelope == {"Links": [{"rel": "self"}], "total": 1}
    with pytest.raises(ContractError) as caught:
        read({"sperringer": [restriction(delayDays="x")]})
    assert caught.value.field == "sperringer[0].delayDays"


@pytest.mark.parametrize(
    ("envelope", "document", "total"),
    [
        ("answer.list", {"answer": {"list": [restriction()], "total": 1}}, 1),
        ("answer.list", {"answer": {"list": [restriction()]}, "total": 2}, 2),
        ("a.b.list", {"a": {"b": {"list": [restriction()], "total": 3}, "total": 2}}, 3),
        ("lists[1]", {"lists": [[], [restriction()]], "total": 4}, 4),
    ],
)
def test_declared_wrapper(envelope, document, total):
    """A declared list is looked for there, and what stands beside it counts for the paging."""
    page = read(document, area=with_overrides(SAFETY, {"envelope": envelope}))
    assert (page.item_count, page.envelope["total"]) == (1, total)


def test_declared_wrapper_that_is_not_there():
    """Where the declared list is missing, or something else, the error names its path."""
    area = with_overrides(SAFETY, {"envelope": "answer.list"})
    documents: list[object] = [{"answer": {}}, {"answer": {"list": {}}}, {"items": []}]
    for document in documents:
        with pytest.raises(ContractError, match="no list") as caught:
            read(document, area=area)
        assert caught.value.field == "answer.list"
    with pytest.raises(ContractError) as caught:
        read({"answer": {"list": [restriction(delayDays="x")]}}, area=area)
    assert caught.value.field == "answer.list[0].delayDays"


def test_byte_order_mark():
    """A UTF-8 byte order mark is tolerated."""
    assert read(b"\xef\xbb\xbf[]").item_count == 0
