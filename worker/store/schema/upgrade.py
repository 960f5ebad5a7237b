"""The database's schema: which revision it has, how it is brought to ours, and what is kept."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import anyio
from sqlalchemy import Connection, column, inspect, select, table, text
from sqlalchemy.ext.asyncio import AsyncConnection

import worker
from worker.errors import SchemaError
from worker.store.database import Database
from worker.store.schema.tables import VERSIONS

HEAD: Final = "1004"
"""The revision that this program works on; a test compares it with the migrations."""
_RELEASED: Final = "1004"
"""Revisions below are of development versions, whose databases are not upgraded."""
LOCK: Final = 0x7074735F7570
"""PostgreSQL's advisory lock of an upgrade; any number, but always the same: ``pts_up``."""
_ROWS: Final = 1_000_000
"""As SQLite supposes of a table that it knows nothing of."""
_OF_A_PERSON: Final = {
    ("person", "ix_person_local_ref"): "1",
} | {
    (table.name, f"ix_{table.name}_person_id_restriction_id"): "2 1" for table in VERSIONS.values()
}
"""By table and index: rows for each value of its first column, of its first two, and so on."""
_GRANTS: Final = """
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
_ALEMBIC: Final = table("alembic_version", column("version_num"))


async def revision(connection: AsyncConnection) -> str | None:
    """The database's revision; ``None`` if no migration ever ran."""
    has_table = await connection.run_sync(lambda sync: inspect(sync).has_table("alembic_version"))
    if not has_table:
        return None
    found = await connection.execute(select(_ALEMBIC.c.version_num))
    return found.scalar_one_or_none()


async def require_upgradable(database: Database) -> str | None:
    """The revision of a database that ``upgrade`` can bring to ours; ``None`` if it has none yet.

    Raises:
        SchemaError: a development version made the schema, or a newer program.
    """
    found = await database.read(revision)
    if found is not None and found < _RELEASED:
        raise SchemaError(
            f"the database's schema is at {found}: a development version made it, and this program "
            "does not upgrade it",
            hint="begin a new database (another database.url, then `pts-worker db upgrade`): a "
            "full sync fills it, and this one stays as it is",
        )
    if found is not None and found > HEAD:
        raise SchemaError(
            f"the database's schema is ahead: it is at {found}, this program knows {HEAD}",
            hint="run the newer program that upgraded it; `pts-worker db check` shows both",
        )
    return found


async def check_schema(database: Database) -> None:
    """Refuse a database that this program was not made for.

    Raises:
        SchemaError: the schema is missing, of a development version, behind or ahead; the hint
            says what helps.
    """
    found = await require_upgradable(database)
    if found is None:
        raise SchemaError(
            "the database has no tables of this program yet",
            hint="if database.url names the right one, run `pts-worker db upgrade` once",
        )
    if found < HEAD:
        raise SchemaError(
            f"the database's schema is behind: it is at {found}, this program needs {HEAD}",
            hint="run `pts-worker db upgrade`",
        )


async def upgrade(database: Database) -> tuple[str | None, str]:
    """Bring the schema to ours, in one transaction, and make the reporting views anew.

    Of several at once one works. The others wait for it, within the database's patience.

    Returns:
        The revision before and after.

    Raises:
        SchemaError: a development version made the database, or a newer program.
        UnavailableError: another upgrade goes on for too long.
    """
    before = await require_upgradable(database)
    await database.lasting().alter(_upgrade)
    await anyio.lowlevel.checkpoint()
    return before, HEAD


def migrations_folder() -> Path:
    """The migration scripts: beside the package in a checkout, inside it when installed."""
    package = Path(worker.__file__).parent
    inside = package / "migrations"
    return inside if inside.is_dir() else package.parent / "migrations"


def alembic_config(**attributes: Any) -> Any:
    """Alembic's configuration for our scripts, without a file."""
    from alembic.config import Config  # noqa: PLC0415 - heavy, and only migrations need it

    config = Config()
    config.set_main_option("script_location", str(migrations_folder()))
    config.attributes.update(attributes)
    return config


async def _upgrade(connection: AsyncConnection) -> None:
    from alembic import command  # noqa: PLC0415 - heavy, and only migrations need it

    await connection.run_sync(lambda sync: command.upgrade(alembic_config(connection=sync), "head"))


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
    counted, so that the plans of a database do not change with its contents; who runs ``ANALYZE``
    replaces them. A migration may have made a table anew and dropped its figures.
    """
    if dialect != "sqlite":
        return
    yield "ANALYZE sqlite_schema"  # makes the table of figures, and counts nothing
    for (name, index), rows in _OF_A_PERSON.items():
        yield f"DELETE FROM sqlite_stat1 WHERE idx = '{index}'"  # noqa: S608 - declared
        values = f"('{name}', '{index}', '{_ROWS} {rows}')"
        yield f"INSERT INTO sqlite_stat1 VALUES {values}"  # noqa: S608 - declared
