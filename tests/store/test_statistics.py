"""What the planners are given: SQLite by ``db upgrade``, PostgreSQL by each publication."""

from sqlalchemy import text

from tests.support.store_world import read, world_on

PERSONS = "abcdefghijkl"


async def test_figures_of_sqlite_name_indexes_that_exist(sqlite_url):
    """SQLite says nothing of a figure for an index that it does not have."""
    async with world_on(sqlite_url) as world:
        found = await world.rows("SELECT tbl, idx FROM sqlite_stat1")
        indexes = await world.rows("SELECT tbl_name, name FROM sqlite_schema WHERE type = 'index'")
        assert found
        assert set(found) <= {*indexes, ("person_area", "person_area")}


async def analyzed(world, table):
    """How often the table was analysed."""
    (row,) = await world.rows(
        f"SELECT analyze_count FROM pg_stat_user_tables WHERE relname = '{table}'"
    )
    return row[0]


async def test_a_publication_analyses_what_nobody_has_since_it_changed(postgresql_url):
    """Proofs each time; other tables if a tenth has changed since autovacuum looked."""
    counts = []
    for change in ("", "", "=N"):
        async with world_on(postgresql_url) as world:
            attempt = await world.begin()
            await attempt.write(*(read(world, one, f"{one}1{change}") for one in PERSONS))
            # What a session has counted is seen at once, and not a second later.
            await world.database.write(
                lambda connection: connection.execute(text("SELECT pg_stat_force_next_flush()"))
            )
            await attempt.publish()
        async with world_on(postgresql_url) as world:
            tables = ("person_area", "person", "patient_safety_version")
            counts.append([await analyzed(world, table) for table in tables])
            await world.rows_written("ANALYZE")
    proofs, persons, versions = zip(*counts, strict=True)
    assert proofs == (1, 3, 5)
    assert persons == (1, 2, 3)
    assert versions == (1, 2, 4)
