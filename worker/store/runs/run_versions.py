"""The versions of one area, by what one run did to them: conditions for others' queries."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Table, and_, select
from sqlalchemy.sql.elements import ColumnElement

from worker.core.value import Value
from worker.store.schema.tables import VERSIONS, alias_of


class RunVersions(Value, frozen=True, kw_only=True):
    """The versions of one area in one run.

    ``version`` is a row of the table, or of an alias of it.
    """

    area: str
    run_id: int

    @property
    def table(self) -> Table:
        """The area's versions, of all runs."""
        return VERSIONS[self.area]

    def is_added(self, version: Any) -> ColumnElement[bool]:
        """Whether the run opened a restriction that the person did not have."""
        return and_(version.c.opened_run == self.run_id, ~self._counterpart(version, "closed_run"))

    def is_removed(self, version: Any) -> ColumnElement[bool]:
        """Whether the run closed a restriction without a new content."""
        return and_(version.c.closed_run == self.run_id, ~self._counterpart(version, "opened_run"))

    def _counterpart(self, version: Any, column: str) -> ColumnElement[bool]:
        """Whether the run opened or closed another version of the same restriction and person.

        With ``closed_run``, the version replaces one; with ``opened_run``, it was replaced.
        """
        other = alias_of(self.table, "counterpart")
        return (
            select(other.c.version_id)
            .where(
                other.c[column] == self.run_id,
                other.c.restriction_id == version.c.restriction_id,
                other.c.person_id == version.c.person_id,
            )
            .correlate(version)
            .exists()
        )


def versions_of_run(run_id: int) -> Sequence[RunVersions]:
    """What a run did to each area."""
    return [RunVersions(area=area, run_id=run_id) for area in VERSIONS]
