"""The resource areas that the worker knows, one module each."""

from typing import Final

from worker.areas.patient_privacy import PATIENT_PRIVACY
from worker.areas.patient_safety import PATIENT_SAFETY
from worker.core.area import ResourceArea

AREAS: Final[tuple[ResourceArea, ...]] = (PATIENT_SAFETY, PATIENT_PRIVACY)
"""Every area, in the order in which a person's areas are read."""


def area_named(name: str) -> ResourceArea:
    """The area of that name.

    Raises:
        ValueError: there is none.
    """
    for area in AREAS:
        if area.name == name:
            return area
    raise ValueError(f"no area {name!r}; known are {', '.join(area.name for area in AREAS)}")
