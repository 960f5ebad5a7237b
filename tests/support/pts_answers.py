"""Persons and answers that the tests of the reading share."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import orjson

from tests.support.clock import START
from worker.areas import area_named
from worker.core.answer import read_page
from worker.core.area import ResourceArea
from worker.core.identity import NationalId
from worker.core.model import CompleteArea, Person, Proof, Record
from worker.core.privacy import Cleaner, PrivacyRules
from worker.core.record import Page, digest_of

OFF_ID = "16858399649"
OTHER_OFF_ID = "17912099997"
LEADING_ZERO = "01858399640"
PSEUDONYM = "c0ffee" + "ab" * 29

SAFETY = area_named("patient-safety")
PRIVACY = area_named("patient-privacy")

JSON = {"content-type": ("application/json",)}

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


def person(off_id: str = OFF_ID, key: str = PSEUDONYM) -> Person:
    """A synthetic person."""
    return Person(off_id=NationalId(off_id), person_key=key)


def cleaner(off_id: str = OFF_ID, pseudonym: str = PSEUDONYM) -> Cleaner:
    """The privacy rules of a store with pseudonyms, for one person."""
    rules = PrivacyRules(key_of=lambda found: pseudonym_of(found.reveal()))
    return rules.cleaner(person(off_id, pseudonym))


def pseudonym_of(digits: str) -> str:
    """What stands for anybody else."""
    return f"anybody-{digits[-2:]}"


def restriction(number: int = 1, **changed: Any) -> dict[str, Any]:
    """A patient-safety restriction as we suppose PTS to send it."""
    return {
        "id": f"00000000-0000-4000-8000-{number:012d}",
        "createdTime": "2026-03-01T08:15:30.1234567Z",
        "modifiedTime": None,
        "createdBy": "lab",
        "offId": OFF_ID,
        "confidentialObjectId": {"type": "Svarrapport", "value": f"report-{number}"},
        "parentConfidentialObjectId": {"type": "Rekvisisjon", "value": "request-1"},
        "confidentialityCode": "NORU",
        "cause": "Manual",
        "delayDays": 14,
        "delayDeliveryUntil": "2026-04-01T00:00:00+02:00",
        **changed,
    }


def without(document: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """A document without some of its fields."""
    return {name: value for name, value in document.items() if name not in names}


def read(
    document: Any,
    *,
    area: ResourceArea = SAFETY,
    key_path: str | None = None,
    pseudonym: str | None = PSEUDONYM,
    status: int = 200,
    headers: Mapping[str, tuple[str, ...]] = JSON,
    off_id: str = OFF_ID,
) -> Page:
    """The page of an answer; bytes are taken as they stand, all else is made JSON."""
    body = document if isinstance(document, bytes) else orjson.dumps(document)
    return read_page(
        status,
        headers,
        body,
        area=area,
        person=person(off_id),
        key_path=key_path,
        cleaner=None if pseudonym is None else cleaner(off_id, pseudonym),
    )


def complete_area(held: Mapping[str, int], *, after_s: float = 0.0) -> CompleteArea:
    """An area that was read completely and holds these records, each with its content."""
    records = tuple(
        Record(key=key, content_hash=bytes([content]), payload="", columns=())
        for key, content in held.items()
    )
    proof = Proof(
        pages=1,
        record_count=len(records),
        digest=digest_of(records),
        read_at=START + timedelta(seconds=after_s),
        key_path="id" if records else "",
    )
    return CompleteArea(area=SAFETY.name, records=records, proof=proof)
