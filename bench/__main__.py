"""``python -m bench``: the worker beside a bare loop, case by case, round by round."""

import argparse
import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from bench.cases import PARTS, Plan, cases, warm_up
from bench.figures import Sample, table
from bench.ground import Ground, ground, server_settings
from bench.machine import cores, describe, quietness
from bench.measure import FailedError
from bench.report import PERSONS, lines

QUICK_PERSONS = 3_000
ROUNDS = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print the table; 1 if a case failed."""
    chosen = _options(arguments)
    persons = chosen.persons or (QUICK_PERSONS if chosen.quick else PERSONS)
    rounds = chosen.rounds or (1 if chosen.quick else ROUNDS)
    plan = Plan(persons=persons, databases=chosen.db, parts=chosen.only)
    head = _machine()
    print("\n".join(head), flush=True)
    began_s = time.monotonic()
    try:
        with ground(chosen.folder, with_postgres="postgresql" in plan.databases) as made:
            if made.postgres:
                print(f"PostgreSQL: {server_settings(made.postgres)}", flush=True)
            samples = _rounds(made, plan, rounds)
    except FailedError as fault:
        print(f"bench: {fault}", file=sys.stderr)
        return 1
    print(table(list(lines(samples, plan))))
    print(
        f"\nRounds: {rounds}, in {time.monotonic() - began_s:,.0f} s. Ratios are taken within each "
        "round; compare them, not the speeds, between machines."
    )
    if chosen.json:
        _write(chosen.json, head, samples)
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--persons", type=int, help=f"of the large part, default {PERSONS:,}")
    parser.add_argument("--rounds", type=int, help=f"default {ROUNDS}")
    parser.add_argument(
        "--db", type=_choice(("sqlite", "postgresql")), default=("sqlite", "postgresql")
    )
    parser.add_argument(
        "--only", type=_choice(PARTS), default=PARTS, help=f"parts, of {','.join(PARTS)}"
    )
    parser.add_argument("--quick", action="store_true", help="few persons, one round")
    parser.add_argument("--folder", type=Path, help="where databases are made")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all samples as well")
    return parser.parse_args(arguments)


def _choice(known: tuple[str, ...]) -> Callable[[str], tuple[str, ...]]:
    """Reads a list separated by commas, and keeps the order of what is known."""

    def parse(text: str) -> tuple[str, ...]:
        found = tuple(text.split(","))
        if unknown := set(found) - set(known):
            raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: not {known}")
        return tuple(name for name in known if name in found)

    return parse


def _machine() -> list[str]:
    words, is_quiet = quietness()
    head = [f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC", *describe(), words]
    if not is_quiet:
        head.append("WARNING: the machine is not quiet; these figures are not to be kept")
    if len(cores()) < 2:  # noqa: PLR2004 - one for the client, one for the server
        head.append("WARNING: client, stand-in and database share one core; ratios mislead")
    return head


def _rounds(made: Ground, plan: Plan, rounds: int) -> dict[str, list[Sample]]:
    samples: dict[str, list[Sample]] = defaultdict(list)
    _print("warming up")
    warm_up(made, plan)
    for number in range(1, rounds + 1):
        for case in cases(made, plan):
            _print(f"round {number} of {rounds}: {case.name}")
            found = case.run()
            _print(
                f"round {number} of {rounds}: {case.name}: "
                + ", ".join(f"{one.persons_per_s:,.0f} persons/s" for one in found.values()),
                is_done=True,
            )
            for key, one in found.items():
                samples[key].append(one)
    return samples


def _print(text: str, *, is_done: bool = False) -> None:
    """The progress, on a terminal only."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="\n" if is_done else "", file=sys.stderr, flush=True)


def _write(path: Path, head: Sequence[str], samples: dict[str, list[Sample]]) -> None:
    found = {key: [asdict(one) for one in values] for key, values in samples.items()}
    document = {"machine": list(head), "samples": found}
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
