"""How the store grows: ``python -m bench.scale``.

For each number of persons a fresh database, a first night in which everything is new, and more
nights in which 1 % of the persons differ. PTS and HelseID are not there: only the store is timed.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import anyio

from bench.ground import server_settings
from bench.machine import describe, quietness
from bench.nights import Night, Statement, night
from bench.sizes import Looker, looking
from tests.support.databases import execute, in_database, postgres_server
from worker.ports import real_runtime
from worker.store.database import open_database
from worker.store.schema.upgrade import upgrade

SIZES: Final = (50_000, 100_000, 200_000)
NIGHTS: Final = 3
_SLOWEST: Final = 6
_MIB: Final = 2**20


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(prog="bench.scale", description=__doc__)
    parser.add_argument("--persons", default=",".join(map(str, SIZES)), metavar="N,N,…")
    parser.add_argument("--nights", type=int, default=NIGHTS)
    parser.add_argument("--db", default="sqlite,postgresql")
    parser.add_argument("--folder", type=Path, help="where databases are made")
    parser.add_argument(
        "--no-statistics", action="store_true", help="PostgreSQL's statistics stay behind"
    )
    parser.add_argument("--json", type=Path, metavar="FILE")
    chosen = parser.parse_args(arguments)
    head = [f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC", *describe(), quietness()[0]]
    print("\n".join(head), flush=True)
    found = []
    with ExitStack() as stack:
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="pts-scale-", dir=chosen.folder))
        )
        server = ""
        if "postgresql" in chosen.db:
            server = stack.enter_context(postgres_server())
            print(f"PostgreSQL: {server_settings(server)}", flush=True)
        for kind in chosen.db.split(","):
            for persons in map(int, chosen.persons.split(",")):
                url = _fresh(kind, persons, folder, server)
                learns = not chosen.no_statistics
                found.append(anyio.run(partial(_grow, url, persons, chosen.nights, learns=learns)))
                _drop(kind, url, server)
    if chosen.json:
        text = json.dumps({"machine": head, "databases": found}, indent=1, default=asdict)
        chosen.json.write_text(text + "\n", encoding="utf-8")


def _fresh(kind: str, persons: int, folder: Path, server: str) -> str:
    name = f"scale_{persons}"
    if kind == "sqlite":
        return f"sqlite:///{folder / name}.db"
    anyio.run(execute, server, f"CREATE DATABASE {name}")
    return in_database(server, name)


def _drop(kind: str, url: str, server: str) -> None:
    if kind == "sqlite":
        Path(url.removeprefix("sqlite:///")).unlink()
    else:
        name = url.partition("?")[0].rpartition("/")[2]
        anyio.run(execute, server, f"DROP DATABASE {name} WITH (FORCE)")


async def _grow(url: str, persons: int, nights: int, *, learns: bool) -> dict[str, Any]:
    """The nights of one database, printed as they pass."""
    kind = url.partition(":")[0]
    print(f"\n{kind}, {persons:,} persons", flush=True)
    document: dict[str, Any] = {"kind": kind, "persons": persons, "nights": []}
    async with open_database(url, real_runtime()) as database:
        await upgrade(database)
    # A connection reads SQLite's statistics when it opens, so the upgrade has its own.
    async with open_database(url, real_runtime()) as database, looking(url) as looker:
        for generation in range(nights):
            before = await looker.log_bytes()
            passed = await night(database, persons, generation=generation, learns=learns)
            written = await looker.log_bytes() - before
            tidied_s = await looker.analyze()
            _print_night(generation, passed, written, tidied_s)
            sizes = await _print_sizes(looker, is_full=generation in {0, nights - 1})
            document["nights"].append(
                {"night": passed, "log_bytes": written, "vacuum_s": tidied_s, "sizes": sizes}
            )
        document["views"] = await _print_views(looker)
    return document


def _print_night(generation: int, passed: Night, written: int, tidied_s: float) -> None:
    name = "first night" if not generation else f"night {generation + 1}, 1 % changed"
    per_s = passed.persons / passed.write_s
    print(
        f" {name}: begin {passed.begin_s:.2f} s, settled {passed.look_s:.1f} s, "
        f"write {passed.write_s:.1f} s ({per_s:,.0f} persons/s, {passed.rows:,} versions), "
        f"publish {passed.publish_s:.2f} s; "
        f"{written / _MIB:,.0f} MiB of log, {written / passed.persons:,.0f} bytes a person; "
        f"vacuum {tidied_s:.1f} s"
    )
    for one in sorted(passed.statements, key=lambda one: -one.took_s)[:_SLOWEST]:
        print(f"   {one.took_s:7.3f} s  {_short(one)}", flush=True)


def _short(statement: Statement) -> str:
    words = " ".join(statement.sql.split())
    return words if len(words) <= 150 else f"{words[:70]} … {words[-76:]}"  # noqa: PLR2004


async def _print_sizes(looker: Looker, *, is_full: bool) -> list[dict[str, Any]]:
    relations = await looker.relations()
    total = sum(one.bytes for one in relations)
    print(f"   holds {total / _MIB:,.0f} MiB", flush=True)
    for one in relations if is_full else ():
        if one.bytes > _MIB:
            print(
                f"   {one.name:45} {one.bytes / _MIB:8.1f} MiB {one.rows:10,} rows "
                f"{one.bytes_per_row:7.1f} bytes a row"
            )
    return [asdict(one) for one in relations]


async def _print_views(looker: Looker) -> list[dict[str, Any]]:
    readings = await looker.readings()
    for one in readings:
        person = (
            "" if one.one_person_s is None else f", one person {one.one_person_s * 1000:.1f} ms"
        )
        print(f"   {one.view:35} {one.rows:9,} complete in {one.all_s:6.2f} s{person}", flush=True)
    return [asdict(one) for one in readings]


if __name__ == "__main__":
    main()
