"""kill -9 by the hundred: ``python -m tests.support.crash.many --times 300 --shards 50``.

Prints a sentence for each database and for the shards, fit for docs/guarantees.md; with ``--json``
one JSON document with the figures. A trial that fails prints its seed and number and ends the whole
with 1; ``--seed`` repeats it.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import anyio

from tests.support.crash.ground import (
    PERSONS,
    TOO_LATE,
    Databases,
    Ground,
    PostgresDatabases,
    SqliteFiles,
    die,
)
from tests.support.crash.shards import disturb
from tests.support.databases import execute, in_database, migrate_now, postgres_server
from tests.support.program import sandbox
from tests.support.zygote import Zygote

NAMES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}
KINDS = tuple(NAMES)


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.crash.many", description=__doc__)
    parser.add_argument("--times", type=int, default=300, help="deaths on each database")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--database", choices=KINDS, action="append", help="default: both")
    parser.add_argument("--shards", type=int, default=0, help="runs of several shards besides")
    parser.add_argument("--json", action="store_true", help="the figures as JSON")
    chosen = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="pts-deaths-"))
    zygote = Zygote.begin()
    try:
        with (
            sandbox(folder / "sandbox", "--persons", str(PERSONS)) as served,
            postgres_server() as server,
        ):
            anyio.run(execute, server, "CREATE DATABASE template_of_all")
            migrate_now(in_database(server, "template_of_all"))
            migrate_now(f"sqlite:///{folder / 'template.db'}")
            made: dict[str, Databases] = {
                "sqlite": SqliteFiles(folder=folder, template=folder / "template.db"),
                "postgresql": PostgresDatabases(server=server, template="template_of_all"),
            }

            def ground(kind: str) -> Ground:
                return Ground(
                    sandbox=served, zygote=zygote, databases=made[kind], folder=folder / kind
                ).prepare()

            figures: dict[str, dict[str, Any]] = {}
            for kind in (chosen.database or KINDS) if chosen.times else ():
                figures[kind] = _try(ground(kind), chosen.times, chosen.seed)
            if chosen.shards:
                figures["shards"] = _try_shards(ground("postgresql"), chosen.shards, chosen.seed)
    finally:
        zygote.end()
        shutil.rmtree(folder, ignore_errors=True)
    text = json.dumps(figures, indent=2) if chosen.json else "\n".join(_lines(figures, chosen.seed))
    sys.stdout.write(text + "\n")
    return int(any(one["failure"] for one in figures.values()))


def _lines(figures: Mapping[str, Mapping[str, Any]], seed: int) -> Iterator[str]:
    """A sentence for each."""
    for kind, one in figures.items():
        end = one["failure"] or "no failure"
        day = f"seed {seed}, {datetime.now(UTC):%Y-%m-%d}"
        if kind == "shards":
            done = ", ".join(f"{count} {name}" for name, count in one["done"].items())
            yield f"Shards: {one['trials']} runs of 2 to 4 shards with {done}; {end} ({day})."
        else:
            places = ", ".join(f"{count} {place}" for place, count in one["places"].items())
            yield (
                f"{NAMES[kind]}: {one['deaths']} kills in {one['trials']} trials ({places}); "
                f"{end} ({day})."
            )


def _try_shards(ground: Ground, runs: int, seed: int) -> dict[str, Any]:
    began_s = time.monotonic()
    done: Counter[str] = Counter()
    trials, failure = 0, ""
    while trials < runs and not failure:
        trials += 1
        try:
            done.update(disturb(ground, Random(f"{seed} shards {trials}")))
        except AssertionError as fault:
            failure = f"seed {seed}, run {trials} of shards: {fault}"
        if not trials % 10:
            sys.stderr.write(f"{trials} runs of shards\n")
    took_s = round(time.monotonic() - began_s)
    return {"trials": trials, "done": dict(done), "took_s": took_s, "failure": failure}


def _try(ground: Ground, times: int, seed: int) -> dict[str, Any]:
    began_s = time.monotonic()
    places: Counter[str] = Counter()
    trials, failure = 0, ""
    while _deaths(places) < times and not failure:
        trials += 1
        try:
            places.update(die(ground, Random(f"{seed} {trials}")))
        except AssertionError as fault:
            failure = f"seed {seed}, trial {trials}: {fault}"
        if not trials % 25:
            sys.stderr.write(f"{_deaths(places)} deaths\n")
    return {
        "deaths": _deaths(places),
        "trials": trials,
        "places": dict(places.most_common()),
        "undisturbed_run_s": round(ground.took_s, 2),
        "took_s": round(time.monotonic() - began_s),
        "failure": failure,
    }


def _deaths(places: Counter[str]) -> int:
    return places.total() - places[TOO_LATE]


if __name__ == "__main__":
    sys.exit(main())
