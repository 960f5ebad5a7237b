"""What a night's publication costs, and the bytes that stand after it, of one checkout.

``python FILE --persons N --db sqlite`` prints JSON. It needs nothing but ``bench.nights`` of the
checkout that PYTHONPATH names, so that one and the same measure serves an earlier commit as well.
"""

import argparse
import asyncio
import json
import os
import sqlite3
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import asyncpg

NIGHTS = 4


def server_cpu(postmaster: int) -> float:
    """Processor seconds of a PostgreSQL: of all its processes, those that have ended too."""
    ticks = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            text = (folder / "stat").read_text(encoding="ascii", errors="replace")
        except OSError:
            continue
        fields = text.rpartition(")")[2].split()  # proc(5), from the third field on
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
            from tests.support.databases import execute, in_database, postgres_server  # noqa: PLC0415

            server = stack.enter_context(postgres_server())
            asyncio.run(execute(server, "CREATE DATABASE pts"))
            url, postmaster = in_database(server, "pts"), asyncio.run(postmaster_of(server))

            def cpu() -> float:
                return time.process_time() + server_cpu(postmaster)

        print(json.dumps(asyncio.run(_nights(url, chosen.persons, cpu))))


async def _nights(url: str, persons: int, cpu: Callable[[], float]) -> dict[str, Any]:
    from bench.nights import night  # noqa: PLC0415 - of the checkout in question
    from worker.ports import real_runtime  # noqa: PLC0415
    from worker.store.database import open_database  # noqa: PLC0415
    from worker.store.runs.run_store import RunStore  # noqa: PLC0415
    from worker.store.schema.upgrade import upgrade  # noqa: PLC0415

    publish, spent = RunStore.publish, []

    async def timed(*arguments: Any, **options: Any) -> Any:
        began_s = cpu()
        try:
            return await publish(*arguments, **options)
        finally:
            spent.append(cpu() - began_s)

    RunStore.publish = timed  # type: ignore[method-assign]
    async with open_database(url, real_runtime()) as database:
        await upgrade(database)
        for generation in range(NIGHTS):
            await night(database, persons, generation=generation)
    return {"publish_cpu_s": spent, "bytes": await _bytes(url)}


async def _bytes(url: str) -> int:
    """Of tables and indexes, once free space has been given back."""
    if url.startswith("sqlite"):
        path = url.removeprefix("sqlite:///")
        with closing(sqlite3.connect(path)) as file:
            file.execute("VACUUM")
            file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
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
