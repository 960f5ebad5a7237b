"""Sows faults (``tools/sown_faults.toml``) and finds the test that detects each.

``python -m tools.sow`` applies each fault to a copy of the tree. It runs the tests of its lines,
fastest first (create the map first: tools/covering.py). If none fails, it runs tests of the started
program. A test counts if it is green without the fault. Exit code 1 if a fault is not detected. All
faults take hours of processor time. ``--only NAME`` sows one.
"""

import argparse
import os
import re
import signal
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from shutil import copytree, ignore_patterns
from tempfile import TemporaryDirectory
from typing import Any, Final

from tools.covering import DAILY, covering, read_map

FAULTS: Final = Path(__file__).with_name("sown_faults.toml")
PROGRAM: Final = ("tests/acceptance", "tests/crash")
LEFT_OUT: Final = ignore_patterns(".venv*", "__pycache__", ".*_cache", ".hypothesis")
FIRST: Final = 20
"""Tests that run first: the fastest detect most faults, and collecting all takes a minute."""
FAILED: Final = re.compile(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", re.MULTILINE)


def failing(tree: Path, tests: Sequence[str], seconds: int, *options: str) -> str | None:
    """The first of these tests that fails in a copy. None: none fails. Empty: time-out."""
    (tree / ".chosen").write_text("\n".join(tests), encoding="utf-8")
    limit = ["timeout", "--foreground", "-sINT", "-k60", str(seconds)]  # also ends child processes
    command = [*limit, sys.executable, "-m", "pytest", "-x", *DAILY, *options, "@.chosen"]
    env = os.environ | {"PYTHONPATH": str(tree)}
    signal.signal(signal.SIGINT, signal.default_int_handler)  # it is ignored in the background
    with (tree / ".output").open("w", encoding="utf-8") as output:
        code = subprocess.run(command, cwd=tree, env=env, stdout=output, check=False).returncode
    match = FAILED.search(text := (tree / ".output").read_text(encoding="utf-8"))
    # pytest: 1 failed, 2 cannot be collected, 5 no tests. timeout: 124 and 137.
    if code not in {0, 1, 2, 5, 124, 137}:
        raise SystemExit(text)
    return "" if code in {124, 137} else match and match[1]


def judge(fault: dict[str, str], clean: Path, line_map: Any, seconds: int) -> str:
    """Sow a fault into a copy. Report the test that detects it and is green without it."""
    before, *after = (clean / fault["file"]).read_text(encoding="utf-8").split(fault["old"])
    if len(after) != 1:  # the code has changed, so the fault must be rewritten
        return "DOES NOT APPLY"
    first, is_late = before.count("\n") + 1, False
    last = first + fault["old"].rstrip("\n").count("\n")
    inside = covering(line_map, fault["file"], first, last)
    with TemporaryDirectory() as folder:
        tree = copytree(clean, Path(folder, "tree"), symlinks=True)
        (tree / fault["file"]).write_text(before + fault["new"] + after[0], encoding="utf-8")
        # Tests of the started program come last: they are slow, and not in the map.
        started = (([folder], ["-n2"]) for folder in PROGRAM)
        for tests, options in ((inside[:FIRST], []), (inside[FIRST:], []), *started):
            while tests and (test := failing(tree, tests, seconds, *options)):
                if failing(clean, [test], seconds) is None:
                    return f"detected by {test}"
                options.append(f"--deselect={test}")  # red without the fault, so it proves nothing
            is_late |= bool(tests) and test is not None
    return f"NOT DETECTED within {seconds} s" if is_late else "NOT DETECTED"


def main() -> None:
    """Run the command line."""
    faults = {fault["name"]: fault for fault in tomllib.loads(FAULTS.read_text("utf-8"))["fault"]}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--only", action="append", choices=faults, metavar="NAME", help="repeatable"
    )
    parser.add_argument("--seconds", type=int, default=300, help="at most, for each kind of test")
    options = parser.parse_args()
    line_map, detections = read_map(), []
    with TemporaryDirectory() as folder:
        clean = copytree(Path.cwd(), Path(folder, "tree"), symlinks=True, ignore=LEFT_OUT)
        for name in options.only or faults:
            verdict = judge(faults[name], clean, line_map, options.seconds)
            detections.append(verdict.startswith("detected"))
            print(f"{name:<40} {verdict}", flush=True)
    count, total = sum(detections), len(detections)
    print(f"{count} of {total} detected ({count / total:.0%})")
    sys.exit(not all(detections))


if __name__ == "__main__":
    main()
