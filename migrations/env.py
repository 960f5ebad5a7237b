"""Runs the migrations, on the connection handed in or on the configured database."""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import anyio
from alembic import context
from sqlalchemy import Connection, text

from worker.store.schema.tables import VERSIONS
from worker.store.schema.upgrade import HEAD
from worker.store.schema.views import view_definitions

LOCK = 0x7074735F7570
"""PostgreSQL's advisory lock of an upgrade; any number, but always the same: ``pts_up``."""
LOCK_TIMEOUT_S = 10
_ROWS = 1_000_000
"""As SQLite supposes of a table that it knows nothing of."""
_OF_A_PERSON = {
    ("person", "ix_person_local_ref"): "1",
} | {
    (table.name, f"ix_{table.name}_person_id_restriction_id"): "2 1" for table in VERSIONS.values()
}
"""By table and index: rows for each value of its first column, of its first two, and so on."""
_GRANTS = """
    SELECT 'GRANT ' || a.privilege_type || g.part || ' ON ' || c.relname || ' TO '
        || CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END
        || CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
    FROM pg_class c
    CROSS JOIN LATERAL (
        SELECT '', c.relacl
        UNION ALL
        SELECT '(' || quote_ident(attname) || ')', attacl
        FROM pg_attribute
        WHERE attrelid = c.oid AND attacl IS NOT NULL
    ) g(part, acl)
    CROSS JOIN LATERAL aclexplode(g.acl) a
    WHERE c.oid = to_regclass(:view) AND a.grantee <> c.relowner
    ORDER BY 1
"""
"""PostgreSQL: the statements that grant again what others may do with a view."""


def grants_on(connection: Connection, views: Iterable[str]) -> Sequence[str]:
    """The GRANT statements that give others again what they may do with these views.

    On PostgreSQL alone; a view that does not exist yet has none. Its owner needs no grant.
    """
    return [
        statement
        for view in views
        for statement in connection.execute(text(_GRANTS), {"view": view}).scalars()
    ]


def statistics_statements(dialect: str) -> Iterator[str]:
    """What SQLite's planner is given about our tables: how few rows of each a person has.

    SQLite takes a table that was never analysed for a million rows, and ten rows for each value of
    an index. So it read a view from end to end where a short list of references was joined with it,
    and looked each row up in the list. With these figures it begins with the list. They are not
    counted, so that the plans of a database do not change with its contents; running ``ANALYZE``
    replaces them. A migration may have made a table anew and dropped its figures.
    """
    if dialect != "sqlite":
        return
    yield "ANALYZE sqlite_schema"  # makes the table of figures, and counts nothing
    for (name, index), rows in _OF_A_PERSON.items():
        yield f"DELETE FROM sqlite_stat1 WHERE idx = '{index}'"  # noqa: S608 - declared
        values = f"('{name}', '{index}', '{_ROWS} {rows}')"
        yield f"INSERT INTO sqlite_stat1 VALUES {values}"  # noqa: S608 - declared


def migrate(connection: Connection) -> None:
    """All steps in the caller's transaction; the views are dropped before and made after."""
    dialect = connection.dialect.name
    views = view_definitions(dialect)
    granted: Sequence[str] = ()
    if dialect == "postgresql":
        # Of the transaction and not of the session, which a pooler gives to somebody else.
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK})")
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_S}s'")
        granted = grants_on(connection, views)
    for name in views:  # none may stand in the way of a changed table
        connection.exec_driver_sql(f"DROP VIEW IF EXISTS {name}")
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
    if context.get_context().get_current_revision() == HEAD:  # `alembic` may stop before it
        created = (f"CREATE VIEW {name} AS {sql}" for name, sql in views.items())
        for statement in (*created, *granted, *statistics_statements(dialect)):
            connection.exec_driver_sql(statement)


async def on_configured_database() -> None:
    """For the ``alembic`` command itself."""
    from worker.config import load
    from worker.config.needs import database_url
    from worker.ports import real_runtime
    from worker.store.database import open_database

    settings = load({}, environ=os.environ, cwd=Path.cwd()).settings
    url = database_url(settings, "database")
    async with open_database(
        url,
        real_runtime(),
        ca_file=settings.tls.ca_file,
        is_group_readable=settings.database.group_readable,
    ) as database:
        await database.lasting().write(lambda connection: connection.run_sync(migrate))


given = context.config.attributes.get("connection")
if given is None:
    anyio.run(on_configured_database)
else:
    migrate(given)
