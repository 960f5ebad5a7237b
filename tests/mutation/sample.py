"""A sample of mistakes outside ``worker/core``, and which of them no test sees.

    python -m tests.mutation.sample --count 300 --seed 1
    python -m tests.mutation.sample --only worker/store/runs/undo.py --count 1000

Each mistake is made in a copy of the tree. First come the tests that run its line, the quickest
first, then the slower ones that start the program (``SLOW``). The seed chooses the sample, so that
it can be had again. See ``docs/mutation.md``.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from tests.mutation.mutants import Mutant, mutants_of, mutated

ROOT = Path(__file__).parents[2]
SCOPE = (
    "worker/store",
    "worker/sync",
    "worker/pts",
    "worker/helseid",
    "worker/use_cases",
    "worker/scheduler.py",
)
FAST = (
    "tests/unit",
    "tests/http/helseid",
    "tests/http/engines",
    "tests/store",
    "tests/report",
    "tests/simulation/test_found.py",
    "tests/http/politeness",
)
"""Run in one process, where it can be seen which lines they run."""

_RUNS = ("exit_codes", "kill_and_continue", "backfill_and_schedule", "unchanged", "rosters")
_SLOW = {
    "store": (
        *("guard", "moves_and_paging", "cli_erase", "cli_verify", "cli_explain", "cli_status"),
        *("cli_failures", "several_starts"),
    ),
    "sync": ("two_reads", "verdicts", "h_numbers", "guard", "several_starts"),
    "pts": ("bad_answers", "odd_answers", "verdicts", "moves_and_paging"),
    "helseid": ("cli_rotate", "cli_keys", "cli_doctor", "refused_proofs"),
    "use_cases": ("guard", "several_starts", "cli_erase", "h_numbers"),
    "scheduler": (),
}
_CRASHES = {
    "store": ("away", "disk", "permanent", "shards"),
    "sync": ("signals", "shards"),
    "use_cases": ("signals", "shards"),
}
SLOW = {
    package: (
        *(f"tests/acceptance/test_{name}.py" for name in (*names, *_RUNS)),
        *(f"tests/crash/test_{name}.py" for name in _CRASHES.get(package, ())),
    )
    for package, names in _SLOW.items()
}
"""By package, for what the others do not see."""

NEARBY = {
    "store": ("tests/store",),
    "sync": ("tests/unit", "tests/simulation"),
    "pts": ("tests/http", "tests/unit"),
    "helseid": ("tests/http/helseid", "tests/http/politeness"),
    "use_cases": ("tests/store/shards", "tests/simulation/test_found.py", "tests/http/politeness"),
    "scheduler": ("tests/unit",),
}
"""For lines that run when a module is imported, and so in no test: folders of tests."""

LIMIT_S, FACTOR = 60.0, 4.0
"""An endless loop counts as seen: after so long, and so many times what the tests took."""

SLOW_LIMIT_S = 1_800.0
OPTIONS = ("-x", "-q", "--no-header", "--tb=no", "-p", "no:cacheprovider", "-p", "no:schemathesis")


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What became of a mistake: ``seen``, ``endless``, ``survived`` or ``no test``."""

    mutant: Mutant
    end: str
    by: str = ""


@dataclass(frozen=True, kw_only=True)
class Covering:
    """Which tests run a line, the quickest first; without those that took too long."""

    took_s: Mapping[str, float]
    lines: Mapping[str, Mapping[str, Sequence[str]]]
    longest_s: float = sys.float_info.max

    def of(self, mutant: Mutant) -> list[str]:
        """Of the line, or where its statement begins; of what runs at import, those near by."""
        lines = self.lines.get(mutant.module, {})
        known = (lines[str(line)] for line in range(mutant.line, 0, -1) if str(line) in lines)
        near = NEARBY[package_of(mutant)]
        nearby = [one for one in self.took_s if one.startswith(near)]
        chosen = nearby if mutant.at_import else next(known, ())
        good = [one for one in chosen if self.took_s[one] <= self.longest_s]
        return sorted(good, key=self.took_s.__getitem__)

    def limit_s(self, tests: Sequence[str]) -> float:
        """For how long these tests may run."""
        return LIMIT_S + FACTOR * sum(self.took_s[one] for one in tests)


class Copy:
    """A copy of the tree in which one mistake at a time is made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._changes = 0
        listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True)
        for name in names.stdout.splitlines():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)

    def write(self, module: str, source: str) -> None:
        """With a time of its own: compiled modules are distinguished by time and size."""
        path = self.folder / module
        path.write_text(source, encoding="utf-8")
        self._changes += 1
        os.utime(path, (self._changes, self._changes))

    def run(self, tests: Sequence[str], limit_s: float) -> str:
        """How the tests end: ``passed``, ``endless`` or the first one that fails."""
        said = self.folder / "said.txt"
        command = [sys.executable, "-m", "pytest", *OPTIONS, *tests]
        with said.open("wb") as out:
            process = subprocess.Popen(
                command, cwd=self.folder, stdout=out, stderr=out, start_new_session=True
            )
            try:
                code = process.wait(limit_s)
            except subprocess.TimeoutExpired:
                return "endless"
            finally:
                _end(process)
        if code == 0:
            return "passed"
        lines = said.read_text(encoding="utf-8", errors="replace").splitlines()
        failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
        return (failed or [f"pytest ended with {code}"])[0]


def _end(process: subprocess.Popen[bytes]) -> None:
    """Whatever the tests have left running is in their session."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    finally:
        process.wait()


