"""The database that readers are timed on, and a copy of what they read, laid by hand.

The nights are real: the worker's own reader, writer and publisher, with made-up answers. Only the
facts of the year before them are inserted by SQL, as copies of the first night's.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import insert, text
from sqlalchemy.ext.asyncio import AsyncConnection

from bench.multiply import multiply
from bench.nights import night
from bench.people import answer
from worker import __version__
from worker.ports import real_runtime
from worker.store.database import Database, open_database
from worker.store.schema.columns import PERSON_COUNTS
from worker.store.schema.tables import run
from worker.store.schema.upgrade import upgrade
from worker.views import view_columns

DAYS: Final = 365
NIGHTS: Final = 3
BY_PROGRAM: Final = 200_000
"""Persons who are read and written by the program, at most; the others are copies of them."""
COHORTS: Final = 10
NAMING: Final = ("person_key", "local_ref")
"""The columns by which readers look somebody up."""
_CODES: Final = ("NORU", "NORN_EPO", "NORN_FFL", "NORS", "N", "NORN_UNGDOM")

COPIES: Final = {
    view: NAMING
    for view, columns in view_columns().items()
    if set(NAMING) <= {column.name for column in columns}
} | {
    "report_daily": ("publication_no", "day, area, code, in_effect"),
    "report_publication": ("publication_no",),
}
"""The views that are copied (all that show persons, and two of facts), and what gets an index."""


def various(area: str, person: str, generation: int, change_percent: int) -> bytes:
    """The answers of ``bench.people``, with a code that depends on the person."""
    code = _CODES[int(person[:2]) % len(_CODES)]
    found = answer(area, person, generation, change_percent)
    return found.replace(b'"NORU"', f'"{code}"'.encode())


async def fill(url: str, persons: int, nights: int = NIGHTS, by_program: int = BY_PROGRAM) -> None:
    """A year of published days and some real nights.

    Args:
        url: of an empty database.
        persons: how many; beyond ``by_program`` a multiple of it.
        nights: the real ones.
        by_program: persons who are written by the program.
    """
    times = max(1, persons // by_program)
    persons //= times
    async with open_database(url, real_runtime()) as database:
        await upgrade(database)
    # A connection reads SQLite's statistics when it opens, so the upgrade has its own.
    async with open_database(url, real_runtime()) as database:
        first = DAYS - nights + 1
        await database.write(lambda connection: _runs_before(connection, first))
        for generation in range(nights):
            await night(database, persons, generation=generation, answers=various, cohorts=COHORTS)
            if not generation:
                await database.write(lambda connection: _facts_before(connection, first))
        await database.for_long_transactions().write(lambda connection: multiply(connection, times))
        await _tidy(database)


async def _runs_before(connection: AsyncConnection, first: int) -> None:
    now = datetime.now(UTC)
    rows = []
    for number in range(1, first):
        at = now - timedelta(days=first - number)
        times = dict.fromkeys(("started_at", "finished_at", "published_at"), at)
        rows.append(
            {
                "kind": "sync",
                "status": "published",
                "areas": '["patient-safety","patient-privacy"]',
                "publication_no": number,
                "day": at.date().isoformat(),
                "exit_code": 0,
                "worker_version": __version__,
                **times,
            }
        )
    await connection.execute(insert(run), rows)


async def _facts_before(connection: AsyncConnection, first: int) -> None:
    """Copies of the first night's facts, under the numbers and days of the runs before it."""
    counts = ", ".join(
        f"{name} = (SELECT f.{name} FROM run f WHERE f.publication_no = {first})"
        for name in PERSON_COUNTS
    )
    await connection.execute(text(f"UPDATE run SET {counts} WHERE publication_no < {first}"))
    for table in ("publication_code", "publication_cohort", "publication_figure"):
        columns = list((await connection.execute(text(f"SELECT * FROM {table} LIMIT 0"))).keys())
        values = ", ".join(
            "r.publication_no" if name == "publication_no" else f"f.{name}" for name in columns
        )
        await connection.execute(
            text(
                f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values} "
                f"FROM {table} f, run r WHERE f.publication_no = {first} "
                f"AND r.publication_no < {first}"
            )
        )


async def _tidy(database: Database) -> None:
    """What autovacuum does meanwhile; SQLite has nothing of the kind."""
    if not database.is_file:
        async with database.engine.connect() as connection:
            autocommit = await connection.execution_options(isolation_level="AUTOCOMMIT")
            await autocommit.execute(text("VACUUM (ANALYZE)"))


def copy_statements() -> Iterator[str]:
    """Tables of the same rows, with the indexes that one would make by hand; and a list."""
    for view, columns in COPIES.items():
        copy = copy_of(view)
        yield f"CREATE TABLE {copy} AS SELECT * FROM {view}"
        for number, indexed in enumerate(columns):
            yield f"CREATE INDEX ix_{copy}_{number} ON {copy} ({indexed})"
    yield (
        "CREATE TABLE wanted AS SELECT local_ref FROM copy_person_freshness "
        "WHERE area = 'patient-safety' ORDER BY substr(person_key, 5) LIMIT 500"
    )


def copy_of(view: str) -> str:
    """The name of a view's copy."""
    return view.replace("report_", "copy_", 1)
