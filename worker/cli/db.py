"""``db``: the database's schema."""

import typer

from worker.cli.base import Cli, add_command

UPGRADE = """Bring the database to this program's schema, and make the reporting views anew.

Safe to run again. Run it once before the first sync and after each upgrade of the program.

Example: `pts-worker db upgrade`
"""
CHECK = """Tell which schema the database has and which this program needs. Exit 78 if they differ.

Example: `pts-worker db check`
"""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        no_args_is_help=True,
        help="Create and upgrade the database. Example: `pts-worker db upgrade`",
    )
    add_command(group, "upgrade", upgrade, UPGRADE)
    add_command(group, "check", check, CHECK)
    app.add_typer(group, name="db")


def upgrade(cli: Cli) -> int:
    """See ``UPGRADE``."""
    app = cli.load("report")
    from worker.errors import ExitCode
    from worker.store.schema import upgrade as upgrade_schema

    async def work() -> tuple[str | None, str]:
        async with app.database(checked=False) as database:
            return await upgrade_schema(database)

    before, after = cli.run(work)
    cli.emit(
        {"schema": {"before": before, "after": after}},
        lambda: print(
            f"the database is at schema {after}"
            + ("" if before == after else f" (was {before or 'empty'})")
        ),
    )
    return ExitCode.OK


def check(cli: Cli) -> int:
    """See ``CHECK``."""
    app = cli.load("report")
    from worker.errors import ExitCode
    from worker.store.schema import HEAD, check_schema, revision

    async def work() -> str | None:
        async with app.database(checked=False) as database:
            found = await revision(database)
            if not cli.as_json:
                print(f"database: {found or 'no schema'}; program: {HEAD}")
            await check_schema(database)
            return found

    found = cli.run(work)
    cli.emit({"schema": {"database": found, "program": HEAD}}, lambda: None)
    return ExitCode.OK
