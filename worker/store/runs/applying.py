"""Applies the drafts of one run as a publication, by statements over them: no row comes here."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, CursorResult

from worker.areas import AREAS
from worker.core.area import ResourceArea
from worker.core.effect import instant_sql
from worker.core.value import Value
from worker.store import statements
from worker.store.statements import filled

_ZONE: Final = ZoneInfo("Europe/Oslo")
"""Whose days publications are counted by."""
_WEEK: Final = timedelta(days=7)


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

    @property
    def day(self) -> date:
        """The date of the publication in Norway."""
        return self.at.astimezone(_ZONE).date()

    def depart(self) -> tuple[int, int]:
        """Mark persons as departed whom this full roster and the one before do not name.

        Returns:
            How many departed, and how many were missed for the first time.
        """
        if self.attempt > 1:
            self._for_each_area(statements.FORGET_UNSEEN_CHANGES)
            self._execute(statements.FORGET_UNSEEN)
        return self._execute(statements.DEPART), self._execute(statements.MARK_MISSED)

    def apply(self, *, has_unconfirmed: bool) -> tuple[int, Mapping[str, int]]:
        """Let readers see what the drafts say.

        Args:
            has_unconfirmed: a first read waits for a second one that was not made.

        Returns:
            The last row of the change feed before, and how many persons are new or back, by cohort.
        """
        if has_unconfirmed:
            self._for_each_area(statements.FAIL_UNCONFIRMED)
        seq: int = self.rows(statements.LAST_OF_FEED).scalar_one()
        self._for_each_area(statements.CLOSE_VERSIONS)
        self._for_each_area(statements.CLOSE_DEPARTED)
        self._execute(statements.ADD_PERSONS)
        self._for_each_area(statements.ADD_VERSIONS)
        self._execute(statements.WRITE_FEED)
        joined = {row[0]: row[1] for row in self.rows(statements.COUNT_JOINED)}
        self._execute(statements.CONFIRM_PERSONS)  # those who are back were away until now
        self._execute(statements.NAME_NOT_SENT)
        self._execute(statements.FORGET_DEPARTED)
        return seq, joined

    def forget_outdated(self, others: Sequence[int]) -> None:
        """Forget drafts of other open runs that were compared with what is no more published."""
        listed = ", ".join(map(str, others))
        self._execute(statements.FORGET_OUTDATED.replace("{others}", listed))
        self._for_each_area(statements.FORGET_OUTDATED_CHANGES.replace("{others}", listed))

    def rows(
        self, statement: str, area: ResourceArea | None = None
    ) -> CursorResult[*tuple[Any, ...]]:
        """What a statement of all areas or of one finds, or has done."""
        values = {
            "run": self.run_id,
            "attempt": self.attempt,
            "no": self.number,
            "at": instant_sql(self.at),
            "week_ago": self.day - _WEEK,
        }
        for days in statements.DAYS_APART:
            values[f"at{days:+}"] = instant_sql(self.at + timedelta(days=days))
        return self.connection.exec_driver_sql(filled(statement, area, **values))

    def _for_each_area(self, statement: str) -> None:
        for area in AREAS:
            self.rows(statement, area)

    def _execute(self, statement: str) -> int:
        return self.rows(statement).rowcount
