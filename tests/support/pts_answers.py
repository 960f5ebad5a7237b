"""Persons, contracts and answers that the tests of the reading share."""

import json
import tomllib
from collections.abc import Mapping
from typing import Any

from worker.config.contract_file import default_contract_text, load_contract
from worker.core.answer import Answer, read_answer
from worker.core.area import area_named
from worker.core.contract import AreaContract
from worker.core.identity import NationalId
from worker.core.model import Person
from worker.core.record import Page, RecordReader

OFF_ID = "16858399649"
OTHER_OFF_ID = "17912099997"
PSEUDONYM = "c0ffee" + "ab" * 29

SAFETY = area_named("patient-safety")
PRIVACY = area_named("patient-privacy")
AREAS = {area.name: area for area in (SAFETY, PRIVACY)}

CONTRACT = load_contract(None)
JSON = {"content-type": ("application/json; charset=utf-8",)}


def person(off_id: str = OFF_ID, key: str = PSEUDONYM) -> Person:
    return Person(off_id=NationalId(off_id), person_key=key)


def contract(area: str = "patient-safety", **changed: Any) -> AreaContract:
    """The contract that comes with the program, with some keys changed."""
    tables = tomllib.loads(default_contract_text())[area]
    return AreaContract.model_validate_json(json.dumps(tables | changed), strict=True)


def restriction(number: int = 1, **changed: Any) -> dict[str, Any]:
    """A patient-safety restriction as we suppose PTS to send it."""
    return {
        "id": f"00000000-0000-4000-8000-{number:012d}",
        "createdTime": "2026-03-01T08:15:30.1234567Z",
        "modifiedTime": None,
        "createdBy": {"role": "Doctor", "organisationNumber": "999999999"},
        "patientSafetyObject": {
            "person": {"offId": OFF_ID},
            "confidentialObjectId": {"type": "Svarrapport", "value": f"report-{number}"},
        },
        "parentConfidentialObjectId": {"type": "Rekvisisjon", "value": "request-1"},
        "confidentialityCode": "NORU",
        "cause": "Manual",
        "delayDays": 14,
        "delayDeliveryUntil": "2026-04-01T00:00:00+02:00",
        **changed,
    }


def without(document: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name not in names}


def answer(
    document: Any,
    declared: AreaContract = CONTRACT["patient-safety"],
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """An answer; bytes are taken as they stand, all else is made JSON."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    given = {name.lower(): (value,) for name, value in (headers or {}).items()}
    return read_answer(status, JSON | given, body, declared, OFF_ID)


def read(
    *documents: Any, declared: AreaContract | None = None, area: str = "patient-safety"
) -> Page:
    """The records of a page with these items."""
    chosen = declared or CONTRACT[area]
    return RecordReader(AREAS[area], chosen).read(list(documents), person())
