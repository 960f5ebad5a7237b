"""What SQLite makes of our hints, in its own words."""

from sqlalchemy import func, select, text
from sqlalchemy.dialects import postgresql, sqlite

from worker.runtime import real_runtime
from worker.store.database import open_database
from worker.store.queries.hints import for_most
from worker.store.schema.tables import person

STAYING = (
    select(func.count())
    .select_from(person)
    .where(for_most(person.c.tenant_id == 1), person.c.departed_run.is_(None))
)


async def test_persons_are_not_sought_by_their_tenant(migrated_sqlite):
    """Not through the index of all persons' keys, which begins with the tenant."""
    sql = str(STAYING.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True}))
    async with open_database(f"sqlite:///{migrated_sqlite}", real_runtime()) as database:

        async def look(connection):
            found = await connection.execute(text(f"EXPLAIN QUERY PLAN {sql}"))
            return " ".join(row.detail for row in found)

        plan = await database.read(look)
    assert "ix_person_departed_run" in plan
    assert "tenant_id=?" not in plan


def test_postgresql_sees_the_condition_alone():
    """It knows such a thing by itself, and has no such function."""
    assert "likely" not in str(STAYING.compile(dialect=postgresql.dialect()))
