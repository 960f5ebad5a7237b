"""A database as a reporting tool sees it: by SQL, through no code of the program."""

import contextlib
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import asyncpg


@dataclass(frozen=True)
class Store:
    """A SQLite file or a PostgreSQL database."""

    url: str

    @property
    def is_sqlite(self) -> bool:
        return self.url.startswith("sqlite")

    @property
    def path(self) -> Path:
        """The file of a SQLite database."""
        return Path(self.url.removeprefix("sqlite:///"))

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """What a statement gives; it is committed."""
        (found,) = self.rows_of(sql)
        return found

    def rows_of(self, *statements: str) -> list[list[tuple[Any, ...]]]:
        """What each statement gives, on one connection; each is committed."""
        if self.is_sqlite:
            found = []
            with contextlib.closing(sqlite3.connect(self.path, timeout=30)) as connection:
                for sql in statements:
                    found.append(connection.execute(sql).fetchall())
                    connection.commit()
            return found

        async def ask() -> list[list[tuple[Any, ...]]]:
            connection = await asyncpg.connect(self.url)
            try:
                return [[tuple(row) for row in await connection.fetch(sql)] for sql in statements]
            finally:
                await connection.close()

        with ThreadPoolExecutor(1) as thread:  # the caller's may have a loop
            return thread.submit(anyio.run, ask).result()

    def one(self, sql: str) -> Any:
        """A single value."""
        return self.rows(sql)[0][0]

    def end_lease(self) -> None:
        """As if the time of a killed process's lease were over: it takes most of a minute."""
        self.rows("UPDATE lease SET expires_at = acquired_at WHERE holder IS NOT NULL")

    def columns(self, *tables: str) -> list[list[str]]:
        """The names of each table's columns, in their order."""
        if self.is_sqlite:
            found = self.rows_of(*(f"PRAGMA table_info({table})" for table in tables))
            return [[row[1] for row in rows] for rows in found]
        found = self.rows_of(
            *(
                "SELECT column_name FROM information_schema.columns "
                f"WHERE table_name = '{table}' ORDER BY ordinal_position"
                for table in tables
            )
        )
        return [[row[0] for row in rows] for rows in found]

    def tables(self) -> list[str]:
        if self.is_sqlite:
            kind = "SELECT name FROM sqlite_master WHERE type IN ('table', 'view')"
        else:
            kind = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
        return [row[0] for row in self.rows(kind) if not row[0].startswith("sqlite_")]

    def everything(self) -> dict[str, list[tuple[Any, ...]]]:
        """Every row of every table and view, sorted."""
        names = self.tables()
        found = self.rows_of(*(f'SELECT * FROM "{name}"' for name in names))
        return {name: sorted(rows, key=repr) for name, rows in zip(names, found, strict=True)}

    def current(self, area: str = "patient_safety") -> set[tuple[Any, ...]]:
        """The published restrictions: local reference, id, what PTS says, and whether stale."""
        content = self._content(f"report_{area}_current")
        return {
            (ref, key, tuple(said), bool(stale))
            for ref, key, stale, *said in self.rows(
                f"SELECT local_ref, restriction_id, is_stale, {content} FROM report_{area}_current"
            )
        }

    def _content(self, view: str) -> str:
        """The columns of a view that hold what PTS says."""
        (names,) = self.columns(view)
        return ", ".join(
            [*names[names.index("local_ref") + 1 : names.index("first_seen_at")], "extra"]
        )

    def ids(self, area: str = "patient_safety") -> set[tuple[str, str]]:
        """The published restrictions by local reference and id."""
        return {(ref, key) for ref, key, _, _ in self.current(area)}

    def stale(self, area: str = "patient_safety") -> set[str]:
        """Local references of the persons whose published restrictions are stale."""
        return {ref for ref, _, _, is_stale in self.current(area) if is_stale}

    def history(self, area: str = "patient_safety") -> list[tuple[Any, ...]]:
        """Every version ever published, in order."""
        content = self._content(f"report_{area}_history")
        return sorted(
            self.rows(
                f"SELECT local_ref, restriction_id, {content}, valid_from, valid_to "
                f"FROM report_{area}_history"
            ),
            key=str,
        )

    def published(self) -> dict[str, Any]:
        """All that a reader sees but for times and numbers of runs, publications and rows."""
        areas, kinds = ("patient_safety", "patient_privacy"), ("current", "history")
        views = [f"report_{area}_{kind}" for area in areas for kind in kinds]
        # Times of the source are data; times of ours are not comparable.
        ours = {"first_seen_at", "last_confirmed_at", "observed_at"}
        ours |= {"opened_run", "closed_run", "valid_from", "version_no"}
        ours |= {"publication_no", "opened_publication", "closed_publication", "closed_by_reads"}
        statements = []
        for view, names in zip(views, self.columns(*views), strict=True):
            terms = [
                "valid_to IS NULL" if name == "valid_to" else name
                for name in names
                if name not in ours
            ]
            statements.append(f"SELECT {', '.join(terms)} FROM {view}")
        statements.append(
            "SELECT person_key, local_ref, area, is_stale, record_count, pages, failure_kind "
            "FROM report_person_freshness"
        )
        found = self.rows_of(*statements)
        return {
            name: sorted(rows, key=str)
            for name, rows in zip([*views, "freshness"], found, strict=True)
        }

    def runs(self) -> list[tuple[Any, ...]]:
        """The ledger: status and exit code of each run."""
        return self.rows("SELECT status, exit_code FROM report_run ORDER BY run_id")
