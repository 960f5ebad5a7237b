"""The declared columns of the reporting views against the databases'."""

import pytest
from sqlalchemy import inspect, select

from tests.support.report.month import month
from tests.support.report.stores import safety, seen, small_store
from tests.support.store_world import world_on
from worker.errors import UsageError
from worker.views import Kind, View, view_columns, view_keys, views_named


@pytest.mark.promise("2")
async def test_values_have_the_declared_types(database_url):
    """Booleans are booleans and times aware UTC on both databases; what cannot be null is not."""
    async with world_on(database_url, our_clock=True) as world:
        await small_store(world)
        table = View(name="report_patient_safety_current").table()

        async def work(connection):
            query = select(table.c.is_stale, table.c.delay_is_indefinite, table.c.first_seen_at)
            return (await connection.execute(query.order_by(table.c.restriction_id))).all()

        first = (await world.database.read(work))[0]
        assert type(first[0]) is bool
        assert first[1] is None or type(first[1]) is bool
        assert first[2].utcoffset().total_seconds() == 0
        needed = await world.rows(
            "SELECT view_name, column_name FROM report_dictionary WHERE NOT is_nullable"
        )
        for view, name in needed:
            sql = f"SELECT count(*) FROM {view} WHERE {name} IS NULL"
            assert await world.rows(sql) == [(0,)], (view, name)


PLACES = {
    Kind.TEXT: {"TEXT", "VARCHAR"},
    Kind.JSON: {"TEXT"},
    Kind.DATE: {"DATE", "VARCHAR"},
    Kind.TIME: {"TIMESTAMP", "TEXT", "VARCHAR"},
    Kind.BOOLEAN: {"BOOLEAN", "INTEGER", "NUMERIC"},
    Kind.INTEGER: {"BIGINT", "INTEGER", "SMALLINT", "NUMERIC"},
}
"""What SQLAlchemy calls the types of each kind; SQLite's UNION makes its numbers NUMERIC."""
UNTYPED = {"report_code", "report_dictionary"}
"""On SQLite, where rows that the program itself says have none."""


@pytest.mark.promise("2")
async def test_the_dictionary_is_the_databases(database_url):
    """Each column of each view stands in it once, in order, with its type and both meanings."""
    async with world_on(database_url) as world:

        async def work(connection):
            return await connection.run_sync(_typed)

        real = await world.database.read(work)
        rows = await world.rows(
            "SELECT view_name, column_name, type, meaning_nb, meaning_en FROM report_dictionary"
        )
        named: dict[str, list[str]] = {}
        for view, name, kind, nb, en in rows:
            named.setdefault(view, []).append(name)
            assert nb, (view, name)
            assert en, (view, name)
            place = real[view][name]
            assert place in PLACES[Kind(kind)] or (view in UNTYPED and not place), (view, name)
        assert named == {view: list(columns) for view, columns in real.items()}
        assert named == {
            view: [one.name for one in columns] for view, columns in view_columns().items()
        }


def _typed(connection):
    inspector = inspect(connection)
    return {
        name: {
            column["name"]: str(column["type"]).partition("(")[0].replace("NULL", "")
            for column in inspector.get_columns(name)
        }
        for name in inspector.get_view_names()
        if name.startswith("report_")
    }


async def test_the_codes_agree_with_the_views(database_url):
    """``report_code`` puts a code into the group that the views give its restrictions."""
    async with world_on(database_url, our_clock=True) as world:
        codes = await world.rows(
            "SELECT code, restriction_group, is_restricting FROM report_code WHERE system = '9603'"
        )
        assert len(codes) == 14
        assert [
            (code, group, bool(restricts)) for code, group, restricts in codes if not restricts
        ] == [("N", "none", False)]
        await world.publish(seen(world, 1, *(safety(code, code) for code, _, _ in codes)))
        shown = await world.rows(
            "SELECT confidentiality_code, restriction_group, is_in_effect "
            "FROM report_patient_safety_current"
        )
        assert set(shown) == set(codes)


def test_a_view_is_named_with_or_without_its_prefix():
    """``run`` is ``report_run``; a wrong name is named with the right ones."""
    assert [view.name for view in views_named(["run", "report_run"])] == ["report_run"]
    assert {view.name for view in views_named([])} == set(view_columns()) - {"report_access"}
    assert [view.name for view in views_named(["access"])] == ["report_access"]
    with pytest.raises(UsageError, match="no reporting view 'runs'"):
        views_named(["runs"])


@pytest.mark.promise("2")
async def test_rows_differ_in_the_key(database_url):
    """In a week with a sync and a backfill on one day, a code in two groups and unknown codes."""
    async with world_on(database_url, our_clock=True) as world:
        await month(world, nights=8)
        ((runs,),) = await world.rows(
            "SELECT max(n) FROM (SELECT count(*) AS n FROM report_publication GROUP BY day) AS days"
        )
        assert runs == 2
        groups = await world.rows(
            "SELECT DISTINCT restriction_group FROM report_daily WHERE code = 'NORU' AND is_last"
        )
        assert {group for (group,) in groups} == {"delayed", "pending"}
        for view, key in view_keys().items():
            columns = ", ".join(key)
            twice = f"SELECT {columns} FROM {view} GROUP BY {columns} HAVING count(*) > 1"
            assert view == "report_access" or await world.rows(twice) == [], view
