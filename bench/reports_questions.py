"""What readers ask, of the views and of their copies, in processor seconds."""

import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

import asyncpg

from bench.reports_store import COPIES, NAMING, copy_of, copy_statements

_SAFE: Final = "report_patient_safety_current"
_LONG_ENOUGH_S: Final = 0.5
_ROUNDS_MAX: Final = 15
_LOOK_UP_S: Final = 0.05
_COUNT_S: Final = 0.1
COMPLETE: Final = 2.0

Query = Callable[[str], Awaitable[int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A query over the views; with their copies in their place it is the other one.

    Attributes:
        goal_s: processor seconds at most; None: ``COMPLETE`` times what the copy takes.
    """

    name: str
    sql: str
    goal_s: float | None

    @property
    def of_copies(self) -> str:
        """The same question to the copies."""
        sql = self.sql
        for view in COPIES:
            sql = sql.replace(view, copy_of(view))
        return sql


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What a question took, of the views and of the copies."""

    question: Question
    rows: int
    views_s: float
    copies_s: float

    @property
    def is_met(self) -> bool:
        """Whether the goal is."""
        goal_s = self.question.goal_s
        return self.views_s <= (self.copies_s * COMPLETE if goal_s is None else goal_s)

    def cells(self) -> tuple[str, ...]:
        """The line of the table."""
        goal_s = self.question.goal_s
        goal = f"<= {COMPLETE} times the copy" if goal_s is None else f"<= {goal_s} s"
        verdict = "met" if self.is_met else "NOT MET"
        return (
            self.question.name,
            f"{self.views_s:.4f}",
            f"{self.copies_s:.4f}",
            f"{self.views_s / max(self.copies_s, 1e-6):.2f}",
            goal,
            verdict,
        )


def questions(known: Mapping[str, str]) -> Iterator[Question]:
    """All of them.

    Args:
        known: a ``person_key`` and a ``local_ref`` that there are, of one person.
    """
    persons = [view for view, columns in COPIES.items() if "local_ref" in columns]
    for view in persons:
        for column, value in known.items():
            sql = f"SELECT * FROM {view} WHERE {column} = '{value}'"
            yield Question(name=f"{view}, a {column}", sql=sql, goal_s=_LOOK_UP_S)
        sql = f"SELECT v.* FROM wanted w JOIN {view} v ON v.local_ref = w.local_ref"
        yield Question(name=f"{view}, join of 500 local_refs", sql=sql, goal_s=_LOOK_UP_S)
    last = "publication_no = (SELECT max(publication_no) FROM report_publication)"
    counts = {
        "group by code, facts": "SELECT area, code, sum(open), sum(in_effect) FROM report_daily "
        f"WHERE {last} GROUP BY area, code",
        "freshness totals, facts": f"SELECT * FROM report_publication WHERE {last}",
        "a year of daily figures": "SELECT day, area, code, sum(in_effect) FROM report_daily "
        "GROUP BY day, area, code",
        "a year of persons": "SELECT day, roster, confirmed, stale FROM report_publication",
    }
    for name, sql in counts.items():
        yield Question(name=name, sql=sql, goal_s=_COUNT_S)
    for view in COPIES:
        yield Question(name=f"{view}, whole", sql=f"SELECT * FROM {view}", goal_s=None)


async def answered(url: str) -> Sequence[Answered]:
    """Make the copies, and ask both."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as file:
            return await _answered_by(_Sqlite(file))
    connection = await asyncpg.connect(url)
    try:
        # All of a query in one process, whose time is known.
        await connection.execute("SET max_parallel_workers_per_gather = 0")
        return await _answered_by(_Postgres(connection))
    finally:
        await connection.close()


class _Sqlite:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    async def execute(self, sql: str) -> None:
        self._connection.execute(sql)
        self._connection.commit()

    async def first(self, sql: str) -> Sequence[str]:
        found: Sequence[str] = self._connection.execute(sql).fetchone()
        return found

    async def read(self, sql: str) -> int:
        return sum(1 for _ in self._connection.execute(sql))

    async def cpu_s(self) -> float:
        return time.process_time()


class _Postgres:
    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self._connection = connection
        self._schedule = Path(f"/proc/{connection.get_server_pid()}/schedstat")

    async def execute(self, sql: str) -> None:
        await self._connection.execute(sql)
        if sql.startswith("CREATE TABLE"):
            await self._connection.execute(f"VACUUM (ANALYZE) {sql.split()[2]}")

    async def first(self, sql: str) -> Sequence[str]:
        return list(await self._connection.fetchrow(sql) or ())

    async def read(self, sql: str) -> int:
        done = await self._connection.copy_from_query(sql, output=_nowhere)
        return int(done.split()[1])

    async def cpu_s(self) -> float:
        """Of the server's process for this connection: its time on a core, in nanoseconds."""
        return int(self._schedule.read_text(encoding="ascii").split()[0]) / 1e9


async def _nowhere(_data: bytes) -> None:
    """Take what is copied, and keep nothing."""


async def _answered_by(reader: _Sqlite | _Postgres) -> Sequence[Answered]:
    for statement in copy_statements():
        await reader.execute(statement)
    row = await reader.first(
        f"SELECT {', '.join(NAMING)} FROM {copy_of(_SAFE)} ORDER BY restriction_id LIMIT 1"
    )
    found = []
    for question in questions(dict(zip(NAMING, row, strict=True))):
        rows, views_s = await _timed(reader, question.sql)
        _, copies_s = await _timed(reader, question.of_copies)
        found.append(Answered(question=question, rows=rows, views_s=views_s, copies_s=copies_s))
    return found


async def _timed(reader: _Sqlite | _Postgres, sql: str) -> tuple[int, float]:
    """The rows, and the median of processor seconds; what is slow is asked twice."""
    rows = await reader.read(sql)
    taken: list[float] = []
    while len(taken) < _ROUNDS_MAX and sum(taken) < _LONG_ENOUGH_S:
        began_s = await reader.cpu_s()
        await reader.read(sql)
        taken.append(await reader.cpu_s() - began_s)
    return rows, median(taken)
