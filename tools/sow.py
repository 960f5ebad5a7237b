"""Which tests run a line, and which notice a fault: ``python tools/sow.py map | tests | faults``.

In the root of a checkout, ``map`` runs the tests that call the program's code, and writes down who
runs which line. ``faults`` sows each fault of ``tools/sown_faults.toml`` alone into a copy of the
tree, and runs those tests there; if none fails, the tests that start the program, too.
"""

import argparse
import ast
import json
import os
import re
import signal
import subprocess
import sys
import tomllib
from collections.abc import Generator, Sequence
from pathlib import Path
from shutil import copytree, ignore_patterns
from tempfile import TemporaryDirectory
from typing import Any, Final

import coverage
import pytest

FOLDERS: Final = ("unit", "store", "http", "report", "simulation")
CAMPAIGNS: Final = ("test_nth_call*", "test_stateful*", "test_fencing*")
LEFT_OUT: Final = ignore_patterns(".venv*", "__pycache__", ".*_cache", ".hypothesis", "mutants")
FAILED: Final = re.compile(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", re.MULTILINE)


class Contexts:
    """Tells coverage which test is on, its fixtures included, and keeps how long each took."""

    def __init__(self, measured: coverage.Coverage) -> None:
        self._measured, self.took_s = measured, dict[str, float]()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """All that happens belongs to this test; no cache spares it a line."""
        for module in [one for name, one in sys.modules.items() if name.startswith("worker.")]:
            for value in list(vars(module).values()):
                getattr(value, "cache_clear", int)()
        self._measured.switch_context(item.nodeid)
        return (yield)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add up its phases."""
        self.took_s[report.nodeid] = self.took_s.get(report.nodeid, 0.0) + report.duration


def make_map(target: Path) -> None:
    """Run the tests; write them, fastest first, and by ``FILE:LINE`` the numbers of those there."""
    found = [path for name in FOLDERS for path in sorted(Path("tests", name).rglob("test_*.py"))]
    files = [str(path) for path in found if not any(map(path.match, CAMPAIGNS))]
    threads = ["thread", "greenlet"]
    measured = coverage.Coverage(None, source=["worker"], concurrency=threads, config_file=False)
    plugin = Contexts(measured)
    measured.start()
    pytest.main(["-q", "--tb=no", "-p", "no:cacheprovider", *files], plugins=[plugin])
    measured.stop()
    tests, data = sorted(plugin.took_s.items(), key=lambda one: one[1]), measured.get_data()
    numbers = {test: number for number, (test, _) in enumerate(tests)}
    lines = {
        f"{Path(name).relative_to(Path.cwd())}:{line}": [numbers[one] for one in ran if one]
        for name in data.measured_files()
        for line, ran in data.contexts_by_lineno(name).items()
    }
    target.write_text(json.dumps({"tests": tests, "lines": lines}), encoding="utf-8")


def covering(known: Any, file: str, first: int, last: int) -> list[str]:
    """The tests that run these lines, fastest first; else their statement, function, file."""
    text, paths = Path(file).read_text(encoding="utf-8"), sorted(Path("tests").rglob("test_*.py"))
    if not file.endswith(".py"):  # nothing runs it: the test files that name its folder
        return [str(one) for one in paths if Path(file).parent.name in one.read_text("utf-8")]
    nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.stmt)]
    spans = [(node.lineno, node.end_lineno or 0) for node in nodes] + [(1, text.count("\n"))]
    around = [(start, end) for start, end in spans if start <= first and last <= end]
    for start, end in [(first, last), *sorted(around, key=lambda span: span[1] - span[0])]:
        ran = [known["lines"].get(f"{file}:{line}", ()) for line in range(start, end + 1)]
        if numbers := sorted({number for tests in ran for number in tests}):
            return [known["tests"][number][0] for number in numbers]
    return []


def failing(tree: Path, tests: Sequence[str], seconds: int, *options: str) -> str | None:
    """The first of these tests that fails in a copy; None: none does; empty: none until then."""
    (tree / ".chosen").write_text("\n".join(tests), encoding="utf-8")
    limit = ["timeout", "--foreground", "-sINT", "-k60", str(seconds)]  # ends what it has started
    command = [*limit, sys.executable, "-m", "pytest", "-xq", "--tb=no", *options, "@.chosen"]
    env = os.environ | {"PYTHONPATH": str(tree)}
    signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it is ignored
    with (tree / ".said").open("w", encoding="utf-8") as said:
        code = subprocess.run(command, cwd=tree, env=env, stdout=said, check=False).returncode
    found = FAILED.search(text := (tree / ".said").read_text(encoding="utf-8"))
    if code not in {0, 1, 2, 5, 124, 137}:
        raise SystemExit(text)
    return "" if code in {124, 137} else found and found[1]


def judge(fault: dict[str, str], clean: Path, known: Any, chosen: argparse.Namespace) -> str:
    """Sow a fault into a copy, and say which test sees it that is green without it."""
    before, *after = (clean / fault["file"]).read_text(encoding="utf-8").split(fault["old"])
    if len(after) != 1:
        return "DOES NOT APPLY"
    first, is_late = before.count("\n") + 1, False
    inside = covering(known, fault["file"], first, first + fault["old"].rstrip("\n").count("\n"))
    with TemporaryDirectory() as folder:
        tree = copytree(clean, Path(folder, "tree"), symlinks=True)
        (tree / fault["file"]).write_text(before + fault["new"] + after[0], encoding="utf-8")
        for tests, options in ((inside, []), ([chosen.program], ["-n2"])):
            while tests and (test := failing(tree, tests, chosen.seconds, *options)):
                if failing(clean, [test], chosen.seconds) is None:
                    return f"seen by {test}"
                options.append(f"--deselect={test}")
            is_late |= bool(tests) and test is not None
    return f"NOT SEEN within {chosen.seconds} s" if is_late else "NOT SEEN"


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=["map", "tests", "faults"])
    parser.add_argument("line", nargs="?", metavar="FILE:LINE", help="of `tests`")
    parser.add_argument("--map", type=Path, default=Path(".coverage-map.json"))
    parser.add_argument("--file", type=Path, default=Path("tools/sown_faults.toml"))
    parser.add_argument("--only", action="append", metavar="NAME", help="may be repeated")
    parser.add_argument("--program", default="tests/acceptance", help="tests that start it")
    parser.add_argument("--seconds", type=int, default=300, help="at most, for each kind of test")
    chosen = parser.parse_args()
    if chosen.command == "map":
        return make_map(chosen.map)
    known = json.loads(chosen.map.read_text("utf-8"))
    if chosen.command == "tests":
        file, _, line = chosen.line.rpartition(":")
        return print(*covering(known, file, int(line), int(line)), sep="\n")
    seen, faults = [], tomllib.loads(chosen.file.read_text(encoding="utf-8"))["fault"]
    with TemporaryDirectory() as folder:
        clean = copytree(Path.cwd(), Path(folder, "tree"), symlinks=True, ignore=LEFT_OUT)
        for fault in [one for one in faults if not chosen.only or one["name"] in chosen.only]:
            verdict = judge(fault, clean, known, chosen)
            seen.append(verdict.startswith("seen"))
            print(f"{fault['name']:<40} {verdict}", flush=True)
    return print(f"{sum(seen)} of {len(seen)} seen ({sum(seen) / max(len(seen), 1):.0%})")


if __name__ == "__main__":
    main()
