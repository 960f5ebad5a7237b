"""Runs the migrations, on the connection of ``db upgrade`` or on the configured database."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import anyio
from alembic import context
from sqlalchemy import Connection, column, delete, insert, table, text
from sqlalchemy.schema import CreateView, DropView

from worker.store.derived import correct_derived
from worker.store.schema.tables import VERSIONS
from worker.store.schema.upgrade import HEAD
from worker.store.schema.views import view_definitions

LOCK = 0x7074735F7570
"""The key of PostgreSQL's advisory lock for an upgrade: ``pts_up`` in ASCII."""
LOCK_TIMEOUT_S = 10
_ROWS = 1_000_000
"""SQLite's own estimate for a table without statistics."""
_STATISTICS = table("sqlite_stat1", column("tbl"), column("idx"), column("stat"))
_ROWS_PER_KEY = {
    ("person", "ix_person_local_ref"): "1",
    ("person_area", "sqlite_autoindex_person_area_1"): "2 1",
    # By run, and a run has as many drafts as the roster has persons.
    ("draft", "sqlite_autoindex_draft_1"): f"{_ROWS} 1",
    ("draft", "uq_draft_new"): f"{_ROWS} 1",
    ("draft_area", "sqlite_autoindex_draft_area_1"): f"{_ROWS} 2 1",
} | {
    (version.name, f"ix_{version.name}_person_id_restriction_id"): "2 1"
    for version in VERSIONS.values()
}
"""By table and index: the average number of rows with an equal first column, then with two equal
first columns, and so on. The format is that of ``sqlite_stat1``."""
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
"""PostgreSQL: the GRANT statements for the current privileges of other roles on a view."""


def grants_on(connection: Connection, views: Iterable[str]) -> Sequence[str]:
    """The GRANT statements that restore the privileges of other roles on these views.

    PostgreSQL only. A view that does not exist yet has no privileges.
    """
    return [
        statement
        for view in views
        for statement in connection.execute(text(_GRANTS), {"view": view}).scalars()
    ]


def set_statistics(connection: Connection) -> None:
    """Give SQLite's planner fixed statistics: a person has one or two rows, a run has many drafts.

    For a table that was never analysed, SQLite assumes a million rows, and ten rows for each value
    of an index. So if a reader joins a short list of references with a view, SQLite reads the whole
    view, and looks up each row in the list. For a batch of persons, it reads all drafts of the run.
    With these statistics it starts with the list, and with the batch.

    They are fixed, so that plans do not change with the contents of a database, unless the operator
    runs ``ANALYZE``. Each upgrade sets them again, because a migration that recreates a table drops
    them.
    """
    connection.execute(text("ANALYZE sqlite_schema"))  # creates the table without counting rows
    for (name, index), rows in _ROWS_PER_KEY.items():
        connection.execute(delete(_STATISTICS).where(_STATISTICS.c.idx == index))
        row = {"tbl": name, "idx": index, "stat": f"{_ROWS} {rows}"}
        connection.execute(insert(_STATISTICS).values(row))


def migrate(connection: Connection) -> None:
    """Run the migrations in the caller's transaction, and recreate the views."""
    dialect = connection.dialect.name
    views = [CreateView(query, name) for name, query in view_definitions(dialect).items()]
    granted: Sequence[str] = ()
    if dialect == "postgresql":
        # For the transaction only, because a pooler passes the session on to another client.
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        # A report may have a view open for hours, and all later readers would wait behind the DROP.
        connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_S}s'"))
        # DROP VIEW removes the privileges of readers.
        granted = grants_on(connection, [view.table.name for view in views])
    # PostgreSQL changes no column of a table while a view depends on it.
    for view in views:
        connection.execute(DropView(view.table, if_exists=True))
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
    # `alembic upgrade` may stop at an earlier revision, which lacks some tables of these views.
    if context.get_context().get_current_revision() == HEAD:
        for view in views:
            connection.execute(view)
        for grant in granted:
            connection.execute(text(grant))
        # This release may know the meaning of codes that the last one did not.
        correct_derived(connection)
        if dialect == "sqlite":
            set_statistics(connection)


async def on_configured_database() -> None:
    """Migrate the configured database, for the ``alembic`` command."""
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


upgrade_connection = context.config.attributes.get("connection")
if upgrade_connection is None:
    anyio.run(on_configured_database)
else:
    migrate(upgrade_connection)
