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
            nb="Kode i kodeverk 9603: hva restriksjonen går ut på",
            en="code of code system 9603: what the restriction does",
            type=ColumnType.TEXT,
            paths=_anywhere("confidentialityCode"),
        ),
        Column(
            name="cause",
            nb="Hvordan restriksjonen oppsto",
            en="how the restriction came about",
            type=ColumnType.TEXT,
            paths=_anywhere("cause"),
        ),
        Column(
            name="delay_days",
            nb="Dager fra svaret foreligger til innbyggeren får se det",
            en="days from the result until the citizen may see it",
            unit="days",
            type=ColumnType.INTEGER,
            paths=_anywhere("delayDays"),
        ),
        Column(
            name="delay_delivery_until",
            nb="Når innbyggeren tidligst får innsyn; år 9999 er aldri",
            en="earliest time at which the citizen may see it; the year 9999 is never",
            type=ColumnType.TIME,
            paths=_anywhere("delayDeliveryUntil"),
        ),
        Column(
            name="delay_is_indefinite",
            nb="Om tidspunktet er PTS' «aldri»",
            en='whether that time is PTS\'s "never"',
            type=ColumnType.BOOLEAN,
            never_of="delay_delivery_until",
        ),
        Column(
            name="object_type",
            nb="Hva slags dokument restriksjonen gjelder",
            en="kind of document that is restricted",
            type=ColumnType.TEXT,
            paths=("confidentialObjectId.type", "patientSafetyObject.confidentialObjectId.type"),
        ),
        Column(
            name="object_value",
            nb="Dokumentets id",
            en="id of that document",
            type=ColumnType.TEXT,
            paths=("confidentialObjectId.value", "patientSafetyObject.confidentialObjectId.value"),
        ),
        Column(
            name="parent_object_type",
            nb="Hva slags dokument det hører under",
            en="kind of the document above it",
            type=ColumnType.TEXT,
            paths=(
                "parentConfidentialObjectId.type",
                "patientSafetyObject.parentConfidentialObjectId.type",
            ),
        ),
        Column(
            name="parent_object_value",
            nb="Det overordnede dokumentets id",
            en="id of the document above it",
            type=ColumnType.TEXT,
            paths=(
                "parentConfidentialObjectId.value",
                "patientSafetyObject.parentConfidentialObjectId.value",
            ),
        ),
        Column(
            name="source_created_at",
            nb="Når restriksjonen ble laget i PTS",
            en="when PTS says that it was made",
            type=ColumnType.TIME,
            paths=("createdTime",),
        ),
        Column(
            name="source_modified_at",
            nb="Når restriksjonen sist ble endret i PTS",
            en="when PTS says that it was last changed",
            type=ColumnType.TIME,
            paths=("modifiedTime",),
        ),
        Column(
            name="created_by",
            nb="Rolle og organisasjon til den som laget den",
            en="role and organisation of who made it",
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
    ),
    known_fields=("delayFromTime", "modifiedBy", "parentConfidentialAttribute", "version"),
)
