"""kill -9 by the hundred: ``python -m tests.deaths.many --times 300``.

Prints one JSON document with the figures. A trial that fails prints its seed and number and ends
the whole with 1; ``--seed`` repeats it.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from random import Random

import anyio

from tests.acceptance.program import sandbox
from tests.databases import execute, in_database, migrate_now, postgres_server
from tests.deaths.ground import (
    PERSONS,
    TOO_LATE,
    Databases,
    Ground,
    PostgresDatabases,
    SqliteFiles,
    die,
)
from tests.deaths.zygote import Zygote

KINDS = ("sqlite", "postgresql")


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m tests.deaths.many", description=__doc__)
    parser.add_argument("--times", type=int, default=300, help="deaths on each database")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--database", choices=KINDS, action="append", help="default: both")
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
            figures = {}
            for kind in chosen.database or KINDS:
                ground = Ground(
                    sandbox=served, zygote=zygote, databases=made[kind], folder=folder / kind
                ).prepare()
                figures[kind] = _try(ground, chosen.times, chosen.seed)
    finally:
        zygote.end()
        shutil.rmtree(folder, ignore_errors=True)
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")
    return int(any(one["failure"] for one in figures.values()))


def _try(ground: Ground, times: int, seed: int) -> dict[str, object]:
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
