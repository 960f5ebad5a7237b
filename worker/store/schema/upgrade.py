"""The revision of a database's schema, and its upgrade to the revision of this program."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import anyio
from sqlalchemy import Connection, column, inspect, select, table
from sqlalchemy.ext.asyncio import AsyncConnection

import worker
from worker.core.display import listed
from worker.errors import ConfigurationError
from worker.store.database import Database

HEAD: Final = "1101"
"""The revision that this program requires. A test compares it with the migrations."""
_ALEMBIC: Final = table("alembic_version", column("version_num"))


async def revision(connection: AsyncConnection) -> str | None:
    """The database's revision, or ``None`` if no migration ever ran.

    Raises:
        ConfigurationError: the database cannot store every text that PTS may send.
    """
    if connection.dialect.name == "postgresql":
        encoding = (await connection.exec_driver_sql("SHOW server_encoding")).scalar_one()
        if encoding != "UTF8":
            raise ConfigurationError(
                f"the database's encoding is {encoding}, which cannot store every text",
                hint="create the database again with ENCODING 'UTF8' TEMPLATE template0",
            )
    has_table = await connection.run_sync(lambda sync: inspect(sync).has_table("alembic_version"))
    if not has_table:
        return None
    versions = await connection.execute(select(_ALEMBIC.c.version_num))
    return versions.scalar_one_or_none()


async def require_upgradable(database: Database) -> str | None:
    """The revision of a database that ``upgrade`` accepts. ``None`` before the first migration.

    Raises:
        ConfigurationError: the schema is from an unknown version of the program, or as in
            ``revision``.
    """
    stored = await database.read(revision)
    # Each revision that this program can upgrade from has a script.
    if stored is not None and not any(_migrations_folder().glob(f"versions/{stored}_*.py")):
        raise ConfigurationError(
            f"the database's schema is at {stored}, but this program knows only {HEAD}",
            hint="run the version of the program that created it. Or create a new database "
            "(another database.url, then `pts-worker db upgrade`), which a full sync fills",
        )
    return stored


async def check_schema(database: Database) -> None:
    """Refuse a database that this program was not made for.

    Raises:
        ConfigurationError: the schema is missing or different. The hint gives the remedy.
    """
    stored = await require_upgradable(database)
    if stored is None:
        raise ConfigurationError(
            "the database has no tables of this program yet",
            hint="if database.url names the right one, run `pts-worker db upgrade` once",
        )
    if stored != HEAD:
        raise ConfigurationError(
            f"the database's schema is at {stored}, but this program needs {HEAD}",
            hint="back the database up, then run `pts-worker db upgrade`",
        )


async def upgrade(database: Database) -> tuple[str | None, str]:
    """Upgrade the schema to ``HEAD`` in one transaction, and recreate the reporting views.

    Concurrent upgrades run one at a time. The others wait within the database's patience.

    Returns:
        The revision before and after.

    Raises:
        ConfigurationError: the database's schema is unknown to this program, or the file belongs
            to another program.
        UnavailableError: another upgrade takes too long.
    """
    before = await require_upgradable(database)
    if before is None and database.is_file:
        await _require_own_file(database)
    await database.for_long_transactions().write(lambda connection: connection.run_sync(migrate))
    # The transaction was shielded, so a cancellation takes effect only here.
    await anyio.lowlevel.checkpoint()
    return before, HEAD


async def _require_own_file(database: Database) -> None:
    """Refuse a SQLite file with tables of another program. A PostgreSQL schema may be shared."""

    def table_names(connection: Connection) -> Sequence[str]:
        return inspect(connection).get_table_names()

    # Without a revision, this program has no table in the file.
    if foreign := await database.read(lambda connection: connection.run_sync(table_names)):
        raise ConfigurationError(
            f"the database file has tables of another program ({listed(foreign)})",
            hint="name a new file in database.url",
        )


def migrate(connection: Connection) -> None:
    """Run the migrations inside the caller's transaction."""
    from alembic import command  # noqa: PLC0415 - heavy, and only migrations need it
    from alembic.config import Config  # noqa: PLC0415 - as above

    config = Config()
    config.set_main_option("script_location", str(_migrations_folder()))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _migrations_folder() -> Path:
    """The migration scripts: beside the package in a checkout, inside it when installed."""
    package = Path(worker.__file__).parent
    inside = package / "migrations"
    return inside if inside.is_dir() else package.parent / "migrations"
