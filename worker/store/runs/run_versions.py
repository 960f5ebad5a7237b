"""The versions of one area, by what one run did to them: conditions and queries for others."""

from typing import Any

from sqlalchemy import Select, Table, and_, func, or_, select
from sqlalchemy.sql.elements import ColumnElement

from worker.core.model import FailureKind
from worker.core.value import Value
from worker.store.queries.published import unpublished_runs
from worker.store.schema.tables import VERSIONS, alias_of, failure, person_area, run


class RunVersions(Value, frozen=True, kw_only=True):
    """The versions of one area in one run.

    ``version`` is a row of the table, or of an alias of it.

    Attributes:
        may_move: a restriction may have moved to another identifier of its person.
        are_keys_shared: none has, because the area's keys do not name one restriction.
    """

    area: str
    run_id: int
    may_move: bool
    are_keys_shared: bool

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

    def is_taken_over(self, version: Any, *, by_key: bool = False) -> ColumnElement[bool]:
        """Whether this version shows that a restriction came to its person from one other.

        The run opened it for a person who did not have it, for nobody else besides, and the person
        got nothing that a second one held. One answer with restrictions of many, or an id that
        comes up in two places at once, was not about one person.

        Args:
            by_key: the query names the restriction, so that its few rows are to be looked at and
                not all that the run opened.
        """
        rival = alias_of(self.table, "rival")
        comes_up_twice = (
            select(rival.c.version_id)
            .where(
                rival.c.restriction_id == version.c.restriction_id,
                rival.c.person_id != version.c.person_id,
                self._was_opened(rival),
                rival.c.closed_run.is_(None),
                ~self._counterpart(rival, "closed_run"),
            )
            .correlate(version)
            .exists()
        )
        return and_(
            self._was_opened(version) if by_key else version.c.opened_run == self.run_id,
            version.c.closed_run.is_(None),
            ~self._counterpart(version, "closed_run"),
            ~comes_up_twice,
            version.c.person_id.not_in(self.takers(of_at_least=2)),
        )

    def takers(self, *, of_at_least: int) -> Select[tuple[int]]:
        """Persons who got, in this run, restrictions that so many others held before it."""
        new, old = alias_of(self.table, "taken"), alias_of(self.table, "held")
        opened = alias_of(run, "first")
        return (
            select(new.c.person_id)
            .join(old, old.c.restriction_id == new.c.restriction_id)
            .join(opened, opened.c.run_id == old.c.opened_run)
            .where(
                new.c.opened_run == self.run_id,
                new.c.closed_run.is_(None),
                old.c.person_id != new.c.person_id,
                opened.c.publication_no.is_not(None),
                or_(old.c.closed_run.is_(None), old.c.closed_run.in_(unpublished_runs())),
                ~self._counterpart(new, "closed_run"),
            )
            .group_by(new.c.person_id)
            .having(func.count(old.c.person_id.distinct()) >= of_at_least)
        )

    def has_failed(self, version: Any) -> ColumnElement[bool]:
        """Whether the run asked for the row's person in this area, and could not read it."""
        return (
            select(person_area.c.person_id)
            .where(
                person_area.c.person_id == version.c.person_id,
                person_area.c.area == self.area,
                person_area.c.run_id == self.run_id,
                ~person_area.c.is_complete,
            )
            .exists()
        )

    def is_unstable(self, version: Any) -> ColumnElement[bool]:
        """Whether two reads of the row's person in this area contradicted each other."""
        return (
            select(failure.c.person_id)
            .where(
                failure.c.person_id == version.c.person_id,
                failure.c.area == self.area,
                failure.c.last_run == self.run_id,
                failure.c.kind == FailureKind.UNSTABLE,
            )
            .exists()
        )

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

    def _was_opened(self, version: Any) -> ColumnElement[bool]:
        """The run opened it; a condition that no index serves.

        SQLite takes the index of the run for no worse than that of the key, and looks through all
        that the run opened for each row that it opened.
        """
        found: ColumnElement[bool] = version.c.opened_run + 0 == self.run_id
        return found
