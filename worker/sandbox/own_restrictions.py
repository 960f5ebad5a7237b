"""Restrictions of persons of one's own, from a JSON file."""

import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

from worker.sandbox.people import control_digits, is_off_id, is_synthetic
from worker.sandbox.restrictions import AREAS, Document, sample

OwnRestrictions: TypeAlias = Mapping[str, Mapping[str, tuple[Document, ...]]]
"""By identifier and area."""

_IDS: Final = uuid.UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")


def read_own_restrictions(path: Path) -> OwnRestrictions:
    """Read ``{"identifier": {"patient-safety": [{…}], "patient-privacy": [{…}]}}``.

    What a restriction leaves out is filled in; ``{}`` is a complete one.

    Raises:
        OSError: the file cannot be read.
        ValueError: it has another shape, or an identifier that may be a real person's. The message
            has the person's place in the file and no identifier.
    """
    try:
        document: Any = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    if not isinstance(document, dict):
        raise ValueError(f"{path}: expected an object with identifiers as keys")  # noqa: TRY004
    return {
        off_id: _areas(f"{path}, person {number}", off_id, areas)
        for number, (off_id, areas) in enumerate(document.items(), 1)
    }


def _areas(where: str, off_id: str, areas: Any) -> Mapping[str, tuple[Document, ...]]:
    is_issued = is_off_id(off_id) and control_digits(off_id[:9]) == off_id[9:]
    if not is_issued or not is_synthetic(off_id):
        raise ValueError(
            f"{where}: must be a synthetic identifier (month + 80 or + 65, right control digits)"
        )
    if not isinstance(areas, dict) or areas.keys() - set(AREAS):
        raise ValueError(f"{where}: expected an object with the keys {' and '.join(AREAS)}")
    return {area: tuple(_documents(where, off_id, area, areas.get(area, []))) for area in AREAS}


def _documents(where: str, off_id: str, area: str, restrictions: Any) -> list[Document]:
    if not isinstance(restrictions, list) or not all(isinstance(r, dict) for r in restrictions):
        raise ValueError(f"{where}, {area}: expected a list of objects")
    return [
        {**sample(area, off_id), "id": str(uuid.uuid5(_IDS, f"{off_id} {area} {number}")), **given}
        for number, given in enumerate(restrictions)
    ]
