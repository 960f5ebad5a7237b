"""The declared columns of the reporting views against the databases'."""

import pytest
from sqlalchemy import inspect, select

from tests.report.support import small_store
from tests.store.test_store_scenarios import world_on
from worker.errors import UsageError
from worker.report.views import VIEWS, views_named


async def test_the_declared_columns_are_those_of_the_database(database_url):
    """A view gets no column that the export does not know, and loses none."""
    async with world_on(database_url, our_clock=True) as world:

        async def work(connection):
            return await connection.run_sync(_columns)

        assert {name: set(view.columns) for name, view in VIEWS.items()} == (
            await world.database.read(work)
        )


def _columns(connection):
    inspector = inspect(connection)
    return {
        name: {column["name"] for column in inspector.get_columns(name)}
        for name in inspector.get_view_names()
        if name.startswith("report_")
    }


async def test_values_have_the_declared_types(database_url):
    """Booleans are booleans and times aware UTC on both databases."""
    async with world_on(database_url, our_clock=True) as world:
        await small_store(world)
        table = VIEWS["report_patient_safety_current"].table()

        async def work(connection):
            query = select(table.c.is_stale, table.c.delay_is_indefinite, table.c.first_seen_at)
            return (await connection.execute(query.order_by(table.c.restriction_id))).all()

        first = (await world.database.read(work))[0]
        assert [bool, bool] == [type(first[0]), type(first[1]) if first[1] is not None else bool]
        assert 0 == first[2].utcoffset().total_seconds()


def test_a_view_is_named_with_or_without_its_prefix():
    """``run`` is ``report_run``; a wrong name is told with the right ones."""
    assert ["report_run"] == [view.name for view in views_named(["run", "report_run"])]
    assert set(VIEWS) - {"report_access"} == {view.name for view in views_named([])}
    assert ["report_access"] == [view.name for view in views_named(["access"])]
    with pytest.raises(UsageError, match="no reporting view 'runs'"):
        views_named(["runs"])
