"""What the planners are given: SQLite by ``db upgrade``, PostgreSQL by each publication."""

from tests.support.store_world import read, world_on

PERSONS = "abcdefghijkl"


async def test_figures_of_sqlite_name_indexes_that_exist(sqlite_url):
    """SQLite says nothing of a figure for an index that it does not have."""
    async with world_on(sqlite_url) as world:
        found = await world.rows("SELECT tbl, idx FROM sqlite_stat1")
        indexes = await world.rows("SELECT tbl_name, name FROM sqlite_schema WHERE type = 'index'")
        assert found
        assert set(found) <= set(indexes)


async def analyzed(world, table):
    """How often the table was analysed."""
    (row,) = await world.rows(
        f"SELECT analyze_count FROM pg_stat_user_tables WHERE relname = '{table}'"
    )
    return row[0]


async def test_a_publication_analyses_what_the_run_has_written(postgresql_url):
    """Drafts and their changes: a night fills them, and autovacuum looks once a minute."""
    counts = []
    async with world_on(postgresql_url) as world:
        for _ in range(2):
            await world.publish(*(read(world, one, f"{one}1") for one in PERSONS))
            tables = ("draft", "draft_patient_safety")
            counts.append([await analyzed(world, table) for table in tables])
    assert counts == [[1, 1], [2, 2]]
