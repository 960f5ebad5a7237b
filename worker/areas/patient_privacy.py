"""Patient privacy: restrictions on health personnel's access (PTS reference, 1.1, 1.5 and 3.5).

Only the unversioned route is documented; it requires the header ``api-version``.
"""

from typing import Final

from worker.core.area import DIGEST_KEY, Column, ColumnType, ResourceArea
from worker.core.effect import Effect, RestrictionGroup

_RANGES: Final = ("timeRanges", "timeRange", "timeIntervals", "periods")
"""Candidate names: the documentation ends before it names the time ranges (PTS reference, 1.5)."""


def _bounds(*names: str) -> tuple[str, ...]:
    forms = ("{}[0].{}", "{}.{}")
    return tuple(form.format(array, name) for array in _RANGES for form in forms for name in names)


PATIENT_PRIVACY: Final = ResourceArea(
    name="patient-privacy",
    table="patient_privacy",
    path="/access-restrictions/patient-privacy/_search",
    unversioned_path="/access-restrictions/patient-privacy/_search",
    api_version="0.4",
    headers={"api-version": "0.4"},
    record_keys=("id", DIGEST_KEY),
    person_paths=(
        "offId",
        "person",
        "person.offId",
        "patient",
        "patient.offId",
        "patientPrivacyObject.person",
        "patientPrivacyObject.person.offId",
    ),
    recognised_by=("privacyType", "privacyLevel", "restrictionDomain", "objectScope"),
    columns=(
        Column(
            name="privacy_type",
            type=ColumnType.TEXT,
            paths=("privacyType",),
        ),
        Column(
            name="privacy_level",
            type=ColumnType.TEXT,
            paths=("privacyLevel",),
        ),
        Column(
            name="restriction_domain",
            type=ColumnType.TEXT,
            paths=("restrictionDomain",),
        ),
        Column(
            name="object_scope",
            type=ColumnType.TEXT,
            paths=("objectScope.type", "objectScope"),
            loose=True,
        ),
        Column(
            name="subject_scope",
            type=ColumnType.TEXT,
            paths=("subjectScope.type", "subjectScope"),
            loose=True,
        ),
        Column(
            name="restricted_from",
            type=ColumnType.TIME,
            paths=_bounds("from", "fromTime", "start", "startTime", "validFrom"),
        ),
        Column(
            name="restricted_to",
            type=ColumnType.TIME,
            paths=_bounds("to", "toTime", "end", "endTime", "validTo"),
        ),
        Column(
            name="time_ranges",
            type=ColumnType.JSON,
            paths=_RANGES,
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
    ),
    effect=Effect(
        code="privacy_type",
        groups=(
            (RestrictionGroup.BLOCKED, ("Block",)),
            (RestrictionGroup.SHIELDED, ("Shield",)),
        ),
        level="privacy_level",
        begins="restricted_from",
        ends="restricted_to",
        ranges="time_ranges",
    ),
    known_fields=("createdBy", "modifiedBy", "version"),
)
