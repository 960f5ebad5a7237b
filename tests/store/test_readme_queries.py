"""The example queries of README and docs/reference/views.md give what they say."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Table, insert, text
from sqlalchemy.ext.asyncio import AsyncConnection

from tests.support.documents import DOCS, README, blocks
from worker.runtime import real_runtime
from worker.store.database import open_database
from worker.store.schema.tables import VERSIONS, attempt, person, person_area, run

SAFETY, PRIVACY = "patient-safety", "patient-privacy"
JANUARY, FEBRUARY = datetime(2026, 1, 5, 3, 30, tzinfo=UTC), datetime(2026, 2, 5, 3, 30, tzinfo=UTC)


def a_run(number: int, at: datetime) -> dict[str, Any]:
    return {
        "run_id": number,
        "kind": "sync",
        "status": "published",
        "areas": f'["{SAFETY}","{PRIVACY}"]',
        "started_at": at,
        "published_at": at,
        "publication_no": number,
        "worker_version": "0",
    }


def a_version(who: int, key: str, code: str, opened: int, closed: int | None) -> dict[str, Any]:
    return {
        "person_id": who,
        "restriction_id": key,
        "opened_run": opened,
        "closed_run": closed,
        "first_seen_at": JANUARY,
        "observed_at": JANUARY,
        "content_hash": b"h" * 16,
        "confidentiality_code": code,
    }


def a_proof(who: int, area: str, at: datetime, *, complete: bool) -> dict[str, Any]:
    return {
        "person_id": who,
        "area": area,
        "run_id": 2,
        "attempt_id": 1,
        "is_complete": complete,
        "confirmed_at": at,
    }


WORLD: list[tuple[Table, list[dict[str, Any]]]] = [
    (run, [a_run(1, JANUARY), a_run(2, FEBRUARY)]),
    (attempt, [{"attempt_id": 1, "run_id": 2, "host": "h", "started_at": FEBRUARY}]),
    (
        person,
        [
            {"person_id": n, "person_key": key, "first_run": 1, "local_ref_run": 1}
            for n, key in ((1, "a"), (2, "b"))
        ],
    ),
    (
        VERSIONS[SAFETY],
        [
            a_version(1, "x", "NORU", 1, None),
            a_version(1, "y", "NORU", 1, 2),
            a_version(2, "z", "NORU", 1, None),
            a_version(2, "w", "N", 2, None),
        ],
    ),
    (
        person_area,
        [
            a_proof(1, SAFETY, FEBRUARY, complete=True),
            a_proof(2, SAFETY, JANUARY, complete=False),
            a_proof(1, PRIVACY, FEBRUARY, complete=True),
            a_proof(2, PRIVACY, FEBRUARY, complete=True),
        ],
    ),
]


def queries() -> list[str]:
    pages = (README, DOCS / "reference" / "views.md")
    return [sql for page in pages for sql in blocks(page.read_text(encoding="utf-8"), "sql")]


async def test_the_examples_find_what_is_there(database_url):
    """Restrictions in effect by code, as of an instant, and freshness, counted by hand."""

    async def fill(connection: AsyncConnection) -> None:
        for table, rows in WORLD:
            await connection.execute(insert(table), rows)

    async def ask(connection: AsyncConnection) -> list[list[tuple[Any, ...]]]:
        answers = []
        for query in queries():
            rows = await connection.execute(text(query.rstrip().rstrip(";")))
            answers.append([tuple(row) for row in rows])
        return answers

    async with open_database(database_url, real_runtime()) as database:
        await database.write(fill)
        by_code, as_of, freshness = await database.read(ask)
    assert by_code == [("NORU", 2, 2, 1)]
    assert as_of == [("NORU", 3)]
    assert [row[:3] for row in freshness] == [(PRIVACY, 2, 0), (SAFETY, 2, 1)]
    assert [str(row[3])[:10] for row in freshness] == ["2026-02-05", "2026-01-05"]
