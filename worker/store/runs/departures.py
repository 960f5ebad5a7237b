"""Marks persons who left the roster as departed, and restores those who are back on it.

A full run marks persons as departed whom its last attempt has not seen on the roster. It closes
their open restrictions, without a completeness proof of their own (ADR 0010).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.elements import ColumnElement

from worker.store.runs.undo import forget_new_persons, undo_persons
from worker.store.schema.tables import VERSIONS, alias_of, attempt, failure, person, person_area


@dataclass(frozen=True, slots=True, kw_only=True)
class Departures:
    """Departures and restored persons of one run, in the transaction of its publication.

    Attributes:
        attempt_id: the run attempt that publishes. A person whom it saw is on the roster.
    """

    run_id: int
    attempt_id: int

    def _is_seen(self) -> ColumnElement[bool]:
        """Whether the attempt saw the person on the roster."""
        seen = alias_of(person_area, "seen")
        return (
            select(seen.c.person_id)
            .where(
                seen.c.person_id == person.c.person_id,
                seen.c.run_id == self.run_id,
                seen.c.attempt_id == self.attempt_id,
            )
            .exists()
        )

    def _is_not_sent(self) -> ColumnElement[bool]:
        """Whether it saw the person under an identifier that is not sent to PTS."""
        return func.coalesce(person.c.not_sent_by, 0) == self.attempt_id

    async def depart(self, connection: AsyncConnection) -> int:
        """Mark persons missing from the roster as departed, and close their open restrictions.

        Returns:
            How many persons departed.
        """
        run_id = self.run_id
        await self._forget_failures(connection)
        await self._undo_unseen(connection)
        known = (
            select(person_area.c.person_id).where(person_area.c.person_id == person.c.person_id)
        ).exists()
        done = await connection.execute(
            update(person)
            .where(
                person.c.departed_run.is_(None),
                ~self._is_seen(),
                ~self._is_not_sent(),
                known,
            )
            .values(departed_run=run_id)
        )
        if done.rowcount:
            departed = select(person.c.person_id).where(person.c.departed_run == run_id)
            for table in VERSIONS.values():
                await connection.execute(
                    update(table)
                    .where(
                        table.c.person_id.in_(departed),
                        table.c.closed_run.is_(None),
                        table.c.opened_run != run_id,
                    )
                    .values(closed_run=run_id)
                )
            # If they come back, an area that is not read then is not known to be empty.
            await connection.execute(
                update(person_area)
                .where(person_area.c.person_id.in_(departed))
                .values(is_complete=False)
            )
        return done.rowcount

    async def _forget_failures(self, connection: AsyncConnection) -> None:
        """Forget what could not be read of persons who left the roster: nobody reads it again."""
        left = select(person.c.person_id).where(
            person.c.person_id == failure.c.person_id, ~self._is_seen(), ~self._is_not_sent()
        )
        await connection.execute(delete(failure).where(left.exists()))

    async def _undo_unseen(self, connection: AsyncConnection) -> None:
        """Undo what earlier attempts of this run read of persons who left the roster since.

        It was never published and must not be: its open rows would stay open for ever, because a
        person who was never published cannot depart.
        """
        if not await self._has_other_attempts(connection):
            return
        read = await connection.execute(
            select(person_area.c.person_id)
            .join(person, person.c.person_id == person_area.c.person_id)
            .where(
                person_area.c.run_id == self.run_id,
                person_area.c.attempt_id != self.attempt_id,
                ~self._is_seen(),
                ~self._is_not_sent(),
            )
            .distinct()
        )
        persons = list(read.scalars())
        if persons:
            await undo_persons(connection, self.run_id, persons)
            await forget_new_persons(connection, self.run_id)

    async def _has_other_attempts(self, connection: AsyncConnection) -> bool:
        """Whether the run has had other attempts."""
        others = select(attempt.c.attempt_id).where(
            attempt.c.run_id == self.run_id, attempt.c.attempt_id != self.attempt_id
        )
        return (await connection.execute(others.limit(1))).first() is not None

    async def restore(self, connection: AsyncConnection) -> Sequence[int]:
        """Restore departed persons who are on the roster again; return their row ids."""
        seen = alias_of(person_area, "seen")
        is_seen = (
            select(seen.c.person_id)
            .where(seen.c.person_id == person.c.person_id, seen.c.run_id == self.run_id)
            .exists()
        )
        returned = await connection.execute(
            update(person)
            .where(
                person.c.departed_run.is_not(None),
                person.c.departed_run != self.run_id,
                is_seen,
            )
            .values(departed_run=None)
            .returning(person.c.person_id)
        )
        return list(returned.scalars())
