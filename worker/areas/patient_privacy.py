"""Patient privacy: restrictions on health personnel's access (PTS reference, 1.1, 1.5 and 3.5)."""

from typing import Final

from worker.core.area import Column, ColumnType, ResourceArea
from worker.core.effect import Effect, RestrictionGroup

PATIENT_PRIVACY: Final = ResourceArea(
    name="patient-privacy",
    table="patient_privacy",
    columns=(
        Column(name="privacy_type", type=ColumnType.TEXT),
        Column(name="privacy_level", type=ColumnType.TEXT),
        Column(name="restriction_domain", type=ColumnType.TEXT),
        Column(name="object_scope", type=ColumnType.TEXT),
        Column(name="subject_scope", type=ColumnType.TEXT),
        Column(name="restricted_from", type=ColumnType.TIME),
        Column(name="restricted_to", type=ColumnType.TIME),
        Column(name="time_ranges", type=ColumnType.JSON),
        Column(name="source_created_at", type=ColumnType.TIME),
        Column(name="source_modified_at", type=ColumnType.TIME),
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
)
