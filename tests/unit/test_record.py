"""What of a record is kept, and what makes it no record."""

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.support.pts_answers import (
    AREAS,
    OFF_ID,
    OTHER_OFF_ID,
    SAFETY,
    contract,
    person,
    read,
    restriction,
    without,
)
from worker.core.answer import check_person
from worker.core.model import Record
from worker.core.record import RecordReader
from worker.core.times import END_OF_TIME
from worker.errors import ContractError

SHIELD = {
    "id": "22222222-0000-4000-8000-000000000001",
    "patientPrivacyObject": {"person": {"offId": OFF_ID}},
    "privacyType": "Shield",
    "privacyLevel": "Soft",
    "restrictionDomain": "PPS",
    "objectScope": {"type": "All"},
    "subjectScope": {"type": "Specified", "ids": ["9144900"]},
    "timeRanges": [{"from": "2026-01-01T00:00:00Z", "to": "2026-12-31T00:00:00Z"}],
}


def columns_of(record: Record, area: str = "patient-safety") -> dict[str, Any]:
    """The columns of a record that have a value, by name."""
    names = (column.name for column in AREAS[area].columns)
    pairs = zip(names, record.columns, strict=True)
    return {name: value for name, value in pairs if value is not None}


def test_declared_fields_are_kept_and_nothing_else():
    """What else the record holds is named and counted."""
    page = read(
        restriction(1, note="of Kari", zip=[{"a": 1}, {"a": 2}]), restriction(2, note="more")
    )
    (record, _) = page.records
    assert columns_of(record) == {
        "confidentiality_code": "NORU",
        "cause": "Manual",
        "delay_days": 14,
        "delay_delivery_until": datetime(2026, 3, 31, 22, tzinfo=UTC),
        "delay_is_indefinite": False,
        "object_type": "Svarrapport",
        "object_value": "report-1",
        "parent_object_type": "Rekvisisjon",
        "parent_object_value": "request-1",
        "source_created_at": datetime(2026, 3, 1, 8, 15, 30, 123456, tzinfo=UTC),
        "created_by": '{"organisation":"999999999","role":"Doctor"}',
    }
    assert (record.extra, page.drift) == (None, {"note": 2, "zip[].a": 1})


def test_the_information_models_shape():
    """Only the rule that is current counts."""
    rules = [
        {"confidentialityCode": "NORU", "isCurrent": False},
        {
            "confidentialityCode": "NORN_FFL",
            "delayDeliveryUntil": "9999-12-31T23:59:59.9999999",
            "isCurrent": True,
        },
    ]
    person = {"patientSafetyObject": {"person": {"offId": OFF_ID}}}
    document = {"id": "a", "accessRestriction": rules, **person}
    (record,) = read(document).records
    assert columns_of(record) == {
        "confidentiality_code": "NORN_FFL",
        "delay_delivery_until": END_OF_TIME,
        "delay_is_indefinite": True,
    }
    for wrong in ([], rules[:1], [*rules, rules[1]]):
        with pytest.raises(ContractError, match="elements match, not exactly one"):
            read({**document, "accessRestriction": wrong})


def test_lists_and_objects_by_their_leaves():
    """A list of objects, of which only what is declared is kept."""
    shield = {
        **SHIELD,
        "timeRanges": [
            {"from": "2026-01-01T00:00:00Z", "to": "2026-12-31T00:00:00Z", "note": "x"},
            {},
        ],
    }
    page = read(shield, area="patient-privacy")
    columns = columns_of(page.records[0], "patient-privacy")
    assert columns["time_ranges"] == (
        '[{"from":"2026-01-01T00:00:00Z","to":"2026-12-31T00:00:00Z"},{}]'
    )
    assert page.drift == {"subjectScope.ids[]": 1, "timeRanges[].note": 1}


def test_extra():
    """Further fields, by the name that the contract gives them, as JSON; "" is no value."""
    declared = contract(extra={"b": ["y", "x.b"], "a": "a", "none": "none", "o": {"c": "o.c"}})
    document = restriction(1, x={"b": 1.5}, y="", none="", a=True, o={"c": "d", "e": 1})
    (record,) = read(document, declared=declared).records
    assert record.extra == '{"a":true,"b":1.5,"o":{"c":"d"}}'


def test_values():
    """What PTS sends and what is stored: .NET sends enums as numbers by default."""
    declared = contract(values={"confidentiality_code": {"1": "NORU"}, "cause": {"true": "Manual"}})
    (record,) = read(restriction(1, confidentialityCode=1, cause=True), declared=declared).records
    columns = columns_of(record)
    assert (columns["confidentiality_code"], columns["cause"]) == ("NORU", "Manual")
    with pytest.raises(ContractError, match="confidentiality_code: not a text"):
        read(restriction(1, confidentialityCode=2), declared=declared)


