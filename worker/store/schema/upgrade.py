"""The database's schema: which revision it has, and how it is brought to ours."""

from pathlib import Path
from typing import Any, Final

import anyio
from sqlalchemy import column, inspect, select, table
from sqlalchemy.ext.asyncio import AsyncConnection

import worker
from worker.errors import SchemaError
from worker.store.database import Database

HEAD: Final = "0014"
"""The revision that this program works on; a test compares it with the migrations."""
LOCK: Final = 0x7074735F7570
"""PostgreSQL's advisory lock of an upgrade; any number, but always the same: ``pts_up``."""
_ALEMBIC: Final = table("alembic_version", column("version_num"))


async def revision(connection: AsyncConnection) -> str | None:
    """The database's revision; ``None`` if no migration ever ran."""
    has_table = await connection.run_sync(lambda sync: inspect(sync).has_table("alembic_version"))
    if not has_table:
        return None
    found = await connection.execute(select(_ALEMBIC.c.version_num))
    return found.scalar_one_or_none()


async def check_schema(database: Database) -> None:
    """Refuse a database that this program was not made for.

    Raises:
        SchemaError: the schema is missing, behind or ahead; the hint names the command that helps.
    """
    found = await database.read(revision)
    if found == HEAD:
        return
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
    raise SchemaError(
        f"the database's schema is ahead: it is at {found}, this program knows {HEAD}",
        hint="run the newer program that upgraded it; `pts-worker db check` shows both",
    )


async def upgrade(database: Database) -> tuple[str | None, str]:
    """Bring the schema to ours, in one transaction, and make the reporting views anew.

    Of several at once one works. The others wait for it, within the database's patience.

    Returns:
        The revision before and after.

    Raises:
        SchemaError: the database is ahead of this program.
        UnavailableError: another upgrade goes on for too long.
    """
    before = await database.read(revision)
    if before is not None and before > HEAD:
        await check_schema(database)
    await database.alter(_upgrade)
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
