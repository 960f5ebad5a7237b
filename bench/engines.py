"""``python -m bench.engines``: how many requests a second each engine sustains on one core.

The worker as it is run, with proofs, change detection and SQLite, against the stand-in. The figure
is processor time: of a run over many persons less that of one over few, so that start-up does not
count. On one core that no other program uses, it is the rate that can be kept up.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from statistics import median

from bench.ground import Ground, ground
from bench.machine import describe, quietness
from bench.measure import FailedError, measure

ENGINES = ("httpx", "fast")
FEW = 200
MANY = {"httpx": 2_200, "fast": 10_200}
ROUNDS = 5


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print one line for each engine and number of requests under way."""
    parser = argparse.ArgumentParser(prog="bench.engines", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--concurrency", type=int, nargs="+", default=[16, 64])
    chosen = parser.parse_args(arguments)
    print("\n".join([*describe(), quietness()[0]]), flush=True)
    with ground(None, with_postgres=False) as made:
        for engine in ENGINES:
            for concurrency in chosen.concurrency:
                rates = [_rate(made, engine, concurrency) for _ in range(chosen.rounds)]
                print(
                    f"{engine:6} {concurrency:3} under way: {median(rates):6,.0f} requests/s "
                    f"of processor time, {min(rates):,.0f} to {max(rates):,.0f}",
                    flush=True,
                )
    return 0


def _rate(made: Ground, engine: str, concurrency: int) -> float:
    """Requests for each second of processor time."""
    few_requests, few_s = _run(made, engine, concurrency, FEW)
    many_requests, many_s = _run(made, engine, concurrency, MANY[engine])
    return (many_requests - few_requests) / (many_s - few_s)


def _run(made: Ground, engine: str, concurrency: int, persons: int) -> tuple[int, float]:
    """Requests and seconds of processor time of one run over so many persons."""
    with made.database("sqlite") as url:
        env = made.env(url) | {
            "PTS_API__ENGINE": engine,
            "PTS_SYNC__CONCURRENCY": str(concurrency),
        }
        measured = measure(made.sync(persons), folder=made.folder, env=env, cores=made.client_cores)
    totals = json.loads(measured.out)["run"]["totals"]
    if totals["persons_complete"] != persons or totals["retries"]:
        raise FailedError(f"not the run that it should be: {totals}")
    return totals["requests"], measured.cpu_s


if __name__ == "__main__":
    sys.exit(main())
