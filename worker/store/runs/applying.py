"""Applies the drafts of one run as a publication, by statements over them: no row comes here."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection

from worker.areas import AREAS
from worker.core.effect import instant_sql
from worker.core.value import Value
from worker.store import statements
from worker.store.runs.facts import write_facts
from worker.store.statements import of_all, of_area


class Application(Value, frozen=True, kw_only=True):
    """The drafts of a run, on their way to be a publication.

    Attributes:
        attempt: the last attempt at the run, which has read the roster to its end.
        number, at: of the publication.
    """

    connection: Connection
    run_id: int
    attempt: int
    number: int
    at: datetime

    def depart(self) -> tuple[int, int]:
        """Mark persons as departed whom this full roster and the one before do not name.

        Returns:
            How many departed, and how many were missed for the first time.
        """
        self._forget_unseen()
        return self._execute(statements.DEPART), self._execute(statements.MARK_MISSED)

    def _forget_unseen(self) -> None:
        """Forget what earlier attempts have read of persons whom this roster does not name."""
        if self.attempt > 1:
            self._for_each_area(statements.FORGET_UNSEEN_CHANGES)
            self._execute(statements.FORGET_UNSEEN)

    def apply(self, *, has_unconfirmed: bool) -> None:
        """Let readers see what the drafts say, and count it.

        Args:
            has_unconfirmed: a first read waits for a second one that was not made.
        """
        if has_unconfirmed:
            self._for_each_area(statements.FAIL_UNCONFIRMED)
        seq = self.connection.exec_driver_sql(statements.LAST_OF_FEED).scalar_one()
        self._for_each_area(statements.CLOSE_VERSIONS)
        self._for_each_area(statements.CLOSE_DEPARTED)
        self._execute(statements.ADD_PERSONS)
        self._for_each_area(statements.ADD_VERSIONS)
        self._execute(statements.WRITE_FEED)
        joined = self.connection.exec_driver_sql(self._filled(of_all(statements.COUNT_JOINED)))
        by_cohort = {row[0]: row[1] for row in joined}  # while they still are away
        self._execute(statements.CONFIRM_PERSONS)
        self._execute(statements.NAME_NOT_SENT)
        self._execute(statements.FORGET_DEPARTED)
        write_facts(self.connection, self.run_id, self.number, self.at, seq=seq, joined=by_cohort)

    def forget_outdated(self, others: Sequence[int]) -> None:
        """Forget drafts of other open runs that were compared with what is no more published."""
        listed = ", ".join(map(str, others))
        self._execute(statements.FORGET_OUTDATED.replace("{others}", listed))
        self._for_each_area(statements.FORGET_OUTDATED_CHANGES.replace("{others}", listed))

    def _for_each_area(self, statement: str) -> None:
        for area in AREAS:
            self.connection.exec_driver_sql(self._filled(of_area(statement, area)))

    def _execute(self, statement: str) -> int:
        return self.connection.exec_driver_sql(self._filled(of_all(statement))).rowcount

    def _filled(self, statement: str) -> str:
        return statement.format(
            run=self.run_id, attempt=self.attempt, no=self.number, at=instant_sql(self.at)
        )
