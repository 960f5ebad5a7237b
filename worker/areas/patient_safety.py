"""Patient safety: information withheld from the citizen or delayed (PTS reference, 1.1, 1.4, 2).

Uses the v0.5 route by default. With ``api_version = "0.4"`` in the configuration, uses the
unversioned route with the header that it requires (PTS reference, 1.2).
"""

from typing import Final

from worker.core.area import DIGEST_KEY, Column, ColumnType, ResourceArea
from worker.core.effect import Effect, RestrictionGroup

_RULE: Final = "accessRestriction[current]"
"""The information model has the current rule in this attribute (PTS reference, section 2)."""


def _anywhere(name: str) -> tuple[str, ...]:
    return (name, f"patientSafetyObject.{name}", f"{_RULE}.{name}")


PATIENT_SAFETY: Final = ResourceArea(
    name="patient-safety",
    table="patient_safety",
    path="/v0.5/access-restrictions/patient-safety/_search",
    unversioned_path="/access-restrictions/patient-safety/_search",
    api_version="0.5",
    record_keys=(
        "id",
        "confidentialObjectId.type+confidentialObjectId.value",
        "patientSafetyObject.confidentialObjectId.type+patientSafetyObject.confidentialObjectId.value",
        DIGEST_KEY,
    ),
    person_paths=(
        "offId",
        "person",
        "person.offId",
        "patient",
        "patient.offId",
        "patientSafetyObject.offId",
        "patientSafetyObject.person",
        "patientSafetyObject.person.offId",
        "patientSafetyObject.patient.offId",
    ),
    recognised_by=(
        "confidentialityCode",
        "confidentialObjectId",
        "patientSafetyObject",
        "accessRestriction",
        "delayDeliveryUntil",
        "delayDays",
    ),
    columns=(
        Column(
            name="confidentiality_code",
            type=ColumnType.TEXT,
            paths=_anywhere("confidentialityCode"),
        ),
        Column(
            name="cause",
            type=ColumnType.TEXT,
            paths=_anywhere("cause"),
        ),
        Column(
            name="delay_days",
            type=ColumnType.INTEGER,
            paths=_anywhere("delayDays"),
        ),
        Column(
            name="delay_delivery_until",
            type=ColumnType.TIME,
            paths=_anywhere("delayDeliveryUntil"),
        ),
        Column(
            name="delay_is_indefinite",
            type=ColumnType.BOOLEAN,
            never_of="delay_delivery_until",
        ),
        Column(
            name="object_type",
            type=ColumnType.TEXT,
            paths=("confidentialObjectId.type", "patientSafetyObject.confidentialObjectId.type"),
        ),
        Column(
            name="object_value",
            type=ColumnType.TEXT,
            paths=("confidentialObjectId.value", "patientSafetyObject.confidentialObjectId.value"),
        ),
        Column(
            name="parent_object_type",
            type=ColumnType.TEXT,
            paths=(
                "parentConfidentialObjectId.type",
                "patientSafetyObject.parentConfidentialObjectId.type",
            ),
        ),
        Column(
            name="parent_object_value",
            type=ColumnType.TEXT,
            paths=(
                "parentConfidentialObjectId.value",
                "patientSafetyObject.parentConfidentialObjectId.value",
            ),
        ),
        Column(
            name="source_created_at",
            type=ColumnType.TIME,
            paths=("createdTime",),
        ),
        Column(
            name="source_modified_at",
            type=ColumnType.TIME,
            paths=("modifiedTime",),
        ),
        Column(
            name="created_by",
            type=ColumnType.TEXT,
            paths=("createdBy",),
            loose=True,
            is_author=True,
        ),
    ),
    effect=Effect(
        code="confidentiality_code",
        groups=(
            (RestrictionGroup.NONE, ("N",)),
            (RestrictionGroup.DELAYED, ("NORU",)),
            (RestrictionGroup.BLOCKED, ("NORS",)),
        ),
        prefixes=((RestrictionGroup.DENIED, "NORN"),),
        ends="delay_delivery_until",
        cause="cause",
        causes=("Undefined", "Manual", "Automated", "Derived"),
    ),
    known_fields=("delayFromTime", "modifiedBy", "parentConfidentialAttribute", "version"),
)
