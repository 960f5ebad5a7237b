"""The resource areas: which columns a restriction has, and when it is in effect.

The contract with PTS declares the field of each column (``core.contract``).
"""

import enum
from typing import Final

from worker.core.effect import DelayRule, EffectRule, RestrictionGroup
from worker.core.value import Value


class ColumnType(enum.StrEnum):
    """The type of a typed column."""

    TEXT = "text"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    TIME = "time"
    JSON = "json"
    """The value as canonical JSON text."""


class Column(Value, frozen=True, kw_only=True):
    """One typed column.

    Attributes:
        name: the column's name in the contract, the store and the reporting views.
        type: its type. A value of another type is a failure of the area.
        derived_from: the time column from which this boolean column is derived, if PTS has no field
            for it. It is true if the time is in the year 9999, which PTS uses for "never".
        codes: the known codes, if the column contains codes. The codes that decide the effect are
            in ``EffectRule``.
    """

    name: str
    type: ColumnType
    derived_from: str = ""
    codes: tuple[str, ...] = ()


class ResourceArea(Value, frozen=True, kw_only=True, eq=False):
    """One of PTS's lists of restrictions. Compared by identity.

    Attributes:
        name: e.g. ``patient-safety``.
        table: the stem of its tables and views, e.g. ``patient_safety``.
    """

    name: str
    table: str
    columns: tuple[Column, ...]
    effect: EffectRule


PATIENT_SAFETY: Final = ResourceArea(
    name="patient-safety",
    table="patient_safety",
    columns=(
        Column(name="confidentiality_code", type=ColumnType.TEXT),
        Column(
            name="cause",
            type=ColumnType.TEXT,
            codes=("Undefined", "Manual", "Automated", "Derived"),
        ),
        Column(name="delay_days", type=ColumnType.INTEGER),
        Column(name="delay_from_time", type=ColumnType.TIME),
        Column(name="delay_delivery_until", type=ColumnType.TIME),
        Column(
            name="delay_is_indefinite", type=ColumnType.BOOLEAN, derived_from="delay_delivery_until"
        ),
        Column(name="object_type", type=ColumnType.TEXT),
        Column(name="object_value", type=ColumnType.TEXT),
        Column(name="parent_object_type", type=ColumnType.TEXT),
        Column(name="parent_object_value", type=ColumnType.TEXT),
        Column(name="source_created_at", type=ColumnType.TIME),
        Column(name="source_modified_at", type=ColumnType.TIME),
        Column(name="created_by", type=ColumnType.TEXT),
    ),
    effect=EffectRule(
        code="confidentiality_code",
        groups=(
            (RestrictionGroup.NONE, ("N",)),
            (RestrictionGroup.DELAYED, ("NORU",)),
            (RestrictionGroup.BLOCKED, ("NORS",)),
        ),
        # PTS has nine codes NORN_*, and code system 9603 has more. All of them deny.
        prefixes=((RestrictionGroup.DENIED, "NORN"),),
        ends="delay_delivery_until",
        cause="cause",
        delay=DelayRule(
            days="delay_days",
            since="delay_from_time",
            about="object_type",
            # A delay on a report is a delay of an existing result, not a rule for a future one.
            results=("Svarrapport", "SvarrapportId"),
        ),
    ),
)
"""Information withheld from the citizen or delayed (PTS reference, 1.1, 1.4, 2)."""

PATIENT_PRIVACY: Final = ResourceArea(
    name="patient-privacy",
    table="patient_privacy",
    columns=(
        Column(name="privacy_type", type=ColumnType.TEXT),
        Column(name="privacy_level", type=ColumnType.TEXT, codes=("Soft", "Hard")),
        Column(name="restriction_domain", type=ColumnType.TEXT),
        Column(name="object_scope", type=ColumnType.TEXT),
        Column(name="subject_scope", type=ColumnType.TEXT),
        Column(name="restricted_from", type=ColumnType.TIME),
        Column(name="restricted_to", type=ColumnType.TIME),
        Column(name="time_ranges", type=ColumnType.JSON),
        Column(name="source_created_at", type=ColumnType.TIME),
        Column(name="source_modified_at", type=ColumnType.TIME),
    ),
    effect=EffectRule(
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
"""Restrictions on health personnel's access (PTS reference, 1.1, 1.5 and 3.5)."""

AREAS: Final[tuple[ResourceArea, ...]] = (PATIENT_SAFETY, PATIENT_PRIVACY)
"""All areas, in the order in which a person's areas are read."""


def area_named(name: str) -> ResourceArea:
    """The area in ``AREAS`` with this name."""
    return next(area for area in AREAS if area.name == name)
