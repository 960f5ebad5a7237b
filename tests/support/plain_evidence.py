"""Reading without the breaker, for tests that are not about it."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import cast

from worker.core.model import CompleteArea, Person
from worker.errors import AreaError
from worker.ports import AreaReader
from worker.sync.evidence import Evidence


class _PlainEvidence:
    """Takes each failure for the person's."""

    ending = None
    given_up: Mapping[str, AreaError] = MappingProxyType({})

    def __init__(self, reader: AreaReader) -> None:
        self._reader = reader

    async def read(self, person: Person, area: str, *, is_single_use: bool = False) -> CompleteArea:
        """See ``Evidence.read``."""
        return await self._reader.read(person, area, is_single_use=is_single_use)


def plain_evidence(reader: AreaReader) -> Evidence:
    """In place of a run's evidence."""
    return cast("Evidence", _PlainEvidence(reader))
