"""Runs the migrations, on the connection handed in or on the configured database."""

import os
from collections.abc import Sequence
from pathlib import Path

import anyio
from alembic import context
from sqlalchemy import Connection

import worker.store.schema.indexes  # noqa: F401 - adds them to the metadata
from worker.store.schema.tables import metadata
from worker.store.schema.upgrade import HEAD, LOCK, grants_on, statistics_statements
from worker.store.schema.views import create_statements, drop_statements, view_definitions

LOCK_TIMEOUT_S = 10


def migrate(connection: Connection) -> None:
    """All steps in the caller's transaction; the views are dropped before and made after."""
    dialect = connection.dialect.name
    granted: Sequence[str] = ()
    if dialect == "postgresql":
        # Of the transaction and not of the session, which a pooler gives to somebody else.
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK})")
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_S}s'")
        granted = grants_on(connection, view_definitions(dialect))
    for statement in drop_statements(dialect):
        connection.exec_driver_sql(statement)
    context.configure(
        connection=connection,
        target_metadata=metadata,
        render_as_batch=True,
        compare_type=True,
    )
    with context.begin_transaction():
        context.run_migrations()
    if context.get_context().get_current_revision() == HEAD:  # `alembic` may stop before it
        for statement in (*create_statements(dialect), *granted):
            connection.exec_driver_sql(statement)
        for statement in statistics_statements(dialect):
            connection.exec_driver_sql(statement)


async def on_configured_database() -> None:
    """For the ``alembic`` command itself."""
    from worker.config import database_url, load
    from worker.ports import real_runtime
    from worker.store.database import open_database

    settings = load({}, environ=os.environ, cwd=Path.cwd()).settings
    url = database_url(settings.database)
    async with open_database(
        url,
        real_runtime(),
        ca_file=settings.tls.ca_file,
        is_group_readable=settings.database.group_readable,
    ) as database:
        await database.lasting().alter(lambda connection: connection.run_sync(migrate))


given = context.config.attributes.get("connection")
if given is None:
    anyio.run(on_configured_database)
else:
    migrate(given)
