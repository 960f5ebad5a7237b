"""Of those who made a restriction, role and organisation are kept; a name only if asked for."""

import orjson
import pytest

from tests.support.columns import named
from tests.support.pts_answers import JSON, OFF_ID, OTHER_OFF_ID, SAFETY, person, restriction
from worker.core.answer import read_page
from worker.core.authors import NOT_KEPT, role_and_organisation, without_names
from worker.core.privacy import PrivacyRules

pytestmark = pytest.mark.promise("8")

KARI = "Kari Nordmann"
FULL = {
    "name": KARI,
    "email": "kari@ous.example",
    "hprNumber": 1234567,
    "offId": OTHER_OFF_ID,
    "role": {"code": "LE", "name": "Lege i spesialisering"},
    "organisation": {"name": "Oslo universitetssykehus HF", "number": "993467049"},
    "note": "spør Kari i ekspedisjonen",
}


@pytest.mark.parametrize("field", ["createdBy", "CREATEDBY", "lastModifiedBy"])
@pytest.mark.parametrize(
    ("text", "is_kept"),
    [
        *((text, True) for text in ("LIMS-3", "993467049", "2.16.578.1.12.4.1.4.101", "f" * 64)),
        *((text, False) for text in (KARI, "kari@ous.example", "kari.nordmann", "LIS for 1")),
    ],
)
def test_a_code_is_kept_and_what_may_be_a_name_is_not(text, is_kept, field):
    """A text of one word is a system, a code or an identifier, as far as its form tells."""
    assert without_names({"a": [{field: text}]}) == {"a": [{field: text if is_kept else NOT_KEPT}]}
    assert role_and_organisation(text) == (text if is_kept else None)


def test_an_object_keeps_role_organisation_and_identifiers():
    """Only what may be a name goes; other fields than those of authors are left alone."""
    gone = dict.fromkeys(("name", "email", "note"), NOT_KEPT)
    document = {"createdBy": FULL, "cause": "by hand", "names": [KARI]}
    assert without_names(document) == {**document, "createdBy": {**FULL, **gone}}
    shown = {name: FULL[name] for name in ("role", "organisation")}
    assert role_and_organisation(FULL) == shown


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
    assert (KARI in record.payload) == keep_names
    assert "somebody" in record.payload
    assert orjson.loads(str(named(record)["created_by"])).keys() == {"role", "organisation"}
    assert KARI not in repr(record.columns)
    assert OTHER_OFF_ID not in record.payload + repr(record.columns)