@pytest.mark.promise("1")
@pytest.mark.parametrize(
    "document",
    [
        without(restriction(), "id"),
        *(restriction(id=value) for value in ("", None, True, {"a": 1}, "x" * 1_001, "å" * 501)),
        "text",
        None,
        [restriction()],
        restriction(2, cause="Automated"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_no_record_without_an_id_of_its_own(document):
    """Nor what is no object; an id serves once in a read, whatever the record holds."""
    with pytest.raises(ContractError):
        read(restriction(2), document)


@pytest.mark.promise("5")
@pytest.mark.parametrize("code", [None, "absent", "", " ", "\u200b"])
def test_no_record_without_what_is_required(code):
    """A field that PTS renames: the area is a failure, and no code is lost."""
    document = restriction(confidentialityCode=code)
    if code == "absent":
        document["confidentiality"] = document.pop("confidentialityCode")
    with pytest.raises(ContractError, match="no confidentiality_code, which the contract requires"):
        read(document)


@pytest.mark.promise("1")
@pytest.mark.parametrize("value", [OTHER_OFF_ID, "", {"x": 1}, int(OTHER_OFF_ID), True], ids=repr)
def test_another_person(value):
    """Where the contract says that a record names its person."""
    with pytest.raises(ContractError) as caught:
        read(restriction(patientSafetyObject={"person": {"offId": value}}))
    assert OTHER_OFF_ID not in caught.value.message


@pytest.mark.parametrize("value", [OFF_ID, int(OFF_ID), f" {OFF_ID} "], ids=repr)
def test_the_person_asked_for(value):
    """At one of the declared places; with `person = []`, records name nobody."""
    assert read(restriction(patientSafetyObject={"person": {"offId": value}})).records
    declared = contract(person=["owner.id", "patientSafetyObject.person.offId"])
    assert read(restriction(), declared=declared).records
    check_person(1234567890, "01234567890", "owner")  # a JSON number has no leading zero
    elsewhere = restriction(patientSafetyObject=None, subject={"offId": OTHER_OFF_ID})
    assert read(elsewhere, declared=contract(person=[])).records


@pytest.mark.promise("1")
@pytest.mark.parametrize("owner", [None, {}, {"person": None}, {"person": {"offId": None}}])
def test_a_record_without_its_person(owner):
    """Each record has one of the declared places; that another place names somebody is no help."""
    document = restriction(2, patientSafetyObject=owner, subject={"offId": OTHER_OFF_ID})
    with pytest.raises(ContractError, match="no person at the declared path") as caught:
        read(restriction(1), document)
    assert (caught.value.field, OTHER_OFF_ID in str(caught.value)) == (
        "[1].patientSafetyObject.person.offId",
        False,
    )


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("delayDays", "14", "delay_days: not an integer"),
        ("delayDays", 1.5, "delay_days: not an integer"),
        ("delayDays", True, "delay_days: not an integer"),
        ("delayDays", 2**63, "delay_days: a number too large to store"),
        ("delayDeliveryUntil", 5, "delay_delivery_until: not a time"),
        ("delayDeliveryUntil", "soon", "delay_delivery_until: not an ISO 8601 time"),
        ("delayDeliveryUntil", "2026-04-01T00:00:00", "declare `naive_times` in the contract"),
        ("cause", {"type": "Manual"}, "an object or a list; declare its leaves"),
        ("cause", ["Manual"], "an object or a list; declare its leaves"),
        ("cause", 1, "cause: not a text"),
        ("cause", "a\0b", "a NUL character"),
        ("cause", "\ud800", "not Unicode"),
        ("cause", "x" * 10_001, "more than 10000 characters"),
    ],
)
def test_a_value_of_another_kind(name, value, message):
    """It is never made to fit."""
    with pytest.raises(ContractError, match=message):
        read(restriction(**{name: value}))


@pytest.mark.parametrize(("zone", "hours"), [("UTC", (12, 2, 2)), ("Europe/Oslo", (10, 0, 1))])
def test_times_without_an_offset(zone, hours):
    """Where the contract says what they mean: also in an hour that comes twice, and in no hour."""
    for time, hour in zip(("06-01T12:00", "10-25T02:30", "03-29T02:30"), hours, strict=True):
        document = restriction(delayDeliveryUntil=f"2026-{time}")
        (record,) = read(document, declared=contract(naive_times=zone)).records
        assert columns_of(record)["delay_delivery_until"].hour == hour


def test_an_id_of_two_parts():
    """Parts cannot be mistaken for others."""
    declared = contract(id="a.type+a.value")
    first, second = (
        read({**restriction(), "a": {"type": kind, "value": value}}, declared=declared).records[0]
        for kind, value in (("x|y", "z"), ("x", "y|z"))
    )
    assert (first.key, second.key) == (r"x\|y|z", r"x|y\|z")


def test_declaring_one_more_changes_only_those_that_have_it():
    """Versions are compared by names and values of declared fields that have a value."""
    more = contract(extra={"note": "note"})
    documents = restriction(1), restriction(2, note="x")
    before = [record.content_hash for record in read(*documents).records]
    after = [record.content_hash for record in read(*documents, declared=more).records]
    assert (before[0] == after[0], before[1] == after[1]) == (True, False)


def test_a_hash_that_stores_keep():
    """Of names and values that are there; another one would be a new version of everything."""
    declared = contract(extra={"note": "note", "none": "none"})
    (record,) = read(restriction(delayDays=None, note="x"), declared=declared).records
    assert record.content_hash.hex() == "f3b8fa95d8022a3be342c9ffd2d23ff9"


def test_a_volatile_column():
    """It is stored, and its change alone is no new version."""
    declared = contract(volatile=["source_modified_at"])
    one, other = (
        read(restriction(modifiedTime=time), declared=declared).records[0]
        for time in ("2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z")
    )
    assert (one.content_hash, one.columns != other.columns) == (other.content_hash, True)


@pytest.mark.promise("8")
@pytest.mark.parametrize(
    "text",
    [
        *(OFF_ID, f"1{OFF_ID}6", f"see {OTHER_OFF_ID}.", "179120 99997", "17.91.20\t99997"),
        *("179120-99997", "179120\u201199997"),
    ],
)
def test_identifiers_in_texts_are_masked(text):
    """In columns and extras, the person's own and other people's."""
    declared = contract(extra={"note": "note"})
    (record,) = read(restriction(cause=text, note=text), declared=declared).records
    digits = "".join(filter(str.isdigit, repr((columns_of(record), record.extra))))
    assert (OFF_ID in digits, OTHER_OFF_ID in digits) == (False, False)


@pytest.mark.promise("1")
@pytest.mark.promise("8")
@pytest.mark.parametrize(
    ("own", "value", "key"),
    [
        ("16858399640", "see 16858399640", "see ***"),  # a roster may hold such a one
        (OFF_ID, f"1{OFF_ID}6", "1***6"),
        ("06864513571", 6864513571, "***"),
        ("06864513571", 686451357102, "***02"),
        (OFF_ID, 6864513571, "6864513571"),  # another's would be, with a zero that it has not
        (OFF_ID, "AB2C2E8B-A6AB-40F1-8270-7261230e3444", "AB2C2E8B-A6AB-40F1-8270-7261230e3444"),
    ],
)
def test_ids_lose_the_own_identifier(own, value, key):
    """Whatever its check digits; a number has lost its leading zero."""
    document = restriction(id=value, createdBy={"role": value}, patientSafetyObject=None)
    (record,) = RecordReader(SAFETY, contract(person=[])).read([document], person(own)).records
    assert (record.key, own[1:] in columns_of(record)["created_by"]) == (key, False)
    for other in (f"a {OTHER_OFF_ID}", int(OTHER_OFF_ID)):  # masked, it would be like others
        with pytest.raises(ContractError, match="an id that contains a national identifier"):
            read(restriction(id=other))


@pytest.mark.promise("8")
@pytest.mark.parametrize("off_id", [OFF_ID, OTHER_OFF_ID, "06864513571"])
def test_numbers_that_are_identifiers(off_id):
    """They are masked as texts are; a column of numbers has none then."""
    declared = contract(extra={"whole": "whole", "broken": "broken"})
    document = restriction(
        whole=int(off_id),
        broken=float(off_id),
        createdBy={"role": int(off_id), "organisationNumber": 1},
    )
    (record,) = read(document, declared=declared).records
    created_by = columns_of(record)["created_by"]
    assert (record.extra, created_by) == (
        '{"broken":"***","whole":"***"}',
        '{"organisation":1,"role":"***"}',
    )
    with pytest.raises(ContractError, match="delay_days: not an integer"):
        read(restriction(delayDays=int(off_id)))


@pytest.mark.promise("9")
def test_drift_is_names_and_counts():
    """Never values; a name that may be a person's is not shown."""
    page = read(
        restriction(1, **{OTHER_OFF_ID: 1}, patientSafetyObject=None, createdBy="Kari"),
        restriction(2, parentConfidentialObjectId={"type": "a", "source": "b"}),
        declared=contract(person=[]),
    )
    person = "patientSafetyObject.person.offId"
    others = {"createdBy": 1, "parentConfidentialObjectId.source": 1, person: 1}
    assert page.drift == {"?": 1, **others}


@pytest.mark.promise("10")
def test_drift_is_bounded():
    """A hundred names of a page; the others are one, and so are names that are long."""
    many = {f"f{number}": 1 for number in range(150)}
    page = read(restriction(1, **many), restriction(2, **many))
    assert (len(page.drift), page.drift["f0"], page.drift["?"]) == (101, 2, 2)
    page = read(restriction(1, **{"a" * 301: {"b": 1, "c": 2}, "a." * 300: 1}))
    assert page.drift == {"?": 1}
