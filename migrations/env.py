"""Runs the migrations, on the connection handed in or on the configured database."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import anyio
from alembic import context
from sqlalchemy import Connection, column, delete, insert, table, text
from sqlalchemy.schema import CreateView, DropView

from worker.store.derived import derive_again
from worker.store.schema.tables import VERSIONS
from worker.store.schema.upgrade import HEAD
from worker.store.schema.views import view_definitions

LOCK = 0x7074735F7570
"""PostgreSQL's advisory lock of an upgrade; any number, but always the same: ``pts_up``."""
LOCK_TIMEOUT_S = 10
_ROWS = 1_000_000
"""The number of rows that SQLite assumes of a table without statistics."""
_STATISTICS = table("sqlite_stat1", column("tbl"), column("idx"), column("stat"))
_ROWS_PER_KEY = {
    ("person", "ix_person_local_ref"): "1",
    ("person_area", "sqlite_autoindex_person_area_1"): "2 1",
} | {
    (version.name, f"ix_{version.name}_person_id_restriction_id"): "2 1"
    for version in VERSIONS.values()
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


def set_statistics(connection: Connection) -> None:
    """Tell SQLite's planner how few rows of our tables a person has.

    SQLite assumes a million rows of a table that was never analysed, and ten for each value of an
    index. So it read a view from end to end where a short list of references was joined with it,
    and looked each row up in the list. With these statistics it begins with the list. They are
    fixed, so that the plans of a database do not change with its contents. ``ANALYZE`` replaces
    them. A migration may have made a table anew and dropped them.
    """
    connection.execute(text("ANALYZE sqlite_schema"))  # creates the table, and counts nothing
    for (name, index), rows in _ROWS_PER_KEY.items():
        connection.execute(delete(_STATISTICS).where(_STATISTICS.c.idx == index))
        row = {"tbl": name, "idx": index, "stat": f"{_ROWS} {rows}"}
        connection.execute(insert(_STATISTICS).values(row))


def migrate(connection: Connection) -> None:
    """Run all steps in the caller's transaction. The views are dropped before, created after."""
    dialect = connection.dialect.name
    views = [CreateView(query, name) for name, query in view_definitions(dialect).items()]
    granted: Sequence[str] = ()
    if dialect == "postgresql":
        # Of the transaction and not of the session, which a pooler gives to another client.
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_S}s'"))
        granted = grants_on(connection, [view.table.name for view in views])
    for view in views:  # none may stand in the way of a changed table
        connection.execute(DropView(view.table, if_exists=True))
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
    if context.get_context().get_current_revision() == HEAD:  # `alembic` may stop before it
        for view in views:
            connection.execute(view)
        for grant in granted:
            connection.execute(text(grant))
        derive_again(connection)  # this release may know more codes than the last one
        if dialect == "sqlite":
            set_statistics(connection)


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
        await database.for_long_transactions().write(
            lambda connection: connection.run_sync(migrate)
        )


given = context.config.attributes.get("connection")
if given is None:
    anyio.run(on_configured_database)
else:
    migrate(given)
