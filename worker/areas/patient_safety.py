"""Patient safety: information withheld from the citizen or delayed (PTS reference, 1.1, 1.4, 2)."""

from typing import Final

from worker.core.area import Column, ColumnType, ResourceArea
from worker.core.effect import DelayRule, Effect, RestrictionGroup

PATIENT_SAFETY: Final = ResourceArea(
    name="patient-safety",
    table="patient_safety",
    columns=(
        Column(name="confidentiality_code", type=ColumnType.TEXT),
        Column(name="cause", type=ColumnType.TEXT),
        Column(name="delay_days", type=ColumnType.INTEGER),
        Column(name="delay_from_time", type=ColumnType.TIME),
        Column(name="delay_delivery_until", type=ColumnType.TIME),
        Column(
            name="delay_is_indefinite", type=ColumnType.BOOLEAN, never_of="delay_delivery_until"
        ),
        Column(name="object_type", type=ColumnType.TEXT),
        Column(name="object_value", type=ColumnType.TEXT),
        Column(name="parent_object_type", type=ColumnType.TEXT),
        Column(name="parent_object_value", type=ColumnType.TEXT),
        Column(name="source_created_at", type=ColumnType.TIME),
        Column(name="source_modified_at", type=ColumnType.TIME),
        Column(name="created_by", type=ColumnType.TEXT),
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
        rule=DelayRule(
            days="delay_days",
            since="delay_from_time",
            about="object_type",
            results=("Svarrapport", "SvarrapportId"),
        ),
    ),
)
