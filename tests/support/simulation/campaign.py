"""Many seeds, or every n-th call: ``make simulate``."""

import argparse
import sys
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from typing import Final

from tests.support.simulation.nth_call import Point, all_points, try_point
from tests.support.simulation.scenario import Result, play
from tests.support.simulation.stage import Tally
from worker.sandbox.world import Action

KINDS: Final[dict[str, tuple[str, ...]]] = {
    "HTTP fault of the sandbox": tuple(f"http {action}" for action in Action),
    "slow reply": ("http slow",),
    "lost request": ("http request lost",),
    "lost reply": ("http reply lost",),
    "token expired between attempts": ("http expired_token", "tokens revoked"),
    "database error at the n-th call": tuple(
        f"database {flavour}" for flavour in ("locked", "io", "full", "lost")
    ),
    "commit done, its reply lost": ("database done-lost (commit)", "database done-io (commit)"),
    "two reads that contradict each other": ("reads contradict",),
    "roster edited between runs": ("roster edited",),
    **{
        name: (name,)
        for name in (
            "H-numbers not sent",
            "certain persons for some nights",
            "crash",
            "paused past the lease",
            "clock jump ahead",
            "clock jump back",
            "night of 25 hours",
            "night of 23 hours",
        )
    },
}


def unmet(faults: Counter[str]) -> list[str]:
    """The kinds that never struck."""
    return [kind for kind, names in KINDS.items() if not any(faults[name] for name in names)]


def say(text: str) -> None:
    """Print a line of the campaign at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def replay_command(seed: int) -> str:
    """What to type to see a seed again."""
    return f".venv/bin/python -m tests.support.simulation.campaign --seed {seed}"


def failures(results: Iterable[Result]) -> list[str]:
    """A text for each seed that broke a promise, with the command that replays it."""
    return [
        f"seed {one.seed} broke a promise; replay: {replay_command(one.seed)}\n{one.broken}"
        for one in results
        if one.broken
    ]


def _describe(tally: Tally, seeds: range) -> str:
    """The figures of a campaign."""
    figures = {
        "seeds": f"{len(seeds)}, from {seeds.start} on",
        "runs": tally.runs,
        "publications": tally.publications,
        "ends by exit code": _listed(tally.ends),
        "what struck": _listed(tally.faults),
        "kinds never met": ", ".join(unmet(tally.faults)) or "none",
    }
    return "\n".join(f"{name}: {value}" for name, value in figures.items())


def _listed(counts: Counter[str]) -> str:
    each = ", ".join(f"{name} {count}" for name, count in counts.most_common())
    return f"{counts.total()} ({each})"


def _point(point: Point) -> tuple[str, str, str]:
    try:
        code = try_point(point).code
        return point.kind, "crashed" if code is None else str(code), ""
    except BaseException as fault:  # noqa: BLE001 - reported with its point
        inner = getattr(fault, "exceptions", [fault])
        return point.kind, "BROKEN", f"{point}: {inner[0]!r}"


def _play_seeds(first: int, count: int, jobs: int) -> int:
    tally, broken = Tally(), 0
    with ProcessPoolExecutor(jobs) as pool:
        results = pool.map(play, range(first, first + count), chunksize=5)
        for done, result in enumerate(results, 1):
            tally.add(result.tally)
            for text in failures([result]):
                broken += 1
                say(text)
            if done % 200 == 0:
                say(f"… {done} of {count} seeds, {broken} broken")
    say(_describe(tally, range(first, first + count)))
    say(f"broken promises: {broken}")
    return broken


def _try_points(jobs: int) -> int:
    ends: Counter[str] = Counter()
    broken = 0
    with ProcessPoolExecutor(jobs) as pool:
        for kind, end, problem in pool.map(_point, all_points(), chunksize=20):
            ends[f"{kind} → {end}"] += 1
            if problem:
                broken += 1
                say(problem)
    say(f"n-th call: {_listed(ends)}")
    say(f"broken promises: {broken}")
    return broken


def main() -> int:
    """Play what the command line asks for; 1 if a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, help="this one only, with its trace's end")
    parser.add_argument("--seeds", type=int, default=2_000, help="how many")
    parser.add_argument("--first", type=int, default=0, help="from which on")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--nth", action="store_true", help="also every n-th call")
    chosen = parser.parse_args()
    if chosen.seed is not None:
        result = play(chosen.seed)
        say(result.broken or "kept every promise")
        say(f"trace {result.digest}")
        return int(bool(result.broken))
    broken = 0
    if chosen.seeds:
        broken = _play_seeds(chosen.first, chosen.seeds, chosen.jobs)
    if chosen.nth:
        broken += _try_points(chosen.jobs)
    return int(bool(broken))


if __name__ == "__main__":
    sys.exit(main())
