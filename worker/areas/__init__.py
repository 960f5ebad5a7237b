"""Declarations of the resource areas, one module each."""

from typing import Final

from worker.areas.patient_privacy import PATIENT_PRIVACY
from worker.areas.patient_safety import PATIENT_SAFETY
from worker.core.area import ResourceArea

AREAS: Final[tuple[ResourceArea, ...]] = (PATIENT_SAFETY, PATIENT_PRIVACY)
"""All areas, in the order in which a person's areas are read."""


def area_named(name: str) -> ResourceArea:
    """The area with this name.

    Raises:
        ValueError: unknown area.
    """
    for area in AREAS:
        if area.name == name:
            return area
    known = ", ".join(area.name for area in AREAS)
    raise ValueError(f"unknown area {name!r}; known areas: {known}")
