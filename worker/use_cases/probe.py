"""Reads one person from PTS, and compares what it answers with the contract in force."""

from collections.abc import Mapping, Sequence
from typing import Final

from worker.app import App
from worker.core.area import ResourceArea
from worker.core.identity import NationalId
from worker.core.model import CompleteArea, Person
from worker.core.value import Value
from worker.errors import AreaError
from worker.pts.reader import PtsReader

SYNTHETIC_PERSON: Final = "16858399649"
"""A synthetic number (month +80) that NHN has published; it cannot belong to a real person."""

_PERSON_KEY: Final = "probe"


class Probe(Value, frozen=True, kw_only=True):
    """How PTS's answers for one area agree with the contract.

    Attributes:
        error: why the area could not be read; None if it could.
        empty: declared columns that have a value in no record.
        drift: in how many records each undeclared field stands.
    """

    area: str
    error: AreaError | None
    records: int
    pages: int
    empty: tuple[str, ...] = ()
    drift: Mapping[str, int]


async def probe(app: App, off_id: NationalId) -> Sequence[Probe]:
    """Read every configured area of one person.

    Raises:
        WorkerError: HelseID refuses or is unavailable, or the configuration cannot be used.
    """
    areas = app.areas()
    async with app.reader(areas, throttle=app.throttle(), attempts_max=2) as reader:
        return [await _probe_area(reader, area, off_id) for area in areas]


async def reach(app: App) -> int:
    """The HTTP status of a request to PTS without authorization. Any status shows that it responds.

    Raises:
        WorkerError: it cannot be reached.
    """
    async with app.transport() as transport:
        response = await transport.post(app.base_url(), headers={}, body=b"")
        return response.status


async def _probe_area(reader: PtsReader, area: ResourceArea, off_id: NationalId) -> Probe:
    person = Person(off_id=off_id, person_key=_PERSON_KEY)
    try:
        read = await reader.read(person, area.name)
    except AreaError as error:
        return Probe(area=area.name, error=error, records=0, pages=0, drift={})
    return Probe(
        area=area.name,
        error=None,
        records=len(read.records),
        pages=read.proof.pages,
        empty=_empty_columns(area, read),
        drift=dict(read.drift),
    )


def _empty_columns(area: ResourceArea, read: CompleteArea) -> tuple[str, ...]:
    columns = zip(area.columns, zip(*(r.columns for r in read.records), strict=True), strict=False)
    return tuple(column.name for column, values in columns if all(v is None for v in values))
