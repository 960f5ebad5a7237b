"""What a night's publication costs, what a reader waits meanwhile, and the bytes after it.

``python -m bench.publications --persons N --db sqlite`` prints JSON.
"""

import argparse
import asyncio
import json
import os
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import asyncpg
from sqlalchemy import text

from bench.nights import night
from tests.support.databases import execute, in_database, postgres_server
from worker.ports import real_runtime
from worker.store.database import open_database
from worker.store.runs.run_store import RunStore
from worker.store.schema.upgrade import upgrade

NIGHTS = 4
_LOOK_UP = "SELECT * FROM report_patient_safety_current WHERE local_ref = 'L0000001'"


def server_cpu(postmaster: int) -> float:
    """Processor seconds of a PostgreSQL: of all its processes, those that have ended too."""
    ticks = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_text(encoding="ascii", errors="replace")
        except OSError:
            continue
        fields = stat.rpartition(")")[2].split()  # proc(5), from the third field on
        if int(folder.name) == postmaster:
            ticks += sum(map(int, fields[11:15]))
        elif int(fields[1]) == postmaster:
            ticks += sum(map(int, fields[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


async def postmaster_of(server: str) -> int:
    """The process id of a server on this machine."""
    connection = await asyncpg.connect(server)
    try:
        backend = await connection.fetchval("SELECT pg_backend_pid()")
        with open(f"/proc/{backend}/stat", encoding="ascii", errors="replace") as file:  # noqa: ASYNC230, PTH123
            return int(file.read().rpartition(")")[2].split()[1])
    finally:
        await connection.close()


def main() -> None:
    """Fill a fresh database night by night, and print what each took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--persons", type=int, required=True)
    parser.add_argument("--db", choices=("sqlite", "postgresql"), required=True)
    parser.add_argument("--folder")
    chosen = parser.parse_args()
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(dir=chosen.folder))
        if chosen.db == "sqlite":
            url, cpu = f"sqlite:///{folder}/pts.db", time.process_time
        else:
            server = stack.enter_context(postgres_server())
            asyncio.run(execute(server, "CREATE DATABASE pts"))
            url, postmaster = in_database(server, "pts"), asyncio.run(postmaster_of(server))

            def cpu() -> float:
                return time.process_time() + server_cpu(postmaster)

        print(json.dumps(asyncio.run(_nights(url, chosen.persons, cpu))))


async def _nights(url: str, persons: int, cpu: Callable[[], float]) -> dict[str, Any]:
    publish, publications = RunStore.publish, []

    async def timed(*arguments: Any, **options: Any) -> Any:
        if url.startswith("sqlite"):
            _checkpoint(url.removeprefix("sqlite:///"))
        stop, log_before = threading.Event(), await _log_bytes(url)
        reader = asyncio.create_task(asyncio.to_thread(asyncio.run, _longest_wait_s(url, stop)))
        began_cpu_s, began_s = cpu(), time.perf_counter()
        try:
            done = await publish(*arguments, **options)
        finally:
            spent = {"cpu_s": cpu() - began_cpu_s, "wall_s": time.perf_counter() - began_s}
            stop.set()
        log_bytes = await _log_bytes(url) - log_before
        publications.append({**spent, "log_bytes": log_bytes, "longest_wait_s": await reader})
        return done

    RunStore.publish = timed  # type: ignore[method-assign]
    async with open_database(url, real_runtime()) as database:
        await upgrade(database)
    # A connection reads SQLite's statistics when it opens, so the upgrade has its own.
    async with open_database(url, real_runtime()) as database:
        for generation in range(NIGHTS):
            await night(database, persons, generation=generation)
    return {"publications": publications, "bytes": await _bytes(url)}


async def _longest_wait_s(url: str, stop: threading.Event) -> float:
    """What one reader waits for a person's restrictions, at most, asking again and again."""
    longest_s = 0.0
    async with open_database(url, real_runtime()) as database:

        async def ask() -> None:
            await database.read(lambda connection: connection.execute(text(_LOOK_UP)))

        await ask()  # opens the connection
        while not stop.is_set():
            began_s = time.perf_counter()
            await ask()
            longest_s = max(longest_s, time.perf_counter() - began_s)
            await asyncio.sleep(0.01)
    return longest_s


async def _log_bytes(url: str) -> int:
    """The write-ahead log: its file on SQLite, all that was ever written on PostgreSQL."""
    if url.startswith("sqlite"):
        return os.path.getsize(url.removeprefix("sqlite:///") + "-wal")  # noqa: ASYNC240, PTH202
    connection = await asyncpg.connect(url)
    try:
        return int(await connection.fetchval("SELECT pg_current_wal_lsn() - '0/0'"))
    finally:
        await connection.close()


def _checkpoint(path: str) -> None:
    """Empty SQLite's write-ahead log, whose file never shrinks by itself."""
    with closing(sqlite3.connect(path)) as file:
        file.execute("PRAGMA wal_checkpoint(TRUNCATE)")


async def _bytes(url: str) -> int:
    """Of tables and indexes, once free space has been given back."""
    if url.startswith("sqlite"):
        path = url.removeprefix("sqlite:///")
        with closing(sqlite3.connect(path)) as file:
            file.execute("VACUUM")
        _checkpoint(path)
        return os.path.getsize(path)  # noqa: ASYNC240, PTH202
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("VACUUM FULL")
        return int(
            await connection.fetchval(
                "SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class c "
                "WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'"
            )
        )
    finally:
        await connection.close()


if __name__ == "__main__":
    main()