def judge(copy: Copy, mutant: Mutant, covering: Covering, *, slow: bool) -> Verdict:
    """Make the mistake, run the tests, take it back."""
    source = (copy.folder / mutant.module).read_text(encoding="utf-8")
    copy.write(mutant.module, mutated(source, mutant))
    try:
        tests = covering.of(mutant)
        on_server = [one for one in tests if "postgres" in one]
        in_file = [one for one in tests if one not in on_server]
        for chosen, limit_s in (
            (in_file, covering.limit_s(in_file)),
            (on_server, covering.limit_s(on_server)),
            (SLOW[package_of(mutant)] if slow else (), SLOW_LIMIT_S),
        ):
            end = copy.run(chosen, limit_s) if chosen else "passed"
            if end != "passed":
                return Verdict(mutant=mutant, end="endless" if end == "endless" else "seen", by=end)
        return Verdict(mutant=mutant, end="survived" if tests else "no test")
    finally:
        copy.write(mutant.module, source)


def all_mutants(scope: Sequence[str]) -> list[Mutant]:
    """Every mistake that can be made in these folders and files."""
    found = []
    for place in scope:
        path = ROOT / place
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            module = file.relative_to(ROOT).as_posix()
            found += mutants_of(module, file.read_text(encoding="utf-8"))
    return found


def package_of(mutant: Mutant) -> str:
    """``store``, ``use_cases`` and so on."""
    return mutant.module.split("/")[1].removesuffix(".py")


def verdicts(
    chosen: Sequence[Mutant], covering: Covering, folder: Path, *, jobs: int, slow: bool
) -> Iterator[Verdict]:
    """One for each, in their order."""
    copies: SimpleQueue[Copy] = SimpleQueue()
    for number in range(jobs):
        copies.put(Copy(folder / f"copy-{number}"))

    def try_it(mutant: Mutant) -> Verdict:
        copy = copies.get()
        try:
            return judge(copy, mutant, covering, slow=slow)
        finally:
            copies.put(copy)

    with ThreadPoolExecutor(jobs) as threads:
        yield from threads.map(try_it, chosen)


def table(found: Sequence[Verdict]) -> str:
    """The figures as Markdown."""
    names = ("seen", "endless", "survived", "no test")
    counts: dict[str, Counter[str]] = {}
    for one in found:
        for name in (package_of(one.mutant), "all"):
            counts.setdefault(name, Counter())[one.end] += 1
    lines = ["| package | tried | " + " | ".join(names) + " | seen |", "|---|" + "---:|" * 6]
    for name in sorted(counts, key=lambda one: (one == "all", one)):
        ends = counts[name]
        share = (ends["seen"] + ends["endless"]) / ends.total()
        cells = " | ".join(str(ends[end]) for end in names)
        lines.append(f"| `{name}` | {ends.total()} | {cells} | {share:.0%} |")
    return "\n".join(lines)


def main() -> int:
    """Try the sample that the command line asks for."""
    parser = argparse.ArgumentParser(description="A sample of mistakes, and what sees them.")
    parser.add_argument("--count", type=int, default=300, help="how many")
    parser.add_argument("--seed", type=int, default=1, help="which ones")
    parser.add_argument("--only", nargs="+", default=SCOPE, help="folders or files")
    parser.add_argument("--jobs", type=int, default=2, help="at a time")
    parser.add_argument("--longest", type=float, default=sys.float_info.max, metavar="SECONDS")
    parser.add_argument("--no-slow", action="store_true", help="without tests that start programs")
    parser.add_argument("--folder", type=Path, default=ROOT / "mutants" / "sample")
    parser.add_argument("--covered", action="store_true", help="which tests run a line is known")
    chosen = parser.parse_args()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    known = chosen.folder / "covering.json"
    if not chosen.covered:
        command = [sys.executable, "-m", "tests.mutation.covering", str(known), *FAST]
        subprocess.run(command, cwd=ROOT, check=False)
    text = known.read_text(encoding="utf-8")
    covering = Covering(**json.loads(text), longest_s=chosen.longest)
    every = all_mutants(chosen.only)
    sample = random.Random(chosen.seed).sample(every, min(chosen.count, len(every)))
    say(f"{len(sample)} of {len(every)} mistakes, seed {chosen.seed}")
    found, began_s = [], time.monotonic()
    options: dict[str, Any] = {"jobs": chosen.jobs, "slow": not chosen.no_slow}
    for one in verdicts(sample, covering, chosen.folder, **options):
        found.append(one)
        place = f"{one.mutant.module}:{one.mutant.line}"
        say(f"{len(found):>4} {one.end:<9} {place} {one.mutant.what}  {one.by[:100]}")
    say(f"\n{table(found)}\n\n{time.monotonic() - began_s:.0f} s; what no test saw:")
    for one in sorted(found, key=lambda one: (one.mutant.module, one.mutant.line)):
        if one.end in {"survived", "no test"}:
            say(f"- {one.mutant.module}:{one.mutant.line} {one.mutant.what}")
    return 0


def say(text: str) -> None:
    """A line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
