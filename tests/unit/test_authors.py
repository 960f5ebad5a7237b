"""Of those who made a restriction, role and organisation are kept; a name only if asked for."""

import orjson
import pytest

from tests.support.pts_answers import JSON, OFF_ID, OTHER_OFF_ID, SAFETY, person, restriction
from worker.core.answer import read_page
from worker.core.authors import NOT_KEPT, role_and_organisation, without_names
from worker.core.privacy import PrivacyRules

KARI = "Kari Nordmann"
FULL = {
    "name": KARI,
    "givenName": "Kari",
    "email": "kari@ous.example",
    "hprNumber": 1234567,
    "offId": OTHER_OFF_ID,
    "role": {"code": "LE", "name": "Lege i spesialisering"},
    "organisation": {"name": "Oslo universitetssykehus HF", "number": "993467049"},
    "note": "spør Kari i ekspedisjonen",
    "deep": [{"displayName": KARI, "systemName": "DIPS Arena"}],
}


@pytest.mark.parametrize(
    "text", ["lab", "LIMS-3", "DIPS", "993467049", "2.16.578.1.12.4.1.4.101", "EPJ:LIS", "f" * 64]
)
def test_a_code_is_kept_and_shown(text):
    """A text of one word is a system, a code or an identifier, as far as its form tells."""
    document = {"createdBy": text}
    assert document is without_names(document)
    assert text == role_and_organisation(text)


@pytest.mark.promise("8")
@pytest.mark.parametrize(
    "text", [KARI, "Nordmann, Kari", "kari@ous.example", "kari.nordmann", "LIS for 1", "", "Å. B"]
)
@pytest.mark.parametrize("field", ["createdBy", "CREATEDBY", "modifiedBy", "lastModifiedBy"])
def test_another_text_may_be_a_name(text, field):
    """It is neither kept nor shown, wherever in the record the field stands."""
    assert without_names({"a": [{field: text}]}) == {"a": [{field: NOT_KEPT}]}
    assert role_and_organisation(text) is None
    assert role_and_organisation(NOT_KEPT) is None


def test_an_object_keeps_role_organisation_and_identifiers():
    """Only what may be a name goes; the fields themselves stay, so that their form is known."""
    kept = without_names({"createdBy": FULL})["createdBy"]
    assert FULL.keys() == kept.keys()
    assert (FULL["role"], FULL["organisation"], FULL["hprNumber"], FULL["offId"]) == (
        kept["role"],
        kept["organisation"],
        kept["hprNumber"],
        kept["offId"],
    )
    gone = [kept[name] for name in ("name", "givenName", "email", "note")]
    assert [*gone] == [NOT_KEPT] * 4
    assert kept["deep"] == [{"displayName": NOT_KEPT, "systemName": "DIPS Arena"}]


def test_only_role_and_organisation_are_shown():
    """Of an object; nothing of one without them; a number as it is."""
    assert role_and_organisation(FULL) == {
        "role": FULL["role"],
        "organisation": FULL["organisation"],
        "deep": [{"systemName": "DIPS Arena"}],
    }
    assert role_and_organisation({"name": KARI, "a": {"b": 1}}) is None
    assert (role_and_organisation(7), role_and_organisation(None)) == (7, None)


def test_other_fields_are_left_alone():
    """A reason or an object of several words is no author."""
    document = {"cause": "by hand", "names": [KARI], "note": {"name": KARI}}
    assert document is without_names(document)


@pytest.mark.promise("8")
@pytest.mark.parametrize("keep_names", [True, False])
def test_a_name_is_kept_in_the_payload_alone_and_only_if_asked(keep_names):
    """The column, which reports and the default export show, never has it."""
    rules = PrivacyRules(key_of=lambda _: "somebody", keep_names=keep_names)
    page = read_page(
        200,
        JSON,
        orjson.dumps([restriction(createdBy=FULL, modifiedBy=KARI)]),
        area=SAFETY,
        person=person(OFF_ID),
        cleaner=rules.cleaner(person(OFF_ID)),
    )
    (record,) = page.records
    assert keep_names == (KARI in record.payload)
    assert "somebody" in record.payload
    columns = dict(zip((one.name for one in SAFETY.columns), record.columns, strict=True))
    shown = orjson.loads(str(columns["created_by"]))
    assert shown.keys() == {"role", "organisation", "deep"}
    assert KARI not in repr(record.columns)
    assert OTHER_OFF_ID not in record.payload + repr(record.columns)
