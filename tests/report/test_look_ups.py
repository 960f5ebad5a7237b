"""A look-up takes an index: a query plan says so, whatever the size of the table."""

import re

from sqlalchemy import event, text

from tests.support.report.stores import small_store
from tests.support.store_world import read, world_on
from worker.core.area import AREAS
from worker.store.schema.tables import metadata

LOOK_UPS = {
    "report_patient_safety_current WHERE local_ref = 'x'": "ix_person_local_ref",
    "report_person_freshness WHERE person_key = 'x'": "uq_person_person_key",
    "report_change_feed WHERE person_no = 1": "ix_change_feed_person_id",
    "person WHERE departed_no = 3": "ix_person_departed_no",
    "person WHERE missed_no = 3": "ix_person_missed_no",
    "run WHERE status IN ('running', 'interrupted')": "ix_run_status",
} | {
    f"report_{area.table}_{view}": f"ix_{area.table}_version_{columns}"
    for area in AREAS
    for view, columns in {
        "current WHERE restriction_id = 'x'": "restriction_id",
        "history WHERE restriction_id = 'x'": "restriction_id",
        "history WHERE person_key = 'x'": "person_id_restriction_id",
        "history WHERE opened_publication = 3": "opened_no",
        "history WHERE closed_publication = 3": "closed_no",
    }.items()
}
"""By condition: the index that answers it."""


async def test_a_look_up_takes_an_index(database_url):
    """A restriction or a person in both areas, now and in history; open runs; no index is idle."""
    plan_of = "EXPLAIN QUERY PLAN" if database_url.startswith("sqlite") else "EXPLAIN"

    async def plans(connection):
        if plan_of == "EXPLAIN":  # a table of one page is read whole, whatever indexes there are
            await connection.execute(text("SET LOCAL enable_seqscan = off"))
        found = {}
        for look_up in LOOK_UPS:
            rows = await connection.execute(text(f"{plan_of} SELECT * FROM {look_up}"))
            found[look_up] = {name for row in rows for name in re.findall(r"\w+", str(row[-1]))}
        return found

    async with world_on(database_url) as world:
        await small_store(world)
        found = await world.database.read(plans)
    assert {look_up for look_up, index in LOOK_UPS.items() if index not in found[look_up]} == set()
    indexes = {index.name for table in metadata.tables.values() for index in table.indexes}
    # Those of one open version, and of one id for a new person: test_migrations.
    refusing = {f"uq_{area.table}_version_open" for area in AREAS} | {"uq_draft_new"}
    assert indexes - refusing == set(LOOK_UPS.values())


async def test_a_batch_of_persons_does_not_read_all_drafts_of_the_run(sqlite_url):
    """Otherwise the time for a run's look-ups grows with the square of the roster."""
    statements = []
    async with world_on(sqlite_url) as world:
        attempt = await world.begin()
        await attempt.write(read(world, "aaaa", "x"))
        engine = world.database.engine.sync_engine

        @event.listens_for(engine, "before_cursor_execute")
        def keep(_connection, _cursor, statement, parameters, *_):
            if "FROM draft" in statement:
                statements.append((statement, parameters))

        assert set(await attempt.drafts("aaaa", "bbbb")) == {"aaaa"}
        event.remove(engine, "before_cursor_execute", keep)

        async def plan(connection):
            rows = []
            for statement, parameters in statements:
                rows += await connection.exec_driver_sql(
                    f"EXPLAIN QUERY PLAN {statement}", parameters
                )
            return [row[-1] for row in rows]

        steps = await world.database.read(plan)
    drafts = [step.rpartition("(")[2] for step in steps if re.search(r"SEARCH draft", step)]
    assert drafts == [
        "run_id=? AND person_id=?)",
        "run_id=? AND person_key=?)",
        "run_id=? AND person_id=?)",
    ]
