"""Who has left the roster, and who is back on it.

A full run departs whoever none of its turns has met: what is open of them is closed, without a
proof of their own (ADR 0010).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.elements import ColumnElement

from worker.store.dialects import StoreDialect
from worker.store.queries.hints import for_most
from worker.store.runs.undo import forget_new_persons, undo_persons
from worker.store.schema.tables import VERSIONS, alias_of, attempt, person, person_area


@dataclass(frozen=True, slots=True, kw_only=True)
class Departures:
    """Departures and returns of one run, in the transaction of its publication.

    Attributes:
        met_by: the turns whose meeting a person on the roster counts.
    """

    dialect: StoreDialect
    tenant_id: int
    run_id: int
    seen_by_attempts: tuple[int, ...]

    def _is_met(self) -> ColumnElement[bool]:
        """Whether a turn that counts has met a person on the roster."""
        met = alias_of(person_area, "met")
        return (
            select(met.c.person_id)
            .where(
                met.c.person_id == person.c.person_id,
                met.c.run_id == self.run_id,
                met.c.attempt_id.in_(self.seen_by_attempts),
            )
            .exists()
        )

    def _is_not_sent(self) -> ColumnElement[bool]:
        """Whether it found them on the roster under an identifier that is not sent to PTS."""
        return func.coalesce(person.c.not_sent_by, 0).in_(self.seen_by_attempts)

    async def depart(self, connection: AsyncConnection) -> int:
        """Depart whoever is no longer on the roster, and close what is open of them."""
        run_id = self.run_id
        await self._take_back_unmet(connection)
        known = (
            select(person_area.c.person_id).where(person_area.c.person_id == person.c.person_id)
        ).exists()
        done = await connection.execute(
            update(person)
            .where(
                for_most(person.c.tenant_id == self.tenant_id),
                person.c.departed_run.is_(None),
                known,
                ~self._is_met(),
                ~self._is_not_sent(),
            )
            .values(departed_run=run_id)
        )
        if done.rowcount:
            gone = select(person.c.person_id).where(person.c.departed_run == run_id)
            for table in VERSIONS.values():
                await connection.execute(
                    update(table)
                    .where(
                        table.c.person_id.in_(gone),
                        table.c.closed_run.is_(None),
                        table.c.opened_run != run_id,
                    )
                    .values(closed_run=run_id)
                )
            # Should they come back, what is not read then is not known to be empty.
            await connection.execute(
                update(person_area)
                .where(person_area.c.person_id.in_(gone))
                .values(is_complete=False)
            )
        return done.rowcount

    async def _take_back_unmet(self, connection: AsyncConnection) -> None:
        """Take back what earlier turns at this run read of persons who have left the roster since.

        Nobody has seen it, and nobody must: a row that it opened would stay open for ever, and who
        was never seen cannot depart.
        """
        if not await self._has_other_turns(connection):
            return
        read = await connection.execute(
            select(person_area.c.person_id)
            .join(person, person.c.person_id == person_area.c.person_id)
            .where(
                person.c.tenant_id == self.tenant_id,
                person_area.c.run_id == self.run_id,
                person_area.c.attempt_id.not_in(self.seen_by_attempts),
                ~self._is_met(),
                ~self._is_not_sent(),
            )
            .distinct()
        )
        persons = list(read.scalars())
        if persons:
            dialect, run_id = self.dialect, self.run_id
            await undo_persons(connection, dialect, run_id, persons)
            await forget_new_persons(connection, run_id)

    async def _has_other_turns(self, connection: AsyncConnection) -> bool:
        """Whether the run has had turns whose meeting does not count."""
        others = select(attempt.c.attempt_id).where(
            attempt.c.run_id == self.run_id, attempt.c.attempt_id.not_in(self.seen_by_attempts)
        )
        return (await connection.execute(others.limit(1))).first() is not None

    async def restore(self, connection: AsyncConnection) -> Sequence[int]:
        """A departed person who is on the roster again is not departed any more; who they are."""
        met = alias_of(person_area, "met")
        is_met = (
            select(met.c.person_id)
            .where(met.c.person_id == person.c.person_id, met.c.run_id == self.run_id)
            .exists()
        )
        returned = await connection.execute(
            update(person)
            .where(
                for_most(person.c.tenant_id == self.tenant_id),
                person.c.departed_run.is_not(None),
                person.c.departed_run != self.run_id,
                is_met,
            )
            .values(departed_run=None)
            .returning(person.c.person_id)
        )
        return list(returned.scalars())
